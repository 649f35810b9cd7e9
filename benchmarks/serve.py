"""Measures ``livecam serve``: how old what is painted is, what viewers cost, many cameras, faulty ones, a long run.

The server runs in this process, with cameras that give images from memory; browsers and other clients run beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import conditions, demo_images, markdown_table, write_section
from soak import Usage, usage

from live_cam import load_explainer
from live_cam.errors import SourceError
from live_cam.explain.explainer import Explainer
from live_cam.frame import Frame
from live_cam.pipeline.pipeline import Pipeline
from live_cam.settings import FeedSettings
from live_cam.sources.live import LiveSource
from live_cam.sources.protocol import Source
from live_cam.viewers.explainer_switch import ExplainerSwitch
from live_cam.viewers.web.hub import Hub
from live_cam.viewers.web.server import WebServer

_TOKEN = "token-of-the-benchmark"
_CHROMIUM = "/usr/bin/chromium"
_BROWSER_FLAGS = ["--no-sandbox", "--disable-background-networking", "--use-fake-ui-for-media-stream"]
_CAMERA_FPS = 30

# Notes in the page when each frame that was painted had been captured, and when it was painted.
_NOTE_PAINTED = """
const Native = WebSocket, captured = new Map();
window.painted = [];
window.WebSocket = class extends Native {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      if (typeof data === "string") return;
      const length = new DataView(data).getUint32(0, true);
      const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      captured.set(facts.number, facts.time_seconds);
    });
  }
  send(text) {
    const message = JSON.parse(text);
    if (message.type === "painted")
      painted.push([captured.get(message.number), (performance.timeOrigin + performance.now()) / 1000]);
    super.send(text);
  }
};
"""
# Notes when the page grabs a frame of its camera, and when the canvas is drawn for the first time after the answer.
_NOTE_CAMERA = """
window.ages = [];
let grabbed = 0, answered = 0;
const encode = OffscreenCanvas.prototype.convertToBlob;
OffscreenCanvas.prototype.convertToBlob = function (...given) {
  grabbed = performance.now();
  return encode.apply(this, given);
};
const get = window.fetch;
window.fetch = async (...given) => {
  const grabbedAt = grabbed, answer = await get(...given);
  if (String(given[0]).includes("/api/explain?camera=") && answer.ok) answered = grabbedAt;
  return answer;
};
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {
  if (answered && this.canvas instanceof HTMLCanvasElement && this.canvas.isConnected) {
    ages.push(performance.now() - answered);
    answered = 0;
  }
  return draw.apply(this, given);
};
"""
# A viewer without a browser: paints at once.
_CLIENT = """
import json, struct, sys, time
from websockets.sync.client import connect
port, seconds, *sources = sys.argv[1:]
headers = {"Authorization": "Bearer TOKEN"}
end = time.monotonic() + float(seconds)
with connect(f"ws://127.0.0.1:{port}/api/live", additional_headers=headers, origin=f"http://127.0.0.1:{port}",
             compression=None, max_size=None) as page:
    page.send(json.dumps({"type": "watch", "sources": sources}))
    while time.monotonic() < end:
        try:
            message = page.recv(timeout=1)
        except TimeoutError:
            continue
        if isinstance(message, bytes):
            facts = json.loads(message[4 : 4 + struct.unpack_from("<I", message)[0]])
            page.send(json.dumps({"type": "painted", "source": facts["source"], "number": facts["number"]}))
""".replace("TOKEN", _TOKEN)


class MemoryCamera(Source):
    """Gives images from memory at a constant rate, as a camera does.

    Args:
        images: (height, width, 3) uint8, BGR, all of one size.
        fps: Images per second.
    """

    name, is_live = "memory", True

    def __init__(self, images: Sequence[np.ndarray], fps: float) -> None:
        self._images, self._interval_seconds = images, 1 / fps
        self.size_wh = (images[0].shape[1], images[0].shape[0])
        self._index = 0
        self._started_seconds = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        """Returns the next image when it is due; None after ``close``."""
        due_seconds = self._started_seconds + self._index * self._interval_seconds
        if self._closed.wait(max(0.0, due_seconds - time.monotonic())):
            return None
        self._index += 1
        return Frame(self._images[self._index % len(self._images)], self._index - 1, time.monotonic())

    def close(self) -> None:
        """Ends it."""
        self._closed.set()


class FlappingCamera(MemoryCamera):
    """A camera that is lost after three seconds."""

    def read(self) -> Frame | None:
        """Returns the next image; None after three seconds."""
        return None if self._index * self._interval_seconds > 3 else super().read()


@contextmanager
def served(explainer: Explainer, sources: Sequence[Source]) -> Iterator[tuple[Hub, WebServer]]:
    """Serves sources until the block ends."""
    pipeline = Pipeline(lambda frame: explainer)
    pipeline.use(explainer)
    hub = Hub(pipeline, ExplainerSwitch(pipeline, lambda choice: explainer), FeedSettings())
    server = WebServer(hub, "127.0.0.1", 0, token=_TOKEN, on_error=print)
    try:
        for number, source in enumerate(sources):
            hub.add(f"camera {number}", source)
        server.start()
        yield hub, server
    finally:
        server.close()
        pipeline.close()


@contextmanager
def opened_page(server: WebServer, script: str, *flags: str) -> Iterator[Any]:
    """Opens the page in Chromium, with a script that runs before its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=[*_BROWSER_FLAGS, *flags])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.add_init_script(script)
        page.goto(server.address)
        yield page
        browser.close()


