"""A camera on the loopback interface: numbered JPEG pictures over HTTP, and when each was sent."""

from __future__ import annotations

import threading
import time
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
    """Serves pictures as MJPEG at a steady rate from when a client asks.

    Attributes:
        url: Where.
        sent_seconds: Number of each picture to the monotonic clock's reading when it was sent.
    """

    def __init__(self, images: list[np.ndarray], fps: float) -> None:
        self.sent_seconds: dict[int, float] = {}
        self._jpegs = [
            cv2.imencode(".jpg", numbered(image, number))[1].tobytes() for number, image in enumerate(images)
        ]
        self._fps = fps
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
        started_seconds = time.monotonic()
        for number, jpeg in enumerate(self._jpegs):
            time.sleep(max(0.0, started_seconds + number / self._fps - time.monotonic()))
            self.sent_seconds[number] = time.monotonic()
            try:
                stream.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                stream.write(jpeg + b"\r\n")
            except OSError:
                return

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
