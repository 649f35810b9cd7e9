"""The pipeline and its run: order, drops, errors and ends, over small real sources, explainers and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from live_cam.errors import ModelError, SettingError, SinkError, SourceError
from live_cam.explainer import NetworkInput
from live_cam.frame import Explanation, Frame, Prediction, Result
from live_cam.lifetime import ClosedByWith
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.pipeline import Pipeline
from live_cam.run.running import Ending, run
from live_cam.steady.steady_pass import SteadyPass

# An end takes at most two seconds where a stage cannot be interrupted; the rest is slack for a busy machine.
LONGEST_END_SECONDS = 6.0


def image_of(index: int) -> np.ndarray:
    return np.full((24, 32, 3), 10 * index % 256, np.uint8)


class ListSource(ClosedByWith):
    """Yields the frames of a list; then ends, breaks, or hangs until it is closed."""

    name, size_wh, rate, duration_seconds, is_still = "list", (32, 24), None, None, False

    def __init__(
        self,
        count: int,
        is_live: bool = False,
        error: Exception | None = None,
        hangs: bool = False,
        before_read: Callable[[int], None] = lambda index: None,
    ) -> None:
        self.frame_count_estimate, self.is_live = count, is_live
        self._frames = (Frame(image_of(index), index, index / 25) for index in range(count))
        self._error, self._hangs, self._before_read = error, hangs, before_read
        self._read_count = 0
        self._released = threading.Event()
        self.is_closed = False

    def read(self) -> Frame | None:
        self._before_read(self._read_count)
        self._read_count += 1
        frame = next(self._frames, None)
        if frame is None and self._error is not None:
            raise self._error
        if frame is None and self._hangs:
            self._released.wait(60)
        return frame

    def close(self) -> None:
        self.is_closed = True
        self._released.set()


class MeanExplainer:
    """Explains a picture by its brightness: the top class is the grey level, the map the picture's first channel."""

    engine_name = "arithmetic"
    contrast_index = -1

    def __init__(
        self, seconds: float = 0.0, fails_at: int | None = None, started: threading.Event | None = None
    ) -> None:
        self._seconds, self._fails_at, self._started = seconds, fails_at, started or threading.Event()
        self._count = 0

    def class_index(self, target: int | str) -> int:
        if target != "seven":
            raise SettingError(f"unknown class {target!r}")
        return 7

    def side_by_side(self) -> tuple[MeanExplainer, ...]:
        # Of unlike speed, so that later frames are ready before earlier ones.
        return tuple(MeanExplainer(self._seconds * share, self._fails_at, self._started) for share in (1.5, 1, 0.2))

    def preprocess(self, image: np.ndarray) -> NetworkInput:
        return NetworkInput(image[None], (0.0, 0.0, 1.0, 1.0))

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        if self._count == self._fails_at:
            raise ModelError("the network broke")
        self._count += 1
        self._started.set()
        time.sleep(self._seconds)
        top = grey_class(int(network_input.pixels.mean()), 0.6)
        explained = top if class_index in (None, top.class_index) else grey_class(class_index, 0.3)
        return Explanation((top,), explained, network_input.pixels[0, ::8, ::8, 0].astype(np.float32))


def grey_class(grey: int, probability: float) -> Prediction:
    return Prediction(grey, str(grey), probability, probability)


class ListSink:
    """Keeps what it is given."""

    path, partial_path = Path("list"), Path("list.partial")

    def __init__(self, fails_at: int | None = None) -> None:
        self.results: list[Result] = []
        self._fails_at = fails_at
        self.is_finished = self.is_closed = False

    def write(self, result: Result) -> None:
        if len(self.results) == self._fails_at:
            raise SinkError("the disk is full")
        self.results.append(result)

    def finish(self) -> None:
        self.is_finished = True

    def close(self) -> None:
        self.is_closed = True

    @property
    def indexes(self) -> list[int]:
        return [result.frame.index for result in self.results]


class BrokenRenderer(Renderer):
    """Fails at the third frame."""

    def draw(
        self, frame: Frame, explanation: Explanation, scale: float | None = None, with_caption: bool = True
    ) -> Frame:
        if frame.index == 2:
            raise ZeroDivisionError("the renderer broke")
        return super().draw(frame, explanation, scale)


