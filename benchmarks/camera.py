"""A camera on the loopback interface: serves numbered JPEG images over HTTP and notes when each was sent.

As a program, ``python camera.py FPS`` serves until stdin ends, with ``--rtsp`` as H.264. It prints its URL, and the
monotonic clock's reading when its first image is due.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

_BITS, _BLOCK = 16, 16


def numbered(image: np.ndarray, number: int) -> np.ndarray:
    """Returns a copy of the image with a number as black and white blocks along its upper edge; JPEG keeps them."""
    marked = image.copy()
    for bit in range(_BITS):
        marked[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    return marked


def number_of(image: np.ndarray) -> int:
    """Returns the number that ``numbered`` wrote."""
    center = _BLOCK // 2
    return sum(int(image[center, bit * _BLOCK + center].mean() > 127) << bit for bit in range(_BITS))


class LoopbackCamera:
    """Serves images as MJPEG at a constant rate.

    Args:
        jpeg_of: Returns the JPEG file of a number.
        count: Number of images; None: it does not end.
        fps: Images per second.
        started_seconds: The monotonic clock's reading when the first image is due. Default: when a client connects.

    Attributes:
        url: Its URL.
        sent_seconds: Number of an image to the monotonic clock's reading when it was sent; empty if it does not end.
    """

    def __init__(
        self, jpeg_of: Callable[[int], bytes], count: int | None, fps: float, started_seconds: float | None = None
    ) -> None:
        self.sent_seconds: dict[int, float] = {}
        self._jpeg_of, self._count, self._fps, self._started_seconds = jpeg_of, count, fps, started_seconds
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera.send(self.wfile)

            def log_message(self, *args: object) -> None:
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/camera.mjpg"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def send(self, stream) -> None:
        """Sends every image once, each at its time; ends early if the client disconnects."""
        started_seconds = time.monotonic() if self._started_seconds is None else self._started_seconds
        for number in itertools.count() if self._count is None else range(self._count):
            wait_seconds = started_seconds + number / self._fps - time.monotonic()
            if wait_seconds < -1:
                continue  # due long before this client connected
            jpeg = self._jpeg_of(number)
            time.sleep(max(0.0, started_seconds + number / self._fps - time.monotonic()))
            if self._count is not None:
                self.sent_seconds[number] = time.monotonic()
            try:
                stream.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                stream.write(jpeg + b"\r\n")
            except OSError:
                return

    @staticmethod
    def of_images(images: list[np.ndarray], fps: float) -> LoopbackCamera:
        """Serves each image once, from when a client connects; they are encoded before."""
        jpegs = [cv2.imencode(".jpg", numbered(image, number))[1].tobytes() for number, image in enumerate(images)]
        return LoopbackCamera(jpegs.__getitem__, len(jpegs), fps)

    def close(self) -> None:
        """Stops the server."""
        self._server.shutdown()
        self._server.server_close()


class CameraProcess:
    """A camera in a process of its own, so that making its images takes no time of the measured one.

    Args:
        fps: Images per second.
        options: Of this program.

    Attributes:
        url: Its URL.
        first_seconds: The monotonic clock's reading when its image 0 was due.
    """

    def __init__(self, fps: float, *options: str) -> None:
        command = [sys.executable, __file__, str(fps), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url, first_seconds = self._process.stdout.readline().split()  # type: ignore[union-attr]
        self.first_seconds = float(first_seconds)

    def __enter__(self) -> CameraProcess:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.communicate()


def main() -> None:
    """Serves the demo's images until stdin ends."""
    from measuring import demo_images

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fps", type=float)
    parser.add_argument("--rtsp", action="store_true", help="H.264 over RTSP instead of MJPEG over HTTP")
    parser.add_argument("--size", default="640x480", metavar="WxH")
    options = parser.parse_args()
    size_wh = tuple(map(int, options.size.split("x")))
    images = demo_images(size_wh, 64)

    def image_of(number: int) -> np.ndarray:
        return numbered(images[number % len(images)], number % 2**_BITS)

    first_seconds = time.monotonic()
    if options.rtsp:
        # The tests have the only RTSP server.
        sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
        from stream_servers import RtspServer

        camera = RtspServer(round(options.fps), size_wh)
        camera.make_image = lambda number, _: image_of(number)
        first_seconds = camera.started_seconds
    else:
        camera = LoopbackCamera(
            lambda number: cv2.imencode(".jpg", image_of(number))[1].tobytes(), None, options.fps, first_seconds
        )
    print(camera.url, first_seconds, flush=True)
    sys.stdin.read()
    camera.close()


if __name__ == "__main__":
    main()
