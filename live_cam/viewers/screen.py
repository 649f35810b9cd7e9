"""Decides what a viewer shows from moment to moment, and hands its commands to the controls."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.explain.explainer import engine_title
from live_cam.frame import Frame, Result
from live_cam.gradmodel.cam_methods import METHOD_TITLES
from live_cam.models.registry import find_spec, is_known
from live_cam.pipeline.feed import Subscription
from live_cam.pipeline.queues import ClosableQueue, LatestQueue, LosslessQueue
from live_cam.render.cards import offline_image, offline_message
from live_cam.render.hud import Status
from live_cam.viewers.background import started
from live_cam.viewers.commands import HELP_GROUPS, Action, Command

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.pipeline.feed import Feed
    from live_cam.pipeline.pipeline import Pipeline
    from live_cam.viewers.controls import Controls
    from live_cam.viewers.protocol import Viewer

POLL_SECONDS = 0.02
_LATE_SECONDS = 0.1
_SHOWN_CAPACITY = 2
# Figures that change faster cannot be read.
_FIGURES_SECONDS = 0.25
# Keys that close the last picture of a file; the others keep their meaning.
_ENDING_ACTIONS = {Action.QUIT, Action.FREEZE, Action.NOTHING}


class Screen:
    """Shows a feed's results in a viewer. Lives in the main thread, as windows must.

    Args:
        pipeline: Explains the feed.
        feed: Shown.
        viewer: Shows it.
        controls: Apply commands.
        is_paced: Whether every frame of a file is shown, at the file's own speed; else the newest.
    """

    def __init__(self, pipeline: Pipeline, feed: Feed, viewer: Viewer, controls: Controls, is_paced: bool) -> None:
        self._pipeline, self._feed, self._viewer, self._controls = pipeline, feed, viewer, controls
        self._is_paced = is_paced
        self._results: ClosableQueue[Result] = LosslessQueue(_SHOWN_CAPACITY) if is_paced else LatestQueue()
        feed.subscribe(Subscription(self._results, lambda result: result.image_without_caption))
        self._shown: Result | None = None
        # The next result, until it is due.
        self._next: Result | None = None
        # Changes of the user's that were made before the last result was shown.
        self._changes_before = controls.state.changes
        # What is in the viewer now; None for a card.
        self._on_viewer: tuple[Result, Status] | None = None
        self._shown_preview: Frame | None = None
        # Media time minus wall time.
        self._offset_seconds: float | None = None
        self._figures: dict[str, Any] = {}
        self._figures_seconds = 0.0
        self._refresher: _Refresher | None = None
        self._offline_status_shown: Status | None = None

    @property
    def has_ended(self) -> bool:
        """Whether all results have been shown."""
        return self._next is None and self._results.has_ended

    def step(self) -> bool:
        """Shows what is new and applies commands; returns False once the user quits."""
        is_frozen, playback = self._controls.state.is_frozen, self._controls.playback
        if self._feed.source.outage is not None and not is_frozen:
            self._show_offline_card()
            return self._apply(self._viewer.poll(POLL_SECONDS))
        self._offline_status_shown = None
        if self._pipeline.explainer is None:
            self._show_preview()
            return self._apply(self._viewer.poll(POLL_SECONDS))
        if self._shown is not None and not playback.is_jumping and (is_frozen or playback.is_at_end(self._shown)):
            return self._show_still(self._shown)
        self._refresher = None
        if self._next is None:
            self._next = self._results.get(POLL_SECONDS)
        early_seconds = 0.0 if self._next is None else self._early_seconds(self._next)
        if self._next is not None and early_seconds == 0:
            self._take(self._next)
            self._next = None
        self._show()
        return self._apply(self._viewer.poll(min(early_seconds, POLL_SECONDS)))

    def _take(self, result: Result) -> None:
        """Shows a result from now on, unless it was read before a jump."""
        was_jumping = self._controls.playback.is_jumping
        if not self._controls.playback.accepts(result):
            return
        self._shown = result
        if was_jumping:
            self._offset_seconds = result.frame.time_seconds - time.monotonic()
        if not self._controls.state.is_frozen:
            self._changes_before = self._controls.state.changes

    def _early_seconds(self, result: Result) -> float:
        """Returns how long it takes until a result is due; 0 if it is."""
        media_seconds, now_seconds = result.frame.time_seconds, time.monotonic()
        if not self._is_paced or self._controls.playback.is_jumping:
            return 0.0
        if self._offset_seconds is None:
            self._offset_seconds = media_seconds - now_seconds
        early_seconds = media_seconds - self._offset_seconds - now_seconds
        if early_seconds < -_LATE_SECONDS:
            # Continue at normal speed: catching up would look like fast forward.
            self._offset_seconds = media_seconds - now_seconds
        return max(early_seconds, 0.0)

    def hold(self) -> bool:
        """Shows the last picture; returns False once the user closes it, or if there is none."""
        return self._shown is not None and self._show_still(self._shown, _ENDING_ACTIONS)

    def _show_still(self, shown: Result, ending_actions: Iterable[Action] = (Action.QUIT,)) -> bool:
        if self._refresher is None:
            self._refresher = _Refresher(self._pipeline, self._feed, self._controls, self._changes_before)
        self._shown = self._refresher.refresh(shown)
        self._show()
        return self._apply(self._viewer.poll(POLL_SECONDS), ending_actions)

    def _apply(self, commands: Iterable[Command], ending_actions: Iterable[Action] = (Action.QUIT,)) -> bool:
        for command in commands:
            if command.action in ending_actions:
                return False
            if self._shown is not None:
                self._controls.apply(command, self._shown)
        self._controls.poll()
        return True

    def _show_preview(self) -> None:
        preview = self._feed.preview
        if preview is not None and (preview is not self._shown_preview or self._viewer.has_other_size()):
            self._viewer.show(preview.image, Status(message="preparing the model"))
            self._shown_preview = preview

    def _show_offline_card(self) -> None:
        """Shows over the last picture for how long the source has been offline."""
        outage = self._feed.source.outage
        preview = None if self._shown_preview is None else self._shown_preview.image
        last_image = preview if self._shown is None else self._shown.image_without_caption
        if outage is None or last_image is None:
            return
        status = self._offline_status(time.monotonic() - outage.since_seconds)
        if status != self._offline_status_shown or self._viewer.has_other_size():
            self._viewer.show(offline_image(last_image), status)
            self._offline_status_shown = status
            self._on_viewer = None

    def _offline_status(self, seconds: float) -> Status:
        """Returns what is true without a frame: neither classes nor figures."""
        return Status(
            message=offline_message(seconds),
            message_note=f"reconnecting to {self._feed.source.name}",
            **self._state_of_controls(),
        )

    def _state_of_controls(self, resting_notice: str = "") -> dict[str, Any]:
        controls = self._controls
        seconds = controls.recorder.seconds
        return {
            "recording_seconds": None if seconds is None else int(seconds),
            "notice": controls.notice or resting_notice,
            "help_groups": HELP_GROUPS if controls.state.has_help else (),
        }

    def _show(self) -> None:
        """Shows the picture unless it is on the screen already."""
        shown = self._shown
        if shown is None:
            return
        status = self._status(shown)
        if (shown, status) != self._on_viewer or self._viewer.has_other_size():
            self._viewer.show(shown.image_without_caption, status)
            self._on_viewer = shown, status

    def _status(self, shown: Result) -> Status:
        controls, settings = self._controls, self._feed.renderer.settings
        is_behind = shown.explained_frame is not shown.frame
        return Status(
            # The grid has the classes on it.
            explanation=None if settings.view == "grid" else shown.drawn_explanation,
            heatmap_age_ms=1e3 * shown.heatmap_age_seconds if is_behind else None,
            view=settings.view,
            colormap="" if settings.view == "original" else settings.colormap,
            is_frozen=controls.state.is_frozen,
            position=controls.playback.position(shown),
            spot=controls.spot(shown),
            detail=controls.state.detail,
            **self._state_of_controls("end: space plays it again" if controls.playback.is_at_end(shown) else ""),
            **self._recent_figures(),
        )

    def _recent_figures(self) -> dict[str, Any]:
        now_seconds = time.monotonic()
        if now_seconds - self._figures_seconds >= _FIGURES_SECONDS and self._refresher is None:
            self._figures_seconds = now_seconds
            stats, explainer = self._feed.stats, self._pipeline.explainer
            self._figures = {
                "fps": stats.recent_fps,
                # Of a file it is only the time in our own queues.
                "latency_ms": stats.recent_latency_ms if self._feed.source.is_live else None,
                "dropped_count": stats.frames_dropped,
                "reconnect_count": stats.reconnects,
                "stage_ms": stats.stage_medians_ms() if self._controls.state.detail == "all" else {},
            }
            if explainer is not None:
                self._viewer.set_title(title_of(self._feed.source.name, explainer))
                self._figures |= {
                    "engine": engine_title(explainer),
                    "method": explainer.method,
                    "layer": explainer.layer,
                }
        return self._figures


def title_of(source_name: str, explainer: Explainer) -> str:
    """Returns ``"clip.mp4 – MobileNetV2 – Grad-CAM"``: a file without its folder, names as their authors write them."""
    source = source_name if "://" in source_name else Path(source_name).name
    model = find_spec(explainer.model_name).title if is_known(explainer.model_name) else explainer.model_name
    return f"{source} – {model} – {METHOD_TITLES.get(explainer.method, explainer.method)}"


class _Refresher:
    """Explains and draws one result again whenever the user changes something, in a thread of its own.

    Args:
        pipeline: Explains.
        feed: Draws.
        controls: Count the changes.
        done: The changes that the result may already show.
    """

    def __init__(self, pipeline: Pipeline, feed: Feed, controls: Controls, done: tuple[int, int]) -> None:
        self._pipeline, self._feed, self._controls = pipeline, feed, controls
        self._done = done
        self._pending: tuple[tuple[int, int], Future[Result]] | None = None

    def refresh(self, shown: Result) -> Result:
        """Returns the result as it is to be shown now; starts the work that is still missing."""
        if self._pending is not None and self._pending[1].done():
            self._done, future = self._pending
            self._pending = None
            shown = future.result()
        changes = self._controls.state.changes
        if self._pending is None and changes != self._done:
            explains = changes[0] != self._done[0]
            self._pending = changes, started(lambda: self._again(shown, explains))
        return shown

    def _again(self, shown: Result, explains: bool) -> Result:
        result = self._pipeline.explain_again(self._feed, shown) if explains else self._feed.redraw(shown)
        _ = result.image_without_caption  # drawn here, not in the viewer's thread
        return result