def pipeline_of(source: ListSource, sink: ListSink, explainer: MeanExplainer | None = None, **settings) -> Pipeline:
    ready = explainer or MeanExplainer()
    load = settings.pop("load", lambda frame: ready)
    renderer = settings.pop("renderer", Renderer(RenderSettings()))
    return Pipeline(source, load, renderer, [sink], **settings)


def run_of(source: ListSource, sink: ListSink, explainer: MeanExplainer | None = None, **settings) -> Ending:
    return run(pipeline_of(source, sink, explainer, **settings), source, [sink])


def single_threaded(frames: Iterable[Frame], explainer: MeanExplainer, half_life_seconds: float = 0.15) -> list[Result]:
    """The same work in one loop: what any number of threads must come to."""
    renderer, steady, results = Renderer(RenderSettings()), SteadyPass(half_life_seconds), []
    for frame in frames:
        steadied = steady.explain(explainer, explainer.preprocess(frame.image), frame.time_seconds)
        drawn = renderer.draw(frame, steadied.drawn, steadied.scale)
        results.append(Result(frame, steadied.explanation, drawn))
    return results


def assert_same(result: Result, expected: Result) -> None:
    assert result.frame.index == result.drawn.index == expected.frame.index
    assert result.drawn.time_seconds == expected.drawn.time_seconds
    assert result.explanation.predictions == expected.explanation.predictions
    assert result.explanation.explained == expected.explanation.explained
    np.testing.assert_array_equal(result.explanation.heatmap, expected.explanation.heatmap)
    np.testing.assert_array_equal(result.drawn.image, expected.drawn.image)


@pytest.mark.parametrize("explains_ahead", [False, True])
@pytest.mark.parametrize("half_life_seconds", [0.15, 0])
def test_a_file_gives_every_frame_once_and_in_order_as_one_loop_would(half_life_seconds: float, explains_ahead: bool):
    source, sink = ListSource(40), ListSink()
    explainer = MeanExplainer(seconds=0.005)
    ending = run_of(source, sink, explainer, steady=SteadyPass(half_life_seconds), explains_ahead=explains_ahead)
    assert ending == Ending(is_complete=True)
    assert sink.indexes == list(range(40))
    alone = single_threaded(ListSource(40)._frames, MeanExplainer(), half_life_seconds)
    for result, expected in zip(sink.results, alone, strict=True):
        assert_same(result, expected)
    assert sink.is_finished
    assert sink.is_closed
    assert source.is_closed


def test_a_slow_network_loses_no_frame_of_a_file():
    source, sink = ListSource(12), ListSink()
    pipeline = pipeline_of(source, sink, MeanExplainer(seconds=0.01))
    run(pipeline, source, [sink])
    assert sink.indexes == list(range(12))
    report = pipeline.meter.report()
    assert [report[f"frames_{name}"] for name in ("read", "explained", "written", "dropped")] == [12, 12, 12, 0]
    assert report["stage_ms"]["explain"]["p50"] >= 9.9  # as long as the explainer sleeps


@pytest.mark.parametrize("explains_ahead", [False, True])
def test_the_real_explainer_in_threads_says_what_it_says_in_a_loop(
    photograph_path: Path, warm_cache: None, explains_ahead: bool
):
    import cv2

    from live_cam import load_explainer

    # After the cut the class is another: what was guessed for those frames is wrong.
    cat, coffee = (cv2.imread(str(photograph_path.with_name(name))) for name in ("chelsea.png", "coffee.png"))
    images = [np.roll(image, 40 * index, axis=1) for image in (cat, coffee) for index in range(4)]
    frames = [Frame(image, index, index / 25) for index, image in enumerate(images)]
    source, sink = ListSource(0), ListSink()
    source._frames = iter(frames)
    run_of(source, sink, load_explainer(threads=2), explains_ahead=explains_ahead)
    expected = single_threaded(frames, load_explainer(threads=2))
    assert len({result.explanation.explained.label for result in expected}) > 1
    assert expected[0].explanation.predictions[0].label == "Egyptian cat"
    for result, alone in zip(sink.results, expected, strict=True):
        assert_same(result, alone)


def test_what_was_explained_before_the_network_broke_is_kept_in_order_also_ahead():
    source, sink = ListSource(40), ListSink()
    with pytest.raises(ModelError, match="the network broke"):
        run_of(source, sink, MeanExplainer(seconds=0.001, fails_at=5), explains_ahead=True)
    assert sink.indexes == list(range(len(sink.indexes)))


