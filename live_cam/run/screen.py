"""What the window shows from moment to moment, and what becomes of the viewer's wishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from live_cam.commands import Action, Command
from live_cam.frame import Frame, Result
from live_cam.render.hud import Status
from live_cam.run.pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np

    from live_cam.run.controls import Controls
    from live_cam.run.outages import OutageTeller
    from live_cam.sinks.window import Window

POLL_SECONDS = 0.02
_LATE_SECONDS = 0.1
# Figures that change faster cannot be read.
_FIGURES_SECONDS = 0.25
# At the end, when the last picture stays "until a key": keys with a meaning of their own keep it, but for these.
_ENDING_ACTIONS = {Action.QUIT, Action.FREEZE, Action.NOTHING}


class Screen:
    """Shows results, and hands commands to the controls. Lives in the main thread, as windows must.

    Args:
        window: Shows pictures.
        pipeline: Makes them.
        controls: Apply commands.
        is_paced: Shows a file at its own speed.
        is_live: Whether the time from capture to picture means anything.
        outages: Show that the source is away.
    """

    def __init__(
        self,
        window: Window,
        pipeline: Pipeline,
        controls: Controls,
        is_paced: bool,
        is_live: bool,
        outages: OutageTeller,
    ) -> None:
        self._window, self._pipeline, self._controls = window, pipeline, controls
        self._is_paced, self._is_live = is_paced, is_live
        self._shown: Result | None = None
        self._shown_status: Status | None = None
        self._shown_preview: Frame | None = None
        # Media time minus wall time.
        self._offset_seconds: float | None = None
        self._figures: dict[str, Any] = {}
        self._figures_seconds = 0.0
        self._still: _Still | None = None
        self._outages = outages

    def step(self) -> bool:
        """Shows what is new and looks at the keys; False when the user wants to end."""
        if self._outages.is_away and not self._controls.is_frozen:
            self._outages.show_card(self._window, self._last_image())
            self._shown_status = None
            return self._obey(self._window.poll(POLL_SECONDS))
        if self._pipeline.explainer is None:
            self._show_preview()
            return self._obey(self._window.poll(POLL_SECONDS))
        if self._controls.is_frozen and self._shown is not None:
            return self._stand_still(self._shown)
        self._still = None
        result = self._pipeline.results.get(POLL_SECONDS)
        if result is not None:
            if self._is_paced and not self._wait_until_due(result):
                return False
            self._shown = result
        self._show()
        return self._obey(self._window.poll(0.0))

    def _last_image(self) -> np.ndarray | None:
        last = self._shown_preview if self._shown is None else self._shown.drawn
        return None if last is None else last.image

    def hold(self) -> None:
        """Keeps the last picture until a key that means nothing else is pressed, or the window is closed."""
        while self._shown is not None and self._stand_still(self._shown, _ENDING_ACTIONS):
            pass

    def _stand_still(self, shown: Result, ending_actions: Iterable[Action] = (Action.QUIT,)) -> bool:
        """One moment of a picture that stays but for what its viewer changes."""
        if self._still is None:
            self._still = _Still(self._pipeline, self._controls)
        self._shown = self._still.kept_up(shown)
        self._show()
        return self._obey(self._window.poll(POLL_SECONDS), ending_actions)

    def _obey(self, commands: Iterable[Command], ending_actions: Iterable[Action] = (Action.QUIT,)) -> bool:
        for command in commands:
            if command.action in ending_actions:
                return False
            if self._shown is not None:
                self._controls.apply(command, self._shown)
        self._controls.look_after()
        return True

    def _show_preview(self) -> None:
        preview = self._pipeline.preview
        if preview is not None and preview is not self._shown_preview:
            self._window.show(preview.image, Status(message="preparing the model"))
            self._shown_preview = preview

    def _show(self) -> None:
        """Shows the picture unless it is just so on the screen already."""
        shown = self._shown
        if shown is None:
            return
        status = self._status(shown)
        if status != self._shown_status or self._window.has_other_size():
            self._window.show(shown.drawn.image, status)
            self._shown_status = status

    def _wait_until_due(self, result: Result) -> bool:
        media_seconds = result.frame.time_seconds
        if self._offset_seconds is None:
            self._offset_seconds = media_seconds - time.monotonic()
        while (early_seconds := media_seconds - self._offset_seconds - time.monotonic()) > 0:
            if not self._obey(self._window.poll(min(early_seconds, POLL_SECONDS))):
                return False
        if early_seconds < -_LATE_SECONDS:
            # Go on from here at normal speed: running after the lost time would look like fast forward.
            self._offset_seconds = media_seconds - time.monotonic()
        return True

    def _status(self, shown: Result) -> Status:
        controls, settings = self._controls, self._pipeline.renderer.settings
        return Status(
            explanation=shown.drawn_explanation,
            heat_age_ms=None if shown.earlier_frame is None else 1e3 * shown.heat_age_seconds,
            colormap="" if settings.view == "original" else settings.colormap,
            is_locked=self._pipeline.steady.classes.is_fixed,
            contrast_label=controls.contrast_label(shown),
            is_frozen=controls.is_frozen,
            recording_seconds=controls.recording_seconds,
            spot=controls.spot(shown),
            notice=controls.notice,
            detail=controls.detail,
            has_help=controls.has_help,
            **self._recent_figures(),
        )

    def _recent_figures(self) -> dict[str, Any]:
        now_seconds = time.monotonic()
        if now_seconds - self._figures_seconds >= _FIGURES_SECONDS and self._still is None:
            self._figures_seconds = now_seconds
            meter, explainer = self._pipeline.meter, self._pipeline.explainer
            self._figures = {
                "fps": meter.recent_fps,
                # Of a recording it is only the time in our own queues.
                "latency_ms": meter.recent_latency_ms if self._is_live else None,
                "dropped_count": meter.frames_dropped,
                "reconnect_count": meter.reconnects,
                "stage_ms": meter.stage_medians_ms() if self._controls.detail == "all" else {},
            }
            if explainer is not None:
                self._figures |= {
                    "engine": explainer.engine_name,
                    "method": explainer.method,
                    "layer": explainer.facts.layer,
                }
        return self._figures


class _Still:
    """Explains and draws one frame anew whenever the viewer changes something, in a thread of its own."""

    def __init__(self, pipeline: Pipeline, controls: Controls) -> None:
        self._pipeline, self._controls = pipeline, controls
        self._done = self._wanted()
        self._doing: tuple[tuple[int, int], Future[Result]] | None = None

    def kept_up(self, shown: Result) -> Result:
        """The picture as it is to be shown now."""
        if self._doing is not None and self._doing[1].done():
            self._done, future = self._doing
            self._doing = None
            shown = future.result()
        wanted = self._wanted()
        if self._doing is None and wanted != self._done:
            explains = wanted[0] != self._done[0]
            self._doing = wanted, _started(lambda: self._pipeline.again(shown, explains))
        return shown

    def _wanted(self) -> tuple[int, int]:
        return self._controls.explaining_changes, self._controls.drawing_changes


def _started(work: Callable[[], Result]) -> Future[Result]:
    """Does it in a thread of its own, which does not keep the program from ending."""
    future: Future[Result] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 — raised again by whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=do, name="livecam-again", daemon=True).start()
    return future
