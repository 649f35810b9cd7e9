"""Network cameras on the loopback interface, with a counter in the picture, that fail on command."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np

_BITS, _BLOCK = 16, 16


def counted_image(number: int, size_wh: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Grey, (h, w, 3) uint8, with ``number`` as 16 black and white blocks along the upper edge; coding keeps them."""
    image = np.full((size_wh[1], size_wh[0], 3), 128, np.uint8)
    for bit in range(_BITS):
        image[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    return image


def count_in(image: np.ndarray) -> int:
    """The number that ``counted_image`` wrote."""
    centre = _BLOCK // 2
    return sum(int(image[centre, bit * _BLOCK + centre].mean() > 127) << bit for bit in range(_BITS))


def jpeg_of(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def part_of(jpeg: bytes, length: int | None = None) -> bytes:
    """One picture of a multipart stream; ``length`` is what the header says."""
    return b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (length or len(jpeg), jpeg)


class MjpegServer:
    """MJPEG over HTTP; the counter runs on whoever looks, as a camera's world does.

    Attributes:
        sent_seconds: Counter value to the monotonic clock's reading when it was first sent.
        connections: How many clients ever came.
        is_stalled: Keeps every connection open and sends nothing.
        size_wh: Of the pictures from now on.
    """

    def __init__(self, fps: float = 30.0, size_wh: tuple[int, int] = (320, 240), port: int = 0) -> None:
        self.fps, self.size_wh = fps, size_wh
        self.sent_seconds: dict[int, float] = {}
        self.connections = 0
        self.is_stalled = False
        self.has_ended = False
        self.part: Callable[[int], bytes] = self._whole_part
        self._started_seconds = time.monotonic()
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = port
        self.go_online()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/camera.mjpg"

    @property
    def count(self) -> int:
        """The number of the picture that is due now."""
        return int((time.monotonic() - self._started_seconds) * self.fps)

    def go_online(self) -> None:
        """Listens, at the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go_offline(self) -> None:
        """Refuses new connections and closes those there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Closes the connections there are."""
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()

    def send_to_all(self, raw: bytes) -> None:
        """Puts these bytes between two pictures."""
        with self._lock:
            for client in self._clients:
                client.sendall(raw)

    def close(self) -> None:
        self.has_ended = True
        self.go_offline()

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _whole_part(self, number: int) -> bytes:
        return part_of(jpeg_of(counted_image(number % 2**_BITS, self.size_wh)))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.recv(65536)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=picture\r\n\r\n")
            with self._lock:
                self._clients.add(client)
            self._send_pictures(client)
        except OSError:
            pass
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _send_pictures(self, client: socket.socket) -> None:
        last = -1
        while not self.has_ended:
            number = self.count
            if number == last or self.is_stalled:
                time.sleep(0.002)
                continue
            last = number
            raw = self.part(number)
            with self._lock:
                self.sent_seconds.setdefault(number, time.monotonic())
                client.sendall(raw)
