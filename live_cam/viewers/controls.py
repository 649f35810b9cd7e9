"""Applies a viewer's commands: to the look, to what is explained, to the viewer, and to the files that keys make."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from live_cam.errors import LiveCamError
from live_cam.gradmodel.cam_methods import METHODS_WITHOUT_CONTRAST
from live_cam.predictions import NO_CLASS, SIMILAR_CLASSES
from live_cam.render.cards import duration_text
from live_cam.render.colormaps import COLORMAPS
from live_cam.render.hud import DETAILS
from live_cam.render.renderer import VIEWS
from live_cam.render.spots import SpotReading, frame_xy_of, read_spot
from live_cam.settings import DEFAULT_SMOOTH_SECONDS
from live_cam.sinks.sidecar import sidecar_line
from live_cam.viewers.background import started
from live_cam.viewers.commands import Action, Command
from live_cam.viewers.explainer_switch import ExplainerSwitch, next_in
from live_cam.viewers.playback import JUMP_SECONDS, Playback

if TYPE_CHECKING:
    from concurrent.futures import Future

    from live_cam.frame import Explanation, Result
    from live_cam.pipeline.feed import Feed
    from live_cam.pipeline.pipeline import Pipeline
    from live_cam.viewers.protocol import Viewer
    from live_cam.viewers.recorder import Recorder

_OPACITY_STEP = 0.1
_NOTICE_SECONDS = 1.6
_ERROR_SECONDS = 6.0
# A click this near to the marked spot removes it; as a fraction of the frame.
_SAME_SPOT = 0.03


@dataclass
class ViewState:
    """State that the viewer shows beside the picture.

    Attributes:
        is_frozen: Whether the picture stands still.
        has_help: Whether the key table is shown.
        detail: How many figures are shown, one of ``DETAILS``.
        explaining_changes: Counts changes that need a new explanation of a frozen picture.
        drawing_changes: Counts changes that need a frozen picture to be drawn again.
        notice: What the last key did, in a few words.
        notice_until_seconds: Until when the notice is shown, by the monotonic clock.
    """

    is_frozen: bool = False
    has_help: bool = False
    detail: str = DETAILS[0]
    explaining_changes: int = 0
    drawing_changes: int = 0
    notice: str = ""
    notice_until_seconds: float = 0.0

    @property
    def changes(self) -> tuple[int, int]:
        """Both counts of changes."""
        return self.explaining_changes, self.drawing_changes

    def say(self, notice: str, seconds: float = _NOTICE_SECONDS) -> None:
        """Shows a notice for that long."""
        self.notice, self.notice_until_seconds = notice, time.monotonic() + seconds


class Controls:
    """Applies commands to one feed. Lives in the viewer's thread and never waits for the network or an encoder.

    Args:
        pipeline: Explains the feed.
        feed: Shown and changed.
        viewer: Shows it.
        recorder: Records it.
        explainer_switch: Loads other methods and layers.

    Attributes:
        state: What the viewer shows beside the picture.
        recorder: Records the feed.
        playback: Where the feed's recording is played.
    """

    def __init__(
        self, pipeline: Pipeline, feed: Feed, viewer: Viewer, recorder: Recorder, explainer_switch: ExplainerSwitch
    ) -> None:
        self.state = ViewState()
        self.recorder = recorder
        self.playback = Playback(feed.source)
        self._pipeline, self._feed, self._viewer, self._switch = pipeline, feed, viewer, explainer_switch
        self._smooth_seconds = feed.temporal.smooth_seconds
        self._spot_xy: tuple[float, float] | None = None
        # What the frame that was clicked shows of each of the top classes.
        self._spot_maps: Future[Explanation] | None = None
        self._handlers: dict[Action, Callable[[Command, Result], None]] = {
            Action.HELP: self._toggle_help,
            Action.FREEZE: self._toggle_freeze,
            Action.JUMP: self._jump,
            Action.FRAME: self._step_frame,
            Action.POSITION: self._jump_to,
            Action.CLASS: self._step_class,
            Action.LOCK: self._toggle_lock,
            Action.CONTRAST: self._step_contrast,
            Action.METHOD: lambda command, shown: self.state.say(self._switch.step_method(command.step)),
            Action.LAYER: lambda command, shown: self.state.say(self._switch.step_layer(command.step)),
            Action.COLORMAP: self._step_colormap,
            Action.OPACITY: self._change_opacity,
            Action.SMOOTHING: self._toggle_smoothing,
            Action.VIEW: self._step_view,
            Action.SNAPSHOT: self._save_snapshot,
            Action.RECORDING: self._toggle_recording,
            Action.FULL_SCREEN: lambda command, shown: self._viewer.toggle_full_screen(),
            Action.DETAIL: self._step_detail,
            Action.SPOT: self._mark_spot,
        }

    def apply(self, command: Command, shown: Result) -> None:
        """Does what a command asks for; an error becomes a notice.

        Args:
            command: Any but QUIT.
            shown: What the user sees.
        """
        handler = self._handlers.get(command.action)
        if handler is not None:
            try:
                handler(command, shown)
            except LiveCamError as error:
                self.state.say(str(error), _ERROR_SECONDS)

    def poll(self) -> None:
        """Installs an explainer that finished loading and reports saved files. Call it once per GUI tick."""
        message = self._switch.poll()
        if message is not None:
            if not self._switch.has_failed:
                self.state.explaining_changes += 1
                self._spot_xy = None  # what was read is of the method or layer before
            self.state.say(message, _ERROR_SECONDS if self._switch.has_failed else _NOTICE_SECONDS)
        recorded = self.recorder.message()
        if recorded:
            self.state.say(recorded, _ERROR_SECONDS)

    @property
    def notice(self) -> str:
        """Message for the user, or empty."""
        if self._switch.pending is not None:
            return f"preparing {self._switch.pending} · {duration_text(self._switch.waited_seconds)}"
        return self.state.notice if time.monotonic() < self.state.notice_until_seconds else ""

    def spot(self, shown: Result) -> SpotReading | None:
        """Returns the evidence at the spot that was clicked; None while there is none."""
        if self._spot_xy is None or self._spot_maps is None or not self._spot_maps.done():
            return None
        if self._spot_maps.exception() is not None:
            self.state.say(f"cannot read the spot: {self._spot_maps.exception()}", _ERROR_SECONDS)
            self._spot_xy = None
            return None
        drawn_count = 1 + len(shown.drawn_explanation.other_maps)
        return read_spot(self._spot_maps.result(), self._spot_xy, self._feed.renderer.settings, drawn_count)

    def _toggle_help(self, command: Command, shown: Result) -> None:
        self.state.has_help = not self.state.has_help

    def _toggle_freeze(self, command: Command, shown: Result) -> None:
        if self.playback.is_at_end(shown):
            self._leave_place()
            self._freeze(False)
            self.playback.jump_to(0.0)
        else:
            self._freeze(not self.state.is_frozen)

    def _freeze(self, is_frozen: bool) -> None:
        self.state.is_frozen = is_frozen
        # A recording that is watched waits for its viewer anyway, and single frames of it may still be wanted.
        if not self._feed.source.can_seek:
            self._feed.pause(is_frozen)

    def _jump(self, command: Command, shown: Result) -> None:
        self._leave_place()
        self.playback.jump_by(shown, command.step * JUMP_SECONDS)

    def _jump_to(self, command: Command, shown: Result) -> None:
        self._leave_place()
        self.playback.jump_to(command.position)

    def _step_frame(self, command: Command, shown: Result) -> None:
        if self._feed.source.can_seek:
            self._freeze(True)
            if command.step < 0:
                self._leave_place()
            self.playback.step(shown, command.step)

    def _leave_place(self) -> None:
        """Completes a recording before a jump, because its frames would not be in order, and forgets the spot."""
        if self._feed.source.can_seek:
            self._spot_xy = None
            if self.recorder.seconds is not None:
                self.recorder.stop()

    def _step_class(self, command: Command, shown: Result) -> None:
        predictions = shown.explanation.predictions
        indices = [prediction.class_index for prediction in predictions]
        explained_index = shown.explanation.explained.class_index
        # From a class that is not among them, a step forward leads to the first, a step back to the last.
        position = indices.index(explained_index) if explained_index in indices else -1 if command.step > 0 else 0
        chosen = predictions[(position + command.step) % len(predictions)]
        self._feed.temporal.classes.choose(chosen.class_index)
        self.state.explaining_changes += 1
        self.state.say(f"explaining {chosen.label}")

    def _toggle_lock(self, command: Command, shown: Result) -> None:
        classes = self._feed.temporal.classes
        if classes.is_fixed:
            classes.release()
            self.state.say("following the top class")
        else:
            classes.choose(shown.explanation.explained.class_index)
            self.state.say(f"locked: {shown.explanation.explained.label}")
        self.state.explaining_changes += 1

    def _step_contrast(self, command: Command, shown: Result) -> None:
        explainer, contrast = self._pipeline.explainer, self._feed.temporal.contrast
        if explainer is None:
            return
        if explainer.method in METHODS_WITHOUT_CONTRAST:
            self.state.say(f"{explainer.method} has no contrast")
            return
        explanation, mode = shown.explanation, contrast.mode
        if mode == "given":
            mode = {NO_CLASS: "none", SIMILAR_CLASSES: "similar"}.get(explainer.contrast_index, "second")
        mode = next_in(_contrast_modes(explanation), mode, command.step)
        contrast.update(explanation)
        contrast.set_mode(mode)
        self._feed.temporal.reset()
        self.state.explaining_changes += 1
        index = contrast.next_index(explanation.explained.class_index)
        labels = [prediction.label for prediction in explanation.predictions if prediction.class_index == index]
        self.state.say("no contrast" if mode == "none" else f"against {(labels or ['similar classes'])[0]}")

    def _step_colormap(self, command: Command, shown: Result) -> None:
        colormap = next_in(list(COLORMAPS), self._feed.renderer.settings.colormap, command.step)
        self._change_look(colormap=colormap)
        self.state.say(f"colormap: {colormap}")

    def _change_opacity(self, command: Command, shown: Result) -> None:
        opacity = self._feed.renderer.settings.opacity + command.step * _OPACITY_STEP
        opacity = round(min(max(opacity, 0.0), 1.0), 2)
        self._change_look(opacity=opacity)
        self.state.say(f"opacity: {100 * opacity:.0f} %")

    def _step_view(self, command: Command, shown: Result) -> None:
        view = next_in(list(VIEWS), self._feed.renderer.settings.view, command.step)
        self._change_look(view=view)
        self.state.say(f"view: {view}")

    def _change_look(self, **changes: Any) -> None:
        self._feed.change_look(**changes)
        self.state.drawing_changes += 1

    def _toggle_smoothing(self, command: Command, shown: Result) -> None:
        temporal = self._feed.temporal
        if temporal.smooth_seconds > 0:
            self._smooth_seconds, temporal.smooth_seconds = temporal.smooth_seconds, 0.0
        else:
            temporal.smooth_seconds = self._smooth_seconds or DEFAULT_SMOOTH_SECONDS
        self.state.explaining_changes += 1
        self.state.say(f"smoothing: {temporal.smooth_seconds:g} s" if temporal.smooth_seconds else "no smoothing")

    def _save_snapshot(self, command: Command, shown: Result) -> None:
        self.recorder.save_snapshot(shown, self._snapshot_facts(shown))

    def _snapshot_facts(self, shown: Result) -> dict[str, Any]:
        explainer, settings = self._pipeline.explainer, self._feed.renderer.settings
        model = {}
        if explainer is not None:
            model = {
                "model": explainer.model_name,
                "method": explainer.method,
                "layer": explainer.layer,
                "engine": explainer.engine_name,
                "precision": explainer.precision,
            }
        return {
            "source": self._feed.source.name,
            **model,
            "contrast": _contrast_fact(shown),
            "view": settings.view,
            "colormap": settings.colormap,
            "opacity": settings.opacity,
            **sidecar_line(shown),
        }

    def _toggle_recording(self, command: Command, shown: Result) -> None:
        if self.playback.is_jumping:
            self.state.say("not during a jump")
        elif self.recorder.seconds is None:
            height, width = shown.image_without_caption.shape[:2]
            self.state.say(f"recording {self.recorder.start((width, height)).name}")
        else:
            self.recorder.stop()

    def _step_detail(self, command: Command, shown: Result) -> None:
        self.state.detail = next_in(DETAILS, self.state.detail, command.step)

    def _mark_spot(self, command: Command, shown: Result) -> None:
        is_reading = self._spot_maps is not None and not self._spot_maps.done()
        if command.spot_xy is None or is_reading:
            return
        class_count = 1 + len(shown.drawn_explanation.other_maps)
        spot_xy = frame_xy_of(command.spot_xy, self._feed.renderer.settings, class_count)
        before = self._spot_xy
        is_same = before is not None and max(abs(a - b) for a, b in zip(before, spot_xy, strict=True)) < _SAME_SPOT
        self._spot_xy = None if is_same else spot_xy
        explained, predictions = shown.explanation.explained, shown.explanation.predictions
        indices = dict.fromkeys([*(prediction.class_index for prediction in predictions), explained.class_index])
        if self._spot_xy is not None and self._pipeline.explainer is not None:
            self._spot_maps = started(lambda: self._pipeline.explain_classes(shown.frame.image, list(indices)))


def _contrast_modes(explanation: Explanation) -> list[str]:
    """Returns the contrasts that there are: numbers have no similar classes, a single prediction no second one."""
    explained = explanation.explained
    has_second = any(prediction.class_index != explained.class_index for prediction in explanation.predictions)
    has_similar = explained.probability is not None
    return ["none", *(["second"] if has_second else []), *(["similar"] if has_similar else [])]


def _contrast_fact(shown: Result) -> str | list[str] | None:
    labels = [prediction.label for prediction in shown.explanation.contrast]
    return labels if len(labels) > 1 else "".join(labels) or None
