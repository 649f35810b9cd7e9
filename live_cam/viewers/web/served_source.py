"""A source on the page: how it is explained, what it shows, and what its viewers change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from live_cam.errors import SettingError, unknown_name
from live_cam.gradmodel.cam_methods import METHODS_WITHOUT_CONTRAST
from live_cam.models.registry import find_spec, is_known
from live_cam.pipeline.feed import Subscription, target_index
from live_cam.predictions import NO_CLASS
from live_cam.viewers.web.broadcast import Broadcast
from live_cam.viewers.web.messages import finite, frame_message, jpeg_of, prediction_json

if TYPE_CHECKING:
    import numpy as np

    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Result
    from live_cam.pipeline.feed import Feed
    from live_cam.sources.push import PushSource

_SETTINGS = ("target", "contrast", "smooth_seconds")
# "given": the command line's.
_CONTRASTS = ("none", "second", "similar", "given")
_LONGEST_SMOOTH_SECONDS = 10.0


class ServedSource:
    """A source on the page.

    Args:
        source_id: What programs and the page call it.
        feed: Explains it.
        blend: How pages draw its heat.

    Attributes:
        id: What programs and the page call it.
        name: What the user calls it.
        feed: Explains it.
        live: Its frames as JPEG with maps, for pages.
        annotated: Its annotated frames as JPEG, for programs.
    """

    def __init__(self, source_id: str, name: str, feed: Feed, blend: str) -> None:
        self.id, self.name, self.feed = source_id, name, feed
        self.live = Broadcast(feed, lambda result, number: frame_message(result, self._facts(result, number), blend))
        self.annotated = Broadcast(feed, lambda result, number: jpeg_of(result.image)[0])

    def change(self, changes: Mapping[str, Any], explainer: Explainer) -> None:
        """Changes the class ("target"), the contrast, and the smoothing ("smooth_seconds") of the source for everyone.

        Raises:
            SettingError: A name or value is invalid; nothing was changed.
        """
        temporal = self.feed.temporal
        unknown = set(changes) - set(_SETTINGS)
        if unknown:
            raise unknown_name("setting", min(unknown), _SETTINGS)
        target = changes.get("target")
        if not isinstance(target, int | str | None) or isinstance(target, bool):
            raise SettingError("target must be a class index, a label, or null for the top class")
        class_index = target_index(explainer, target)
        contrast = changes.get("contrast", "none")
        if contrast not in _CONTRASTS:
            raise unknown_name("contrast", contrast, _CONTRASTS)
        if contrast in ("second", "similar") and explainer.method in METHODS_WITHOUT_CONTRAST:
            raise SettingError(f"{explainer.method} has no contrast; choose another method for it")
        if contrast == "similar" and not explainer.has_classes:
            raise SettingError("the model returns numbers, which have no similar classes; choose another contrast")
        smooth = changes.get("smooth_seconds", 0)
        if (
            isinstance(smooth, bool)
            or not isinstance(smooth, int | float)
            or not 0 <= smooth <= _LONGEST_SMOOTH_SECONDS
        ):
            raise SettingError(f"smooth_seconds must be a number from 0 to {_LONGEST_SMOOTH_SECONDS:g}")
        if "target" in changes:
            self.feed.release_target()
            if class_index is None:
                temporal.classes.release()
            else:
                temporal.classes.choose(class_index)
        if "contrast" in changes:
            temporal.contrast.set_mode(contrast)
            temporal.reset()
        if "smooth_seconds" in changes:
            temporal.smooth_seconds = float(smooth)

    def status(self, explainer: Explainer | None) -> dict[str, Any]:
        """Returns its state for programs and the page."""
        feed, result = self.feed, self.feed.last_result
        source, stats, outage = feed.source, feed.stats, feed.source.outage
        classes = feed.temporal.classes.state
        target = classes.class_index if classes.is_fixed else None
        explanation = None if result is None else result.explanation
        predictions = () if explanation is None else explanation.predictions
        problem = str(feed.errors[0]) if feed.errors else outage.problem if outage is not None else ""
        return {
            "id": self.id,
            "name": self.name,
            "state": self._state(result),
            "problem": problem,
            "offline_seconds": None if outage is None else round(time.monotonic() - outage.since_seconds),
            "size_wh": list(source.size_wh),
            **explainer_json(explainer),
            "predictions": [prediction_json(prediction) for prediction in predictions],
            "explained": None if explanation is None else prediction_json(explanation.explained),
            "fps": finite(stats.recent_fps, 1),
            "latency_ms": finite(self.latency_ms, 1),
            "drops": stats.frames_dropped,
            "reconnects": source.reconnects,
            "viewers": self.live.watcher_count + self.annotated.watcher_count,
            "settings": {
                "target": target,
                "target_label": None if target is None or explainer is None else explainer.label(target),
                "contrast": self._contrast(explainer),
                "smooth_seconds": feed.temporal.smooth_seconds,
            },
        }

    @property
    def latency_ms(self) -> float | None:
        """Time from the capture of the last explained frame to its result; None before the first."""
        result, latency_ms = self.feed.last_result, self.feed.stats.recent_latency_ms
        return None if result is None or latency_ms is None else latency_ms + 1e3 * result.heatmap_age_seconds

    def _contrast(self, explainer: Explainer | None) -> str:
        mode = self.feed.temporal.contrast.mode
        has_given = explainer is not None and explainer.contrast_index != NO_CLASS
        return "none" if mode == "given" and not has_given else mode

    def _state(self, result: Result | None) -> str:
        if not self.feed.is_running:
            return "ended"
        if self.feed.source.outage is not None:
            return "offline"
        return "preparing" if result is None else "live"

    def _facts(self, result: Result, number: int) -> dict[str, Any]:
        stats = self.feed.stats
        return {
            "source": self.id,
            "number": number,
            "fps": finite(stats.recent_fps, 1),
            "latency_ms": finite(self.latency_ms, 1),
            "drops": stats.frames_dropped,
            "reconnects": self.feed.source.reconnects,
            "heat_age_ms": round(1e3 * (time.monotonic() - result.explained_frame.captured_seconds)),
        }


class VisitorCamera(ServedSource):
    """A visitor's camera, whose images are posted; with a class, a contrast and a smoothing of its own.

    Args:
        camera_id: Known to its visitor only.
        source: Where its images are pushed.
        feed: Explains them.
        blend: How its page draws the heat.

    Attributes:
        used_seconds: When an image was last posted or explained, on the monotonic clock.
        has_ended: Whether no more of its images are explained.
    """

    def __init__(self, camera_id: str, source: PushSource, feed: Feed, blend: str) -> None:
        super().__init__(camera_id, source.name, feed, blend)
        self.used_seconds = time.monotonic()
        self._source = source
        self._waiting: list[tuple[int, asyncio.Future[Result], asyncio.AbstractEventLoop]] = []
        self.has_ended = False
        self._lock = threading.Lock()
        feed.subscribe(Subscription(self))

    async def explain(self, image: np.ndarray) -> Result:
        """Returns the result for an image, or for a newer one. Call it in an event loop.

        Raises:
            asyncio.CancelledError: The camera was closed.
        """
        self.used_seconds = time.monotonic()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        with self._lock:
            if self.has_ended:
                raise asyncio.CancelledError
            waiting = (self._source.push(image), future, loop)
            self._waiting.append(waiting)
        try:
            return await future
        finally:
            with self._lock:
                self._waiting = [other for other in self._waiting if other is not waiting]

    def put(self, result: Result) -> bool:
        """Hands the result to who waits for it. For the feed's thread."""
        self.used_seconds = time.monotonic()
        with self._lock:
            done = [waiting for waiting in self._waiting if waiting[0] <= result.explained_frame.index]
            self._waiting = [waiting for waiting in self._waiting if waiting not in done]
        for _, future, loop in done:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, result)
        return True

    def close(self) -> None:
        """Ends the waiting: no more results come. Called by the feed at its end."""
        with self._lock:
            self.has_ended = True
            waiting, self._waiting = self._waiting, []
        for _, future, loop in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(future.cancel)

    cancel = close


def explainer_json(explainer: Explainer | None) -> dict[str, Any]:
    """Returns the title of the model, and what is in use to explain it; all None before the model is ready."""
    if explainer is None:
        return dict.fromkeys(("model", "method", "layer", "engine", "precision"))
    name = explainer.model_name
    return {
        "model": find_spec(name).title if is_known(name) else name,
        "method": explainer.method,
        "layer": explainer.layer,
        "engine": explainer.engine_name,
        "precision": explainer.precision,
    }


def _settle(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
