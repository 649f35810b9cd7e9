"""The routes of the server: the page, and the interface for programs.

Whoever gets here was let in by the guard, which also limits sizes and rates.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from live_cam.errors import LiveCamError, SettingError, SourceError
from live_cam.explain.explainer import SIMILAR
from live_cam.frame import Explanation
from live_cam.pipeline.stats import peak_rss_mb
from live_cam.predictions import NO_CLASS, SIMILAR_CLASSES
from live_cam.render.colormaps import COLORMAPS, colormap_lut, heat_lut
from live_cam.render.overlay import VISIBLE_HEAT
from live_cam.sources.image import decode_image, header_size_wh
from live_cam.viewers.web.hub import Hub
from live_cam.viewers.web.json_response import JSONResponse
from live_cam.viewers.web.live import LivePage
from live_cam.viewers.web.messages import cells_of, explanation_json, finite, jpeg_of
from live_cam.viewers.web.served_source import ServedSource, VisitorCamera

_PAGE = Path(__file__).parent / "page"
# Nobody needs more for a network of 224 or 600 pixels, and a bomb of 60000x60000 would fill the memory.
_MOST_PIXELS = 25_000_000
MAX_VIEWERS = 32
_MAX_CLASSES = 10
_MOST_CAMERA_PIXELS = 2_500_000
# Posted images must not starve the cameras.
_POSTS_AT_ONCE = 2
_PATIENCE_SECONDS = 15.0
_BOUNDARY = "livecam-frame"


class Routes:
    """Answers requests.

    Args:
        hub: What the server shows.
        on_error: Called with a line about a bug, which the client sees as status 500.
    """

    def __init__(self, hub: Hub, on_error: Callable[[str], None]) -> None:
        self._hub, self._on_error = hub, on_error
        self._posts = asyncio.Semaphore(_POSTS_AT_ONCE)

    def app(self) -> Starlette:
        """Returns the application, without its guard."""
        return Starlette(
            routes=[
                Route("/", self._page),
                Route("/page/{name}", self._page_file),
                Route("/healthz", self._health),
                Route("/metrics", self._metrics),
                Route("/api/status", self._status),
                Route("/api/settings", self._change_explainer, methods=["POST"]),
                Route("/api/labels", self._labels),
                Route("/api/colormaps", self._colormaps),
                Route("/api/explain", self._explain, methods=["POST"]),
                Route("/api/cameras", self._add_camera, methods=["POST"]),
                Route("/api/cameras/{id}", self._remove_camera, methods=["DELETE"]),
                Route("/api/sources", self._sources),
                Route("/api/sources/{id}", self._source),
                Route("/api/sources/{id}/frame.jpg", self._frame),
                Route("/api/sources/{id}/stream.mjpg", self._stream),
                Route("/api/sources/{id}/settings", self._change_source, methods=["POST"]),
                WebSocketRoute("/api/live", self._live),
            ],
            exception_handlers={HTTPException: _refused, LiveCamError: _invalid, Exception: self._failed},  # type: ignore[dict-item]
        )

    # The page.

    async def _page(self, request: Request) -> Response:
        return FileResponse(_PAGE / "index.html")

    async def _page_file(self, request: Request) -> Response:
        # The names in the folder, not the folder joined with what a client sends.
        files = {path.name: path for path in _PAGE.iterdir()}
        path = files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404, "the page has no such file")
        return FileResponse(path)

    async def _live(self, websocket: WebSocket) -> None:
        if self._hub.viewer_count >= MAX_VIEWERS:
            await websocket.send_denial_response(
                JSONResponse({"error": f"{MAX_VIEWERS} pages are open already; close one, or try again later"}, 503)
            )
            return
        self._hub.viewer_count += 1
        try:
            await LivePage(websocket, self._hub).serve()
        finally:
            self._hub.viewer_count -= 1

    # State and settings.

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _status(self, request: Request) -> Response:
        return JSONResponse(self._hub.status())

    async def _sources(self, request: Request) -> Response:
        return JSONResponse([source.status(self._hub.explainer) for source in self._hub.sources])

    async def _source(self, request: Request) -> Response:
        return JSONResponse(self._source_of(request).status(self._hub.explainer))

    async def _change_source(self, request: Request) -> Response:
        source = self._source_of(request)
        explainer = self._hub.explainer
        if explainer is None:
            raise _not_ready()
        source.change(await _json_object(request), explainer)
        return JSONResponse(source.status(explainer))

    async def _change_explainer(self, request: Request) -> Response:
        if self._hub.explainer is None:
            raise _not_ready()
        self._hub.change_explainer(await _json_object(request))
        return JSONResponse(self._hub.status())

    async def _labels(self, request: Request) -> Response:
        explainer = self._hub.explainer
        if explainer is None:
            raise _not_ready()
        return JSONResponse(list(explainer.labels))

    async def _colormaps(self, request: Request) -> Response:
        colormaps = {
            name: {"heat": _rgb_base64(np.rint(heat_lut(name))), "full": _rgb_base64(colormap_lut(name))}
            for name in COLORMAPS
        }
        return JSONResponse({"colormaps": colormaps, "visible_heat": VISIBLE_HEAT})

    async def _metrics(self, request: Request) -> Response:
        return PlainTextResponse(metrics_text(self._hub), media_type="text/plain; version=0.0.4")

    # Pictures.

    async def _frame(self, request: Request) -> Response:
        feed = self._source_of(request).feed
        result = feed.last_result
        if result is None and not feed.is_running:
            raise HTTPException(404, "the source ended before a frame was explained")
        if result is None:
            raise HTTPException(503, "no frame has been explained yet; try again in a moment", {"Retry-After": "1"})
        jpeg, _ = await run_in_threadpool(lambda: jpeg_of(result.image))
        return Response(jpeg, media_type="image/jpeg")

    async def _stream(self, request: Request) -> Response:
        source = self._source_of(request)
        if sum(source.annotated.watcher_count for source in self._hub.sources) >= MAX_VIEWERS:
            raise HTTPException(503, f"{MAX_VIEWERS} streams are watched already; close one, or try again later")
        return StreamingResponse(_parts_of(source), media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")

    # Images that are posted.

    async def _add_camera(self, request: Request) -> Response:
        if self._hub.explainer is None:
            raise _not_ready()
        try:
            return JSONResponse({"id": self._hub.add_camera().id})
        except OverflowError as error:
            raise HTTPException(429, str(error), {"Retry-After": "10"}) from None

    async def _remove_camera(self, request: Request) -> Response:
        self._hub.remove_camera(request.path_params["id"])
        return Response(status_code=204)

    async def _explain(self, request: Request) -> Response:
        if self._hub.explainer is None:
            raise _not_ready()
        started_seconds = time.monotonic()
        camera_id = request.query_params.get("camera")
        camera = None if camera_id is None else self._hub.camera(camera_id)
        if camera_id is not None and camera is None:
            raise HTTPException(404, "this camera was idle for too long and is gone; start it again")
        body = await request.body()
        if camera is None:
            async with self._posts:
                image = await _decoded(body, _MOST_PIXELS)
                explanation, scale = await self._explained(image, request.query_params), None
        else:
            image = await _decoded(body, _MOST_CAMERA_PIXELS)
            explanation, scale = await _explained_by(camera, image)
        cells = cells_of(explanation, scale, self._hub.settings.render.blend)
        return JSONResponse(
            {
                "width": image.shape[1],
                "height": image.shape[0],
                "explain_ms": finite(1e3 * (time.monotonic() - started_seconds), 1),
                "explanation": {
                    **explanation_json(explanation),
                    "coefficients": [np.round(plane, 5).ravel().tolist() for plane in cells],
                    "heatmap": _rounded(explanation.heatmap),
                },
            }
        )

    async def _explained(self, image: np.ndarray, query: Mapping[str, str]) -> Explanation:
        """Explains an image on its own, for the classes and the contrast of the query."""
        explainer = self._hub.explainer
        if explainer is None:
            raise _not_ready()
        indices: Sequence[int | None]
        if "classes" in query:
            indices = [explainer.class_index(name) for name in query["classes"].split(",")][:_MAX_CLASSES]
        else:
            target = query.get("target")
            indices = [None if target is None else explainer.class_index(target)]
        contrast = query.get("contrast", "none")
        special = {"none": NO_CLASS, SIMILAR: SIMILAR_CLASSES, "given": explainer.contrast_index}
        contrast_index = special[contrast] if contrast in special else explainer.class_index(contrast)
        if contrast == "given" and contrast_index in indices:  # A class is not contrasted with itself.
            contrast_index = NO_CLASS
        if contrast_index in indices:
            label = explainer.label(contrast_index)
            raise SettingError(f"the class and its contrast are both {label}; give two different classes")
        return await run_in_threadpool(self._hub.pipeline.explain_classes, image, indices, contrast_index)

    def _source_of(self, request: Request) -> ServedSource:
        source = self._hub.source(request.path_params["id"])
        if source is None:
            known = ", ".join(source.id for source in self._hub.sources) or "none"
            raise HTTPException(404, f"there is no such source; there are: {known}")
        return source

    async def _failed(self, request: Request, error: Exception) -> Response:
        self._on_error(f"{request.method} {request.url.path} failed: {type(error).__name__}: {error}")
        return JSONResponse({"error": "livecam failed here; its terminal says why"}, 500)


async def _decoded(body: bytes, most_pixels: int) -> np.ndarray:
    size_wh = header_size_wh(body)
    if size_wh is None:
        raise SourceError("the body must be a JPEG or PNG image")
    if size_wh[0] * size_wh[1] > most_pixels:
        width, height = size_wh
        limit = f"{most_pixels / 1e6:g} million pixels"
        raise HTTPException(413, f"{width}x{height} is too large an image; post at most {limit}")
    return await run_in_threadpool(decode_image, body, "the posted image")


async def _explained_by(camera: VisitorCamera, image: np.ndarray) -> tuple[Explanation, float | None]:
    try:
        result = await asyncio.wait_for(camera.explain(image), _PATIENCE_SECONDS)
    except (asyncio.TimeoutError, asyncio.CancelledError):
        raise HTTPException(503, "the image was not explained in time; try again", {"Retry-After": "1"}) from None
    return result.drawn_explanation, result.scale


async def _parts_of(source: ServedSource) -> AsyncIterator[bytes]:
    """Yields the parts of an MJPEG stream, always the newest, until the source ends."""
    broadcast, changed, sent = source.annotated, asyncio.Event(), 0
    with broadcast.watched(changed.set):
        while True:
            number, jpeg = broadcast.newest
            if number > sent:
                sent = number
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                yield head.encode() + jpeg + b"\r\n"
            elif broadcast.has_ended:
                return
            else:
                await changed.wait()
            changed.clear()


def metrics_text(hub: Hub) -> str:
    """Returns the counters of all sources in Prometheus's text format."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for source in hub.sources:
        stats = source.feed.stats
        label = source.id
        for name, kind, help_text, value in (
            ("frames_read_total", "counter", "Frames taken from the source.", stats.frames_read),
            ("frames_explained_total", "counter", "Frames explained by the network.", stats.frames_explained),
            ("frames_dropped_total", "counter", "Frames replaced by newer ones.", stats.frames_dropped),
            ("reconnects_total", "counter", "Times the source came back.", source.feed.source.reconnects),
            ("source_up", "gauge", "1 while the source gives frames.", int(source.feed.source.outage is None)),
            ("explained_fps", "gauge", "Explained frames per second, recently.", stats.recent_fps or 0),
            ("latency_seconds", "gauge", "From capture to result.", (source.latency_ms or 0) / 1e3),
        ):
            rows.setdefault((name, kind, help_text), []).append(f'livecam_{name}{{source="{label}"}} {value:.12g}')
    rows["viewers", "gauge", "Open pages."] = [f"livecam_viewers {hub.viewer_count}"]
    rows["peak_memory_bytes", "gauge", "Most memory ever held."] = [
        f"livecam_peak_memory_bytes {1e6 * (peak_rss_mb() or 0):.0f}"
    ]
    lines = []
    for (name, kind, help_text), values in rows.items():
        lines += [f"# HELP livecam_{name} {help_text}", f"# TYPE livecam_{name} {kind}", *values]
    return "\n".join(lines) + "\n"


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        value = await request.json()
    except ValueError:
        raise SettingError("the body must be JSON") from None
    if not isinstance(value, dict):
        raise SettingError('the body must be a JSON object, such as {"contrast": "none"}')
    return value


def _not_ready() -> HTTPException:
    return HTTPException(503, "the model is being prepared; try again in a moment", {"Retry-After": "2"})


async def _refused(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _invalid(request: Request, error: LiveCamError) -> Response:
    return JSONResponse({"error": str(error)}, 415 if isinstance(error, SourceError) else 400)


def _rgb_base64(colors_bgr: np.ndarray) -> str:
    return base64.b64encode(colors_bgr[:, ::-1].astype(np.uint8).tobytes()).decode()


def _rounded(heatmap: np.ndarray) -> list[list[float | None]]:
    return [[finite(float(value)) for value in row] for row in heatmap]
