"""What commands do: to the picture, to what is explained, to the window, and to the files that keys make."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.cam import CAM_METHODS
from live_cam.commands import Action, Command
from live_cam.errors import LiveCamError
from live_cam.render.colormaps import COLORMAPS
from live_cam.render.hud import DETAILS
from live_cam.render.spots import SpotReading, frame_xy_of, read_spot
from live_cam.render.views import VIEWS, Renderer
from live_cam.run.preparing import PassWish, Preparer
from live_cam.sinks.sidecar import sidecar_line
from live_cam.sinks.snapshot import write_snapshot
from live_cam.steady.smoothing import DEFAULT_HALF_LIFE_SECONDS

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Result
    from live_cam.run.pipeline import Pipeline
    from live_cam.sinks.recorder import Recorder
    from live_cam.sinks.window import Window

_OPACITY_STEP = 0.1
_NOTICE_SECONDS = 1.6
_ERROR_SECONDS = 6.0
# A click this near to the spot takes it away; as a fraction of the frame.
_SAME_SPOT = 0.03


class Controls:
    """Applies commands. Lives in the window's thread.

    Args:
        pipeline: Whose settings change.
        window: Whose size changes.
        recorder: What key r starts.
        load: Makes an explainer for a wish, in another thread.
        folder: Where snapshots go.
        source_name: For snapshots.

    Attributes:
        window: That whose viewer commands.
        is_frozen: Whether the picture is to stand still.
        has_help: Whether the help card is to be seen.
        detail: How many figures are.
        explaining_changes: How often something changed that needs a new explanation.
        drawing_changes: The same of drawing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        window: Window,
        recorder: Recorder,
        load: Callable[[PassWish], Explainer],
        folder: Path,
        source_name: str,
    ) -> None:
        self._pipeline, self.window, self._recorder = pipeline, window, recorder
        self._preparer = Preparer(load)
        self._folder, self._source_name = folder, source_name
        self._smooth_seconds = pipeline.steady.half_life_seconds
        self._spot_xy: tuple[float, float] | None = None
        self._notice, self._notice_until_seconds = "", 0.0
        self._failed: PassWish | None = None
        self.is_frozen = False
        self.has_help = False
        self.detail = DETAILS[0]
        self.explaining_changes = self.drawing_changes = 0
        self._handlers: dict[Action, Callable[[Command, Result], None]] = {
            Action.HELP: self._toggle_help,
            Action.FREEZE: self._toggle_freeze,
            Action.CLASS: self._step_class,
            Action.LOCK: self._toggle_lock,
            Action.CONTRAST: self._toggle_contrast,
            Action.METHOD: self._step_method,
            Action.LAYER: self._step_layer,
            Action.COLORMAP: self._step_colormap,
            Action.OPACITY: self._change_opacity,
            Action.SMOOTHING: self._toggle_smoothing,
            Action.VIEW: self._step_view,
            Action.SNAPSHOT: self._save,
            Action.RECORDING: self._toggle_recording,
            Action.FULL_SCREEN: self._toggle_full_screen,
            Action.DETAIL: self._step_detail,
            Action.SPOT: self._mark_spot,
        }

    def apply(self, command: Command, shown: Result) -> None:
        """Does what a command says, or tells on the screen why it cannot be done.

        Args:
            command: Not one that ends the run.
            shown: What the viewer sees.
        """
        handler = self._handlers.get(command.action)
        if handler is not None:
            try:
                handler(command, shown)
            except LiveCamError as error:
                self._say(str(error), _ERROR_SECONDS)

    def look_after(self) -> None:
        """To be called often: puts a pass that became ready in place, and hears how recordings ended."""
        prepared = self._preparer.poll()
        if prepared is not None and prepared.explainer is not None:
            self._pipeline.use(prepared.explainer)
            self.explaining_changes += 1
            self._say(_pass_text(prepared.wish))
        elif prepared is not None:
            self._failed = prepared.wish
            self._say(prepared.error, _ERROR_SECONDS)
        news = self._recorder.news()
        if news:
            self._say(news, _ERROR_SECONDS)

    def close(self) -> None:
        """Ends what is being recorded, and the window."""
        self._recorder.close()
        self.window.close()

    @property
    def notice(self) -> str:
        """What is to be told now."""
        if self._preparer.wish is not None:
            return f"preparing {_pass_text(self._preparer.wish)}"
        return self._notice if time.monotonic() < self._notice_until_seconds else ""

    @property
    def recording_seconds(self) -> float | None:
        """How long a recording has been running, in whole seconds; None if none is."""
        seconds = self._recorder.seconds
        return None if seconds is None else int(seconds)

    def spot(self, shown: Result) -> SpotReading | None:
        """What is to be said of the place that was clicked."""
        if self._spot_xy is None:
            return None
        return read_spot(shown.drawn_explanation, self._spot_xy, self._pipeline.renderer.settings)

    def contrast_label(self, shown: Result) -> str:
        """The class that the explained one is set against; empty if none is."""
        explainer = self._pipeline.explainer
        if explainer is None:
            return ""
        index = self._pipeline.steady.rival.contrast_index(shown.explanation.explained.class_index)
        index = explainer.contrast_index if index is None else index
        return explainer.labels[index] if index >= 0 else ""

    def _say(self, notice: str, seconds: float = _NOTICE_SECONDS) -> None:
        self._notice, self._notice_until_seconds = notice, time.monotonic() + seconds

    def _toggle_help(self, command: Command, shown: Result) -> None:
        self.has_help = not self.has_help

    def _toggle_freeze(self, command: Command, shown: Result) -> None:
        self.is_frozen = not self.is_frozen
        self._pipeline.pause(self.is_frozen)

    def _step_class(self, command: Command, shown: Result) -> None:
        best = [one.class_index for one in shown.explanation.predictions]
        explained_index = shown.explanation.explained.class_index
        # From a class that is none of them, one step on leads to the first, one step back to the last.
        at = best.index(explained_index) if explained_index in best else -1 if command.step > 0 else 0
        chosen = shown.explanation.predictions[(at + command.step) % len(best)]
        self._pipeline.steady.classes.choose(chosen.class_index)
        self.explaining_changes += 1
        self._say(f"explaining {chosen.label}")

    def _toggle_lock(self, command: Command, shown: Result) -> None:
        classes = self._pipeline.steady.classes
        if classes.is_fixed:
            classes.release()
            self._say("following the top class")
        else:
            classes.choose(shown.explanation.explained.class_index)
            self._say(f"locked: {shown.explanation.explained.label}")
        self.explaining_changes += 1

    def _toggle_contrast(self, command: Command, shown: Result) -> None:
        rival, steady = self._pipeline.steady.rival, self._pipeline.steady
        rival.saw(shown.explanation)
        rival.mode = "none" if self.contrast_label(shown) else "second"
        steady.begin_anew()
        self.explaining_changes += 1
        label = self.contrast_label(shown)
        self._say(f"against {label}" if label else "no contrast")

    def _step_method(self, command: Command, shown: Result) -> None:
        self._wish_for(method=_next(list(CAM_METHODS), self._wanted_pass().method, command.step))

    def _step_layer(self, command: Command, shown: Result) -> None:
        explainer = self._pipeline.explainer
        choices = explainer.facts.layer_choices if explainer is not None else ()
        layer = self._wanted_pass().layer
        if not choices:
            return
        at = choices.index(layer) if layer in choices else len(choices) - (command.step < 0)
        if not 0 <= at + command.step < len(choices):
            self._say(f"{layer} is the {'last' if command.step > 0 else 'first'} layer to choose")
            return
        self._wish_for(layer=choices[at + command.step])

    def _wanted_pass(self) -> PassWish:
        # After an error the next press goes on from what failed, not back to it.
        return self._preparer.wish or self._failed or self._pass_in_use()

    def _pass_in_use(self) -> PassWish:
        explainer = self._pipeline.explainer
        return PassWish("", None) if explainer is None else PassWish(explainer.method, explainer.facts.layer)

    def _wish_for(self, method: str = "", layer: str = "") -> None:
        before = self._wanted_pass()
        wish = PassWish(method or before.method, layer or before.layer)
        self._failed = None
        self._preparer.want(None if wish == self._pass_in_use() else wish)
        self._say(_pass_text(wish))

    def _step_colormap(self, command: Command, shown: Result) -> None:
        colormap = _next(list(COLORMAPS), self._pipeline.renderer.settings.colormap, command.step)
        self._redraw(colormap=colormap)
        self._say(f"colour map: {colormap}")

    def _change_opacity(self, command: Command, shown: Result) -> None:
        opacity = self._pipeline.renderer.settings.opacity + command.step * _OPACITY_STEP
        opacity = round(min(max(opacity, 0.0), 1.0), 2)
        self._redraw(opacity=opacity)
        self._say(f"opacity: {100 * opacity:.0f} %")

    def _step_view(self, command: Command, shown: Result) -> None:
        view = _next(list(VIEWS), self._pipeline.renderer.settings.view, command.step)
        self._redraw(view=view)
        self._say(f"view: {view}")

    def _redraw(self, **changes: Any) -> None:
        self._pipeline.renderer = Renderer(replace(self._pipeline.renderer.settings, **changes))
        self.drawing_changes += 1

    def _toggle_smoothing(self, command: Command, shown: Result) -> None:
        steady = self._pipeline.steady
        if steady.half_life_seconds > 0:
            self._smooth_seconds, steady.half_life_seconds = steady.half_life_seconds, 0.0
        else:
            steady.half_life_seconds = self._smooth_seconds or DEFAULT_HALF_LIFE_SECONDS
        self.explaining_changes += 1
        self._say(f"smoothing: {steady.half_life_seconds:g} s" if steady.half_life_seconds else "no smoothing")

    def _save(self, command: Command, shown: Result) -> None:
        captioned = self._pipeline.renderer.captioned(shown.drawn, shown.explanation)
        path = write_snapshot(self._folder, datetime.now(), captioned.image, self._facts(shown))
        self._say(f"saved {path.name}", _ERROR_SECONDS / 2)

    def _facts(self, shown: Result) -> dict[str, Any]:
        explainer, settings = self._pipeline.explainer, self._pipeline.renderer.settings
        about = (
            {}
            if explainer is None
            else {
                "model": explainer.model_name,
                "method": explainer.method,
                "layer": explainer.facts.layer,
                "engine": explainer.engine_name,
            }
        )
        return {
            "source": self._source_name,
            **about,
            "contrast": self.contrast_label(shown) or None,
            "view": settings.view,
            "colormap": settings.colormap,
            "opacity": settings.opacity,
            **sidecar_line(shown),
        }

    def _toggle_recording(self, command: Command, shown: Result) -> None:
        if self._recorder.seconds is None:
            height, width = shown.drawn.image.shape[:2]
            self._say(f"recording {self._recorder.start((width, height)).name}")
        else:
            self._recorder.stop()

    def _toggle_full_screen(self, command: Command, shown: Result) -> None:
        self.window.toggle_full_screen()

    def _step_detail(self, command: Command, shown: Result) -> None:
        self.detail = _next(DETAILS, self.detail, command.step)

    def _mark_spot(self, command: Command, shown: Result) -> None:
        if command.spot_xy is None:
            return
        before, spot_xy = self._spot_xy, frame_xy_of(command.spot_xy, self._pipeline.renderer.settings)
        is_same = before is not None and max(abs(a - b) for a, b in zip(before, spot_xy, strict=True)) < _SAME_SPOT
        self._spot_xy = None if is_same else spot_xy


def _next(names: Sequence[str], name: str, step: int) -> str:
    """The name that many places further, round and round; the first after one that is none of them."""
    return names[(names.index(name) + step) % len(names)] if name in names else names[0]


def _pass_text(wish: PassWish) -> str:
    return f"{wish.method} · {wish.layer}" if wish.layer else wish.method