def test_no_more_frames_than_asked_for_come_from_ahead():
    source, sink = ListSource(40), ListSink()
    pipeline = pipeline_of(source, sink, explains_ahead=True, max_frames=7)
    run(pipeline, source, [sink])
    assert sink.indexes == list(range(7))
    assert pipeline.meter.frames_explained == 7


def test_a_live_source_gives_the_newest_frame_and_counts_the_others():
    explaining = threading.Event()
    # The camera gives frames 1 to 5 while the network is busy with frame 0, and then hangs like one that lost power.
    source = ListSource(6, is_live=True, before_read=lambda index: index == 1 and explaining.wait(10))
    sink = ListSink()
    pipeline = pipeline_of(source, sink, MeanExplainer(seconds=0.3, started=explaining))
    run(pipeline, source, [sink])
    assert sink.indexes == [0, 5]
    report = pipeline.meter.report()
    assert [report[f"frames_{name}"] for name in ("read", "explained", "written", "dropped")] == [6, 2, 2, 4]


def test_a_slow_camera_is_never_explained_twice():
    source, sink = ListSource(5, is_live=True, before_read=lambda index: time.sleep(0.02)), ListSink()
    run_of(source, sink)
    assert sink.indexes == sorted(set(sink.indexes))
    assert sink.indexes[-1] == 4


def broken_load(frame: Frame) -> MeanExplainer:
    raise ModelError("no such model")


ERRORS = {
    "load": ({"load": broken_load}, ModelError, "no such model"),
    "class": ({"target": "eight"}, SettingError, "unknown class 'eight'"),
    "explain": ({"explainer": MeanExplainer(fails_at=2)}, ModelError, "the network broke"),
    "render": ({"renderer": BrokenRenderer(RenderSettings())}, ZeroDivisionError, "the renderer broke"),
    "sink": ({"sink": ListSink(fails_at=2)}, SinkError, "the disk is full"),
    "source": ({"source": ListSource(3, error=SourceError("the cable is out"))}, SourceError, "the cable is out"),
}


@pytest.mark.parametrize("stage", ERRORS)
def test_an_error_in_any_stage_ends_the_run_with_that_error_and_closes_everything(stage: str):
    settings, kind, message = ERRORS[stage]
    settings = {"source": ListSource(1000), "sink": ListSink(), **settings}
    started_seconds = time.monotonic()
    with pytest.raises(kind, match=message):
        run_of(**settings)
    assert time.monotonic() - started_seconds < LONGEST_END_SECONDS
    assert settings["source"].is_closed
    assert settings["sink"].is_closed
    assert not settings["sink"].is_finished
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("livecam-")]


def test_what_a_source_gave_before_it_broke_is_written_first():
    source, sink = ListSource(7, error=SourceError("broken after 7 frames")), ListSink()
    with pytest.raises(SourceError, match="broken after 7 frames"):
        run_of(source, sink, MeanExplainer(seconds=0.01))
    assert sink.indexes == list(range(7))
    assert not sink.is_finished


def test_a_source_that_breaks_while_the_model_loads_is_still_explained():
    source, sink = ListSource(2, error=SourceError("broken after 2 frames")), ListSink()

    def slow_load(frame: Frame) -> MeanExplainer:
        time.sleep(0.2)
        return MeanExplainer()

    with pytest.raises(SourceError, match="broken after 2 frames"):
        run_of(source, sink, load=slow_load)
    assert sink.indexes == [0, 1]


def test_the_model_is_loaded_for_the_first_frame():
    seen = []

    def load(frame: Frame) -> MeanExplainer:
        seen.append(frame.index)
        return MeanExplainer()

    run_of(ListSource(3), ListSink(), load=load)
    assert seen == [0]


def test_the_target_is_explained_in_every_frame():
    sink = ListSink()
    run_of(ListSource(3), sink, target="seven")
    assert [result.explanation.explained.class_index for result in sink.results] == [7, 7, 7]


def test_max_frames_ends_a_file_as_a_whole_run():
    source, sink = ListSource(1000), ListSink()
    assert run_of(source, sink, max_frames=5).is_complete
    assert sink.indexes == [0, 1, 2, 3, 4]
    assert sink.is_finished


