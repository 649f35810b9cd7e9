"""Holds everything that a server shows: its sources, its visitors' cameras, and the one explainer of all."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from live_cam.errors import SettingError, unknown_name
from live_cam.gradmodel.cam_methods import CAM_METHODS, METHOD_TITLES, METHODS_WITHOUT_CONTRAST
from live_cam.pipeline.feed import Feed
from live_cam.render.colormaps import COLORMAPS
from live_cam.settings import FeedSettings
from live_cam.sources.push import PushSource
from live_cam.viewers.background import started
from live_cam.viewers.explainer_switch import ExplainerSwitch, MethodAndLayer
from live_cam.viewers.web.served_source import ServedSource, VisitorCamera, explainer_json

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.pipeline.pipeline import Pipeline
    from live_cam.sources.protocol import Source

MAX_CAMERAS = 8
_IDLE_CAMERA_SECONDS = 10.0


class Hub:
    """The sources of a server. May be used from any thread.

    Args:
        pipeline: Explains all sources.
        switch: Loads other methods and layers.
        settings: How the sources are explained and drawn.

    Attributes:
        pipeline: Explains all sources.
        settings: How the sources are explained and drawn.
        message: What is being done while the model is prepared.
        viewer_count: How many pages are open.
    """

    def __init__(self, pipeline: Pipeline, switch: ExplainerSwitch, settings: FeedSettings) -> None:
        self.pipeline, self.settings = pipeline, settings
        self.message = ""
        self.viewer_count = 0
        self._switch = switch
        self._error = ""
        self._sources: dict[str, ServedSource] = {}
        self._cameras: dict[str, VisitorCamera] = {}
        self._lock = threading.RLock()

    @property
    def explainer(self) -> Explainer | None:
        """The explainer in use; None until it is ready."""
        return self.pipeline.explainer

    @property
    def sources(self) -> list[ServedSource]:
        """All sources that every viewer sees."""
        with self._lock:
            return list(self._sources.values())

    def add(self, name: str, source: Source) -> None:
        """Shows a live source from now on."""
        with self._lock:
            stem = re.sub(r"\W+", "-", name.casefold()).strip("-") or "source"
            names = (stem, *(f"{stem}-{number}" for number in range(2, len(self._sources) + 2)))
            source_id = next(name for name in names if name not in self._sources)
            feed = Feed(source, self.settings)
            self._sources[source_id] = ServedSource(source_id, name, feed, self.settings.render.blend)
        self.pipeline.add(feed)

    def add_camera(self) -> VisitorCamera:
        """Adds a visitor's camera.

        Raises:
            OverflowError: There are too many.
        """
        with self._lock:
            if len(self._cameras) >= MAX_CAMERAS:
                raise OverflowError(f"{MAX_CAMERAS} visitors use their cameras already; try again later")
            source = PushSource("your camera", (0, 0))
            feed = Feed(source, self.settings)
            camera = VisitorCamera(secrets.token_urlsafe(16), source, feed, self.settings.render.blend)
            self._cameras[camera.id] = camera
        self.pipeline.add(feed)
        return camera

    def remove_camera(self, camera_id: str) -> None:
        """Ends a visitor's camera; does nothing if there is no such camera."""
        with self._lock:
            camera = self._cameras.pop(camera_id, None)
        if camera is not None:
            started(lambda: self.pipeline.remove(camera.feed))

    def camera(self, camera_id: str) -> VisitorCamera | None:
        """Returns a visitor's camera; None if there is no such camera."""
        with self._lock:
            return self._cameras.get(camera_id)

    def source(self, source_id: str) -> ServedSource | None:
        """Returns a source or a visitor's camera by its id; None if there is no such source."""
        with self._lock:
            return self._sources.get(source_id) or self._cameras.get(source_id)

    def change_explainer(self, changes: Mapping[str, Any]) -> None:
        """Prepares another "method" or "layer" for all sources; the one in use stays until then.

        Raises:
            SettingError: There is no such method or layer, or the model is not ready.
        """
        explainer = self.explainer
        if explainer is None:
            raise SettingError("the model is being prepared; try again when it is ready")
        unknown = set(changes) - {"method", "layer"}
        if unknown:
            raise unknown_name("setting", min(unknown), ("method", "layer"))
        wanted = self._switch.pending or MethodAndLayer(explainer.method, explainer.layer)
        method, layer = changes.get("method", wanted.method), changes.get("layer", wanted.layer)
        # The command line's may be one that the page does not offer.
        if method not in (wanted.method, *CAM_METHODS):
            raise unknown_name("method", method, CAM_METHODS)
        if layer not in (explainer.layer, wanted.layer, *explainer.layer_choices):
            raise unknown_name("layer", layer, explainer.layer_choices)
        with self._lock:
            self._error = ""
            self._switch.ask_for(MethodAndLayer(method, layer))

    def tick(self) -> None:
        """Installs an explainer that finished loading, and removes idle and failed cameras; is called all the time."""
        with self._lock:
            message = self._switch.poll()
            if message is not None:
                self._error = message if self._switch.has_failed else ""
            oldest_seconds = time.monotonic() - _IDLE_CAMERA_SECONDS
            gone = [
                camera.id
                for camera in self._cameras.values()
                if camera.used_seconds < oldest_seconds or camera.has_ended
            ]
        for camera_id in gone:
            self.remove_camera(camera_id)

    def status(self) -> dict[str, Any]:
        """Returns the state of everything for programs and the page."""
        explainer, look = self.explainer, self.settings.render
        pending = self._switch.pending
        preparing = None
        if pending is not None:
            seconds = int(self._switch.waited_seconds)
            preparing = {"method": pending.method, "layer": pending.layer, "seconds": seconds}
        return {
            "state": "preparing" if explainer is None else "ready",
            "message": self.message if explainer is None else "",
            **explainer_json(explainer),
            "engine_reason": None if explainer is None else explainer.engine_reason,
            "methods": [
                {"name": name, "title": METHOD_TITLES[name], "has_contrast": name not in METHODS_WITHOUT_CONTRAST}
                for name in CAM_METHODS
            ],
            "layers": [] if explainer is None else list(explainer.layer_choices),
            "preparing": preparing,
            "error": self._error,
            "input_size_wh": None if explainer is None else list(explainer.input_size_wh),
            "fit": None if explainer is None else explainer.fit,
            "class_count": None if explainer is None else len(explainer.labels),
            "look": {
                "colormap": look.colormap,
                "opacity": look.opacity,
                "blend": look.blend,
                "view": look.view,
                "mirror": look.mirror,
            },
            "colormaps": list(COLORMAPS),
            "viewers": self.viewer_count,
            "sources": [source.status(explainer) for source in self.sources],
        }