def painted_ages_ms(explainer: Explainer, seconds: float) -> list[float]:
    """Returns the age of each painted frame of a camera with 30 images a second: from its capture to its pixels."""
    camera = MemoryCamera(demo_images((640, 480), 64), _CAMERA_FPS)
    with served(explainer, [camera]) as (_, server), opened_page(server, _NOTE_PAINTED) as page:
        painted = _noted(page, "window.painted", seconds)
        # The page's clock counts from 1970, the frames' from the start of the machine.
        offset_seconds = time.time() - time.monotonic()
    return [1e3 * (now_seconds - offset_seconds - captured_seconds) for captured_seconds, now_seconds in painted]


def _noted(page: Any, name: str, seconds: float) -> list:
    """Returns what the page notes in that time, after it has warmed up."""
    while page.evaluate(f"{name}.length") < 30:
        page.wait_for_timeout(100)
    page.evaluate(f"{name}.length = 0")
    page.wait_for_timeout(1e3 * seconds)
    return page.evaluate(name)


def camera_ages_ms(explainer: Explainer, seconds: float) -> list[float]:
    """Returns for each explained frame of a browser's camera the time from its grab to the painted heat."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "camera.mjpeg"
        film.write_bytes(b"".join(cv2.imencode(".jpg", image)[1].tobytes() for image in demo_images((640, 480), 64)))
        flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
        with served(explainer, []) as (_, server), opened_page(server, _NOTE_CAMERA, *flags) as page:
            page.locator("#welcome-button").click()
            return _noted(page, "window.ages", seconds)


def cpu_ms_per_frame(explainer: Explainer, viewer_counts: Sequence[int], rounds: int) -> dict[int, list[float]]:
    """Returns the server's CPU time a frame for several numbers of viewers, measured in turn."""
    measured: dict[int, list[float]] = {count: [] for count in viewer_counts}
    with served(explainer, [MemoryCamera(demo_images((640, 480), 64), _CAMERA_FPS)]) as (hub, server):
        stats = hub.sources[0].feed.stats
        port = server.address.partition("#")[0].rstrip("/").rpartition(":")[2]
        for _ in range(rounds):
            for count in viewer_counts:
                viewers = [started_viewer(port, 7.0, ["camera-0"]) for _ in range(count)]
                time.sleep(1.5)
                frames, cpu_seconds = stats.frames_explained, time.process_time()
                time.sleep(4.0)
                measured[count].append(1e3 * (time.process_time() - cpu_seconds) / (stats.frames_explained - frames))
                for viewer in viewers:
                    viewer.wait()
    return measured


def started_viewer(port: str, seconds: float, source_ids: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a viewer in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _CLIENT, port, str(seconds), *source_ids])


def explained_fps(explainer: Explainer, camera_count: int, fps: float, seconds: float) -> list[float]:
    """Returns the explained frames per second of each of several cameras."""
    images = demo_images((640, 480), 16)
    with served(explainer, [MemoryCamera(images, fps) for _ in range(camera_count)]) as (hub, _):
        time.sleep(2)
        before = [source.feed.stats.frames_explained for source in hub.sources]
        time.sleep(seconds)
        return [
            (source.feed.stats.frames_explained - count) / seconds
            for source, count in zip(hub.sources, before, strict=True)
        ]


def fps_beside_faults(explainer: Explainer, has_faults: bool, seconds: float) -> tuple[list[float], list[Usage]]:
    """Returns the explained frames per second of six cameras, and what the process holds at twenty times.

    Args:
        explainer: Explains.
        has_faults: Whether there are a camera that hangs while it is opened, and one that is lost every three seconds.
        seconds: Length of the run.
    """
    images = demo_images((320, 240), 16)
    released = threading.Event()

    def hang() -> Source:
        released.wait(60)
        raise SourceError("no answer")

    faulty: list[Source] = [
        LiveSource(None, hang, name="hanging"),
        LiveSource(None, lambda: FlappingCamera(images, 10), name="flapping"),
    ]
    cameras: list[Source] = [MemoryCamera(images, 10) for _ in range(6)]
    with served(explainer, [*cameras, *(faulty if has_faults else [])]) as (hub, _):
        time.sleep(3)
        sound, usages = hub.sources[:6], []
        before = [source.feed.stats.frames_explained for source in sound]
        for _ in range(20):
            time.sleep(seconds / 20)
            usages.append(usage())
        rates = [
            (source.feed.stats.frames_explained - count) / seconds for source, count in zip(sound, before, strict=True)
        ]
        released.set()
        return rates, usages