def test_more_than_there_are_frames_is_no_limit():
    sink = ListSink()
    assert run_of(ListSource(3), sink, max_frames=10).is_complete
    assert sink.indexes == [0, 1, 2]


def test_a_camera_that_hangs_does_not_hold_up_the_end():
    source, sink = ListSource(2, is_live=True, hangs=True, before_read=lambda index: time.sleep(0.05)), ListSink()
    started_seconds = time.monotonic()
    assert run_of(source, sink, max_frames=2).is_complete
    assert time.monotonic() - started_seconds < LONGEST_END_SECONDS
    assert sink.indexes == [0, 1]
    assert sink.is_finished
    assert source.is_closed


def interrupt_after(count: int) -> Callable[[Pipeline], None]:
    """What Ctrl-C does to the main thread, once so many frames were written."""

    def check(pipeline: Pipeline) -> None:
        if pipeline.meter.frames_written >= count:
            raise KeyboardInterrupt

    return check


def test_ctrl_c_on_a_file_leaves_it_unfinished():
    source, sink = ListSource(10_000), ListSink()
    pipeline = pipeline_of(source, sink, MeanExplainer(seconds=0.002))
    ending = run(pipeline, source, [sink], on_progress=interrupt_after(3))
    assert ending == Ending(is_complete=False, was_interrupted=True)
    assert sink.indexes == list(range(len(sink.indexes)))
    assert 3 <= len(sink.indexes) < 10_000
    assert not sink.is_finished
    assert sink.is_closed
    assert source.is_closed


def test_ctrl_c_on_a_live_source_finishes():
    source, sink = ListSource(3, is_live=True, hangs=True, before_read=lambda index: time.sleep(0.05)), ListSink()
    pipeline = pipeline_of(source, sink)
    started_seconds = time.monotonic()
    ending = run(pipeline, source, [sink], on_progress=interrupt_after(3))
    assert ending == Ending(is_complete=True, was_interrupted=True)
    assert time.monotonic() - started_seconds < LONGEST_END_SECONDS
    assert sink.indexes == [0, 1, 2]
    assert sink.is_finished


def test_ctrl_c_while_the_model_loads_does_not_wait_for_it():
    loading, may_end = threading.Event(), threading.Event()

    def load(frame: Frame) -> MeanExplainer:
        loading.set()
        may_end.wait(60)
        return MeanExplainer()

    def interrupt(pipeline: Pipeline) -> None:
        if loading.is_set():
            raise KeyboardInterrupt

    source, sink = ListSource(10_000, is_live=True), ListSink()
    started_seconds = time.monotonic()
    try:
        ending = run(pipeline_of(source, sink, load=load), source, [sink], on_progress=interrupt)
    finally:
        may_end.set()
    assert ending.was_interrupted
    assert time.monotonic() - started_seconds < LONGEST_END_SECONDS
    assert not sink.results
    assert source.is_closed


def test_results_can_be_taken_one_by_one_without_losing_any():
    source, sink = ListSource(9), ListSink()
    pipeline = pipeline_of(source, sink, shows_every_frame=True)
    pipeline.start()
    shown = []
    while not pipeline.results.ended:
        result = pipeline.results.get(0.05)
        if result is not None:
            shown.append(result.frame.index)
    assert shown == list(range(9))
    assert pipeline.last_explanation is sink.results[-1].explanation


def test_results_that_nobody_takes_stop_nothing():
    source, sink = ListSource(9), ListSink()
    pipeline = pipeline_of(source, sink)
    pipeline.start()
    pipeline.wait(10)
    assert sink.indexes == list(range(9))
    assert pipeline.results.get(0).frame.index == 8


@pytest.mark.parametrize(("is_live", "expected_index"), [(False, 0), (True, 2)])
def test_the_preview_of_a_file_is_its_first_frame_and_of_a_camera_its_newest(is_live, expected_index):
    source, all_read = ListSource(3, is_live=is_live), threading.Event()
    source._before_read = lambda index: all_read.set() if index == 3 else None

    def load(frame: Frame) -> MeanExplainer:
        all_read.wait(10)
        return MeanExplainer()

    pipeline = pipeline_of(source, ListSink(), load=load)
    pipeline.start()
    pipeline.wait(10)
    assert pipeline.preview.index == expected_index
