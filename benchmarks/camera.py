"""A camera on the loopback interface: numbered JPEG pictures over HTTP, and when each was sent.

As a program, ``python camera.py FPS``, it serves without an end and prints its address, and the reading of the
monotonic clock that its first picture is due at.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

_BITS, _BLOCK = 16, 16


def numbered(image: np.ndarray, number: int) -> np.ndarray:
    """A copy of the picture with ``number`` as black and white blocks along its upper edge; JPEG keeps them."""
    marked = image.copy()
    for bit in range(_BITS):
        marked[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    return marked


def number_of(image: np.ndarray) -> int:
    """The number that ``numbered`` wrote."""
    centre = _BLOCK // 2
    return sum(int(image[centre, bit * _BLOCK + centre].mean() > 127) << bit for bit in range(_BITS))


class LoopbackCamera:
    """Serves pictures as MJPEG at a steady rate.

    Args:
        jpeg_of: Makes the picture of a number.
        count: How many there are; None = no end.
        fps: How many a second.
        started_seconds: When the first is due, by the monotonic clock; None = when a client asks.

    Attributes:
        url: Where.
        sent_seconds: Number of each picture to the monotonic clock's reading when it was sent; kept where there is an
            end.
    """

    def __init__(
        self, jpeg_of: Callable[[int], bytes], count: int | None, fps: float, started_seconds: float | None = None
    ) -> None:
        self.sent_seconds: dict[int, float] = {}
        self._jpeg_of, self._count, self._fps, self._started_seconds = jpeg_of, count, fps, started_seconds
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 — the name http.server calls
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera.send(self.wfile)

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/camera.mjpg"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def send(self, stream) -> None:
        """Sends every picture once, each at its time; ends early when the client goes."""
        started_seconds = time.monotonic() if self._started_seconds is None else self._started_seconds
        for number in itertools.count() if self._count is None else range(self._count):
            wait_seconds = started_seconds + number / self._fps - time.monotonic()
            if wait_seconds < -1:
                continue  # due long before this client came
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
        """Serves each picture once, from when a client asks; they are coded before."""
        jpegs = [cv2.imencode(".jpg", numbered(image, number))[1].tobytes() for number, image in enumerate(images)]
        return LoopbackCamera(jpegs.__getitem__, len(jpegs), fps)

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()


def main() -> None:
    """Serves the demo's pictures until stdin ends."""
    from measuring import demo_images

    images, fps = demo_images((640, 480), 64), float(sys.argv[1])
    started_seconds = time.monotonic()
    camera = LoopbackCamera(
        lambda number: cv2.imencode(".jpg", numbered(images[number % 64], number % 2**_BITS))[1].tobytes(),
        None,
        fps,
        started_seconds,
    )
    print(camera.url, started_seconds, flush=True)
    sys.stdin.read()
    camera.close()


if __name__ == "__main__":
    main()