def usages_with_changing_viewers(explainer: Explainer, seconds: float) -> list[Usage]:
    """Returns what the process holds at twenty times of a run with four cameras, and three viewers that come and go."""
    usages: list[Usage] = []
    images = demo_images((640, 480), 16)
    with served(explainer, [MemoryCamera(images, 15) for _ in range(4)]) as (_, server):
        port = server.address.partition("#")[0].rstrip("/").rpartition(":")[2]
        source_ids = [f"camera-{number}" for number in range(4)]
        started_seconds = time.monotonic()
        viewers: list[subprocess.Popen[bytes]] = []
        while len(usages) < 20:
            viewers = [viewer for viewer in viewers if viewer.poll() is None]
            while len(viewers) < 3:
                viewers.append(started_viewer(port, 4.0 + len(viewers), source_ids[len(viewers) :]))
            time.sleep(0.2)
            if time.monotonic() - started_seconds > (len(usages) + 1) * seconds / 20:
                usages.append(usage())
        for viewer in viewers:
            viewer.wait()
    return usages


def _quantiles(name: str, goal: str, ages_ms: Sequence[float]) -> list[str]:
    p50, p95 = np.percentile(ages_ms, (50, 95))
    return [name, f"p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(ages_ms)} frames)", goal]


def _latency(explainer: Explainer, seconds: float) -> list[list[str]]:
    return [
        _quantiles("camera of 30 fps, 640x480, to painted pixels", "40, 80 ms", painted_ages_ms(explainer, seconds)),
        _quantiles("browser's camera, grabbed to heat painted", "60 ms", camera_ages_ms(explainer, seconds)),
    ]


def _cpu(explainer: Explainer, seconds: float) -> list[list[str]]:
    measured = cpu_ms_per_frame(explainer, (0, 1, 2), max(3, round(seconds / 18)))
    none, first, second = (statistics.median(measured[count]) for count in (0, 1, 2))
    return [
        ["CPU a frame without a viewer", f"{none:.1f} ms", ""],
        ["the first viewer adds", f"{first - none:.1f} ms", "2.5 ms"],
        ["the second viewer adds", f"{second - first:.1f} ms", "sending only"],
    ]


def _cameras(explainer: Explainer, seconds: float) -> list[list[str]]:
    (most,) = explained_fps(explainer, 1, 500, seconds / 4)
    rows = [["one camera as fast as it goes", f"{most:.0f} fps", ""]]
    for count in (2, 4, 8):
        rates = explained_fps(explainer, count, 60, seconds / 4)
        share = min(rates) / (sum(rates) / count)
        rows.append(
            [f"{count} cameras", f"{sum(rates) / most:.2f} of that; the slowest {share:.2f} of its share", "0.9; 0.5"]
        )
    return rows


def _growth(usages: Sequence[Usage]) -> str:
    early, late = usages[2], usages[-1]
    growth = 100 * (late.memory_mb / early.memory_mb - 1)
    handles = f"{early.threads} to {late.threads} threads, {early.files} to {late.files} files"
    return f"{early.memory_mb:.0f} to {late.memory_mb:.0f} MB ({growth:+.1f} %), {handles}"


def _faults(explainer: Explainer, seconds: float) -> list[list[str]]:
    alone, _ = fps_beside_faults(explainer, False, min(60, seconds))
    beside, usages = fps_beside_faults(explainer, True, seconds)
    return [
        ["six cameras of 10 fps alone", f"{min(alone):.2f} to {max(alone):.2f} fps", ""],
        ["beside a hanging and a flapping one", f"{min(beside):.2f} to {max(beside):.2f} fps", "the same"],
        [f"meanwhile, {seconds / 60:.0f} min", _growth(usages), "flat"],
    ]


def _soak(explainer: Explainer, seconds: float) -> list[list[str]]:
    usages = usages_with_changing_viewers(explainer, seconds)
    return [[f"{seconds / 60:.0f} min, 4 cameras, 3 viewers that come and go", _growth(usages), "flat"]]


_PARTS: dict[str, tuple[Callable[[Explainer, float], list[list[str]]], float]] = {
    "latency": (_latency, 30),
    "cpu": (_cpu, 90),
    "cameras": (_cameras, 40),
    "faults": (_faults, 600),
    "soak": (_soak, 1800),
}


def main() -> None:
    """Prints the table of each part and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], help=f"default: all ({', '.join(_PARTS)})")
    parser.add_argument("--seconds", type=float, help="length of a part (default: as long as its goal says)")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    explainer = load_explainer()
    for name in options.parts or _PARTS:
        measure, seconds = _PARTS[name]
        table = markdown_table(["", "measured", "goal"], measure(explainer, options.seconds or seconds))
        print(f"\n{table}", flush=True)
        if not options.no_write:
            write_section(f"serve.py {name}", f"## livecam serve: {name} (serve.py)\n\n{table}\n\n{conditions()}")


if __name__ == "__main__":
    main()
