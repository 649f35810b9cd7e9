"""What each command changes, with a real pipeline and feed; and that the viewer's thread never waits for them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_until
from test_pipeline import DEADLINE_SECONDS, GivenSource, MeanExplainer

from live_cam.explain.explainer import NetworkInput
from live_cam.frame import Explanation, Prediction
from live_cam.pipeline.feed import Feed
from live_cam.pipeline.pipeline import Pipeline
from live_cam.predictions import NO_CLASS, SIMILAR_CLASSES
from live_cam.render.hud import Status
from live_cam.render.spots import SpotReading
from live_cam.settings import DEFAULT_SMOOTH_SECONDS, FeedSettings
from live_cam.sinks.image import write_snapshot
from live_cam.viewers import recorder
from live_cam.viewers.commands import Action, Command
from live_cam.viewers.controls import Controls
from live_cam.viewers.explainer_switch import ExplainerSwitch, MethodAndLayer
from live_cam.viewers.protocol import Viewer
from live_cam.viewers.recorder import Recorder
from live_cam.viewers.screen import Screen

# A call of the viewer's thread that waits for the stalled network or encoder takes as long as the test's deadline.
AT_ONCE_SECONDS = 1.5
LABELS = ("cat", "dog", "fox", "owl")


class FourClasses(MeanExplainer):
    """Predicts cat, dog and fox; the heatmap's left cell is for the class, its right one the contrast class."""

    method, layer, layer_choices = "grad-cam", "late", ("early", "late")

    def __init__(
        self,
        before_explain: Callable[[], object] = lambda: None,
        contrast_index: int = NO_CLASS,
        are_numbers: bool = False,
    ) -> None:
        super().__init__()
        self.contrast_index = contrast_index
        self._before_explain, self._are_numbers = before_explain, are_numbers

    def label(self, class_index: int) -> str:
        return LABELS[class_index]

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        self._before_explain()
        scores = zip((0, 1, 2, 3), (0.6, 0.3, 0.1, 0.0), strict=True)
        predictions = tuple(
            Prediction(index, LABELS[index], None if self._are_numbers else score, score) for index, score in scores
        )
        explained = predictions[class_index or 0]
        contrast_index = self.contrast_index if contrast_index is None else contrast_index
        heatmap = np.float32([[1 + explained.class_index, 1 + contrast_index]])
        contrasts = {NO_CLASS: (), SIMILAR_CLASSES: predictions[1:]}
        contrast = contrasts[contrast_index] if contrast_index in contrasts else (predictions[contrast_index],)
        return Explanation(predictions[:3], explained, heatmap, contrast=contrast)


class ListViewer(Viewer):
    """Keeps what it is shown; returns the commands that the test put into it."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.statuses: list[Status] = []
        self.commands: list[Command] = []
        self.full_screen_count = 0

    def show(self, image: np.ndarray, status: Status) -> None:
        self.images.append(image)
        self.statuses.append(status)

    def poll(self, seconds: float) -> list[Command]:
        time.sleep(min(seconds, 0.005))
        commands, self.commands = self.commands, []
        return commands

    def toggle_full_screen(self) -> None:
        self.full_screen_count += 1

    def close(self) -> None:
        self.commands.append(Command(Action.QUIT))


class Viewing:
    """A live feed in a viewer."""

    def __init__(self, explainer: FourClasses | None = None, smooth_seconds: float = 1000.0) -> None:
        ready = explainer or FourClasses()
        self.source, self.viewer = GivenSource(), ListViewer()
        self.pipeline = Pipeline(lambda frame: ready)
        self.feed = Feed(self.source, FeedSettings(smooth_seconds=smooth_seconds))
        self.recorder = Recorder(self.feed, Path())
        self.controls = Controls(
            self.pipeline, self.feed, self.viewer, self.recorder, ExplainerSwitch(self.pipeline, self._load)
        )
        self.screen = Screen(self.pipeline, self.feed, self.viewer, self.controls, is_paced=False)
        self.pipeline.add(self.feed)

    def _load(self, choice: MethodAndLayer) -> FourClasses:
        explainer = FourClasses()
        explainer.method, explainer.layer = choice.method, choice.layer
        return explainer

    def show(self, gray: int = 100) -> None:
        """Gives a frame, and steps until the viewer has it."""
        count = self.feed.stats.frames_explained
        self.source.give(gray=gray)
        wait_until(lambda: self.screen.step() and self.feed.stats.frames_explained == count + 1)
        index = self.source._count - 1
        wait_until(lambda: self.screen.step() and self.screen._shown and self.screen._shown.frame.index == index)

    def do(self, action: Action, step: int = 1, spot_xy: tuple[float, float] | None = None) -> str:
        """Applies a command to what is shown; returns the notice."""
        self.controls.apply(Command(action, step, spot_xy), self.screen._shown)
        return self.controls.notice

    def step_until(self, is_reached: Callable[[], object]) -> None:
        wait_until(lambda: self.screen.step() and is_reached())

    @property
    def explained_label(self) -> str:
        return self.screen._shown.explanation.explained.label


@pytest.fixture
def viewing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Viewing]:
    monkeypatch.chdir(tmp_path)
    viewing = Viewing()
    viewing.show()
    yield viewing
    viewing.recorder.close()
    viewing.pipeline.close()


def test_class_steps_go_around_the_predictions(viewing: Viewing):
    assert viewing.explained_label == "cat"
    seen = []
    for step in (1, 1, 1, -1, -1):
        viewing.do(Action.CLASS, step)
        viewing.show()
        seen.append(viewing.explained_label)
    assert seen == ["dog", "fox", "cat", "fox", "dog"]
    assert viewing.viewer.statuses[-1].explanation.is_locked


@pytest.mark.parametrize(("step", "label"), [(1, "cat"), (-1, "fox")])
def test_from_a_class_that_is_not_predicted_a_step_leads_to_the_first_or_the_last(
    viewing: Viewing, step: int, label: str
):
    viewing.feed.temporal.classes.choose(LABELS.index("owl"))
    viewing.show()
    assert viewing.explained_label == "owl"
    assert viewing.do(Action.CLASS, step) == f"explaining {label}"


def test_a_class_is_locked_and_released(viewing: Viewing):
    assert viewing.do(Action.LOCK) == "locked: cat"
    assert viewing.feed.temporal.classes.is_fixed
    assert viewing.do(Action.LOCK) == "following the top class"
    assert not viewing.feed.temporal.classes.is_fixed


def contrasts_by_x(viewing: Viewing, count: int) -> list[tuple[str, list[str]]]:
    """Presses x so many times; returns each time the notice and the contrast of the next frame."""
    seen = []
    for _ in range(count):
        notice = viewing.do(Action.CONTRAST)
        viewing.show()
        explanation = viewing.viewer.statuses[-1].explanation
        seen.append((notice, [prediction.label for prediction in explanation.contrast]))
    return seen


NONE, SECOND = ("no contrast", []), ("against dog", ["dog"])
SIMILAR = ("against similar classes", ["dog", "fox", "owl"])


def test_x_contrasts_with_the_second_class_then_similar_ones_then_none(viewing: Viewing):
    assert contrasts_by_x(viewing, 1) == [SECOND]
    assert viewing.screen._shown.explanation.heatmap.tolist() == [[1, 2]]
    assert contrasts_by_x(viewing, 3) == [SIMILAR, NONE, SECOND]


@pytest.mark.parametrize(
    ("explainer", "expected"),
    [
        (FourClasses(contrast_index=SIMILAR_CLASSES), [NONE, SECOND, SIMILAR]),
        (FourClasses(contrast_index=LABELS.index("fox")), [SIMILAR, NONE, SECOND]),
        (FourClasses(are_numbers=True), [SECOND, NONE, SECOND]),  # numbers have no similar ones
    ],
)
def test_x_starts_from_the_contrast_that_was_given(explainer: FourClasses, expected: list[tuple[str, list[str]]]):
    viewing = Viewing(explainer)
    viewing.show()
    assert contrasts_by_x(viewing, 3) == expected
    viewing.pipeline.close()


def test_x_says_that_a_method_has_no_contrast(viewing: Viewing):
    viewing.pipeline.explainer.method = "eigen-cam"
    assert contrasts_by_x(viewing, 2) == [("eigen-cam has no contrast", [])] * 2


def test_a_frame_that_is_explained_when_x_is_pressed_is_explained_again_and_does_not_seed_the_smoothed_map():
    in_call, may_continue = threading.Event(), threading.Event()
    may_continue.set()

    def wait() -> None:
        in_call.set()
        may_continue.wait(DEADLINE_SECONDS)

    viewing = Viewing(FourClasses(wait))
    viewing.show()
    in_call.clear()
    may_continue.clear()
    viewing.source.give(gray=100)
    assert in_call.wait(DEADLINE_SECONDS)
    viewing.do(Action.CONTRAST)
    may_continue.set()
    viewing.step_until(lambda: viewing.screen._shown.frame.index == 1)
    # The call was without the contrast, so the frame was explained again.
    assert viewing.screen._shown.explanation.heatmap.tolist() == [[1, 2]]
    viewing.show()
    # With this half-life, maps without contrast would still fill the smoothed map.
    assert viewing.screen._shown.drawn_explanation.heatmap.tolist() == [[1, 2]]
    viewing.pipeline.close()


def test_the_look_is_changed_within_its_limits(viewing: Viewing):
    assert viewing.do(Action.VIEW) == "view: split"
    colormap = viewing.feed.renderer.settings.colormap
    notice = viewing.do(Action.COLORMAP)
    assert viewing.feed.renderer.settings.colormap != colormap
    assert notice == f"colormap: {viewing.feed.renderer.settings.colormap}"
    assert [viewing.do(Action.OPACITY) for _ in range(5)][-2:] == ["opacity: 100 %", "opacity: 100 %"]
    assert [viewing.do(Action.OPACITY, -1) for _ in range(11)][-2:] == ["opacity: 0 %", "opacity: 0 %"]


@pytest.mark.parametrize("smooth_seconds", [0.5, 0.0])
def test_smoothing_is_switched_off_and_on_with_its_own_half_life(smooth_seconds: float):
    viewing = Viewing(smooth_seconds=smooth_seconds)
    viewing.show()
    notices = [viewing.do(Action.SMOOTHING) for _ in range(2)]
    on = f"smoothing: {smooth_seconds or DEFAULT_SMOOTH_SECONDS:g} s"
    assert notices == (["no smoothing", on] if smooth_seconds else [on, "no smoothing"])
    assert viewing.feed.temporal.smooth_seconds == smooth_seconds
    viewing.pipeline.close()


def test_figures_help_and_full_screen_are_the_viewers(viewing: Viewing):
    viewing.do(Action.HELP)
    viewing.do(Action.DETAIL)
    viewing.do(Action.FULL_SCREEN)
    viewing.screen.step()
    status = viewing.viewer.statuses[-1]
    assert status.help_groups
    assert status.detail == "all"
    assert viewing.viewer.full_screen_count == 1
    viewing.do(Action.HELP)
    viewing.screen.step()
    assert not viewing.viewer.statuses[-1].help_groups


def test_a_click_reads_the_spot_for_each_of_the_top_classes_and_a_click_on_it_removes_it(viewing: Viewing):
    def reading() -> SpotReading | None:
        return viewing.controls.spot(viewing.screen._shown)

    def is_read_as(share: float) -> bool:
        # The strongest map, the fox's, is [3, 0]; the cat's is [1, 0] and the dog's [2, 0].
        expected = (("cat", share / 3), ("dog", 2 * share / 3), ("fox", share))
        return reading() is not None and reading().shares == tuple(
            (label, pytest.approx(value)) for label, value in expected
        )

    viewing.do(Action.SPOT, spot_xy=(0.25, 0.5))
    # A B-spline through [1, 0] is 47/48 at its left edge, 5/6 and 1/6 at the cells' centers.
    wait_until(lambda: is_read_as((5 / 6) / (47 / 48)))
    viewing.do(Action.SPOT, spot_xy=(0.75, 0.5))
    wait_until(lambda: is_read_as((1 / 6) / (47 / 48)))
    viewing.do(Action.SPOT, spot_xy=(0.76, 0.5))
    assert reading() is None


def test_over_the_grid_there_is_no_panel_that_hides_an_image(viewing: Viewing):
    assert viewing.viewer.statuses[-1].explanation is not None
    viewing.do(Action.VIEW)
    assert viewing.do(Action.VIEW) == "view: grid"
    viewing.screen.step()
    assert viewing.viewer.statuses[-1].explanation is None
    # Of one class, the grid has two images beside each other, in the middle of the height.
    viewing.do(Action.SPOT, spot_xy=(0.375, 0.5))
    assert viewing.controls._spot_xy == pytest.approx((0.75, 0.5))


def test_a_snapshot_says_how_it_was_made(viewing: Viewing, tmp_path: Path):
    viewing.do(Action.CONTRAST)
    viewing.show()
    viewing.do(Action.SNAPSHOT)
    viewing.step_until(lambda: viewing.controls.notice.startswith("saved "))
    notice = viewing.controls.notice
    (picture,), (facts_path,) = tmp_path.glob("*.png"), tmp_path.glob("*.json")
    assert notice == f"saved {picture.name}"
    facts = json.loads(facts_path.read_text())
    expected = {"source": "given", "model": "mean", "method": "grad-cam", "layer": "late", "contrast": "dog"}
    assert {name: facts[name] for name in expected} == expected
    assert facts["explained"]["label"] == "cat"


def test_a_snapshot_lists_several_contrast_classes(viewing: Viewing, tmp_path: Path):
    contrasts_by_x(viewing, 2)
    viewing.do(Action.SNAPSHOT)
    viewing.step_until(lambda: viewing.controls.notice.startswith("saved "))
    (facts_path,) = tmp_path.glob("*.json")
    assert json.loads(facts_path.read_text())["contrast"] == ["dog", "fox", "owl"]


def test_a_slow_disk_does_not_hold_up_the_viewer(viewing: Viewing, monkeypatch: pytest.MonkeyPatch):
    has_begun, may_end = threading.Event(), threading.Event()

    def write_slowly(*arguments: object) -> Path:
        has_begun.set()
        may_end.wait(30)
        return write_snapshot(*arguments)

    monkeypatch.setattr(recorder, "write_snapshot", write_slowly)
    viewing.show()
    viewing.do(Action.SNAPSHOT)
    assert has_begun.wait(10)
    viewing.show(gray=120)
    may_end.set()
    viewing.step_until(lambda: viewing.controls.notice.startswith("saved "))


def test_an_error_becomes_a_notice(viewing: Viewing, tmp_path: Path):
    tmp_path.rmdir()
    viewing.do(Action.SNAPSHOT)
    viewing.step_until(lambda: "cannot write" in viewing.controls.notice)
    assert "cannot write" in viewing.do(Action.RECORDING)
    assert viewing.recorder.seconds is None
    tmp_path.mkdir()


def test_a_finished_recording_is_reported(viewing: Viewing, tmp_path: Path):
    assert viewing.do(Action.RECORDING).startswith("recording livecam-")
    viewing.show()
    viewing.step_until(lambda: viewing.viewer.statuses[-1].recording_seconds == 0)
    viewing.do(Action.RECORDING)
    viewing.step_until(lambda: viewing.controls.notice.startswith("saved livecam-"))
    assert viewing.viewer.statuses[-1].recording_seconds is None


def test_another_method_is_announced_loaded_and_used(viewing: Viewing):
    assert viewing.do(Action.METHOD) == "preparing grad-cam++ · late · 0 s"
    viewing.step_until(lambda: viewing.pipeline.explainer.method == "grad-cam++")
    assert viewing.controls.notice == "grad-cam++ · late"


# --- a picture that stands still


def test_a_frozen_picture_shows_no_new_frame_but_every_change(viewing: Viewing):
    viewing.do(Action.FREEZE)
    shown = viewing.screen._shown
    for _ in range(3):
        viewing.source.give(gray=50)
    wait_until(lambda: viewing.feed.stats.frames_read == 4)
    viewing.screen.step()
    assert viewing.screen._shown is shown
    assert viewing.viewer.statuses[-1].is_frozen
    viewing.do(Action.CLASS)
    viewing.step_until(lambda: viewing.explained_label == "dog")
    assert viewing.screen._shown.frame is shown.frame
    viewing.do(Action.FREEZE)
    viewing.show()
    assert viewing.screen._shown.frame.index == 4
    assert viewing.feed.stats.frames_dropped == 0


@pytest.mark.parametrize("action", [Action.COLORMAP, Action.VIEW, Action.OPACITY])
def test_a_new_look_of_a_frozen_picture_is_shown_as_soon_as_it_is_drawn(viewing: Viewing, action: Action):
    viewing.do(Action.FREEZE)
    viewing.screen.step()
    before = viewing.viewer.images[-1]
    viewing.do(action)
    started_seconds = time.monotonic()
    viewing.step_until(lambda: not np.array_equal(viewing.viewer.images[-1], before))
    assert time.monotonic() - started_seconds < 1.0  # before the notice disappears


# --- the viewer's thread


def test_the_viewers_thread_never_waits_for_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    in_call, may_continue = threading.Event(), threading.Event()
    may_continue.set()

    def wait() -> None:
        in_call.set()
        may_continue.wait(DEADLINE_SECONDS)

    viewing = Viewing(FourClasses(wait))
    viewing.show()
    in_call.clear()
    may_continue.clear()
    viewing.source.give()
    assert in_call.wait(DEADLINE_SECONDS)
    for action in Action:
        if action in (Action.QUIT, Action.METHOD, Action.LAYER):
            continue
        started_seconds = time.monotonic()
        viewing.do(action, spot_xy=(0.5, 0.5))
        viewing.screen.step()
        assert time.monotonic() - started_seconds < AT_ONCE_SECONDS, action
    # It is frozen now, and the class was changed: the refresher waits for the network, the viewer does not.
    started_seconds = time.monotonic()
    for _ in range(5):
        viewing.do(Action.CLASS)
        viewing.screen.step()
    viewing.pipeline.use(FourClasses())
    assert time.monotonic() - started_seconds < AT_ONCE_SECONDS
    may_continue.set()
    viewing.recorder.close()
    viewing.pipeline.close()
