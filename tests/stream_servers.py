"""Network cameras on the loopback interface, with a counter in their images, that fail on command."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO

import av
import cv2
import numpy as np

_BITS, _BLOCK = 16, 16


def counted_image(number: int, size_wh: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Returns stripes, (h, w, 3) uint8, with ``number`` as 16 black and white blocks along the upper edge."""
    image = np.full((size_wh[1], size_wh[0], 3), 210, np.uint8)
    image[:, ::7] = 60
    for bit in range(_BITS):
        image[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = 255 * (number >> bit & 1)
    return image


def count_in(image: np.ndarray) -> int:
    """Returns the number that ``counted_image`` wrote."""
    center = _BLOCK // 2
    return sum(int(image[center, bit * _BLOCK + center].mean() > 127) << bit for bit in range(_BITS))


def jpeg_of(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def part_of(jpeg: bytes, length: int | None = None) -> bytes:
    """Returns one image of a multipart stream; ``length`` is what its header says. Default: the right length."""
    return b"--image\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (length or len(jpeg), jpeg)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side has closed it
        connection.shutdown(socket.SHUT_RDWR)


class MjpegServer:
    """MJPEG over HTTP. The counter runs on without clients, as the world before a camera does.

    Attributes:
        sent_seconds: Counter value to the monotonic clock's reading when it was first sent.
        connections: Number of clients so far.
        is_stalled: Whether connections stay open without anything being sent.
        size_wh: Width and height of the images from now on.
        make_image: Makes the image of a number.
        part: Makes the bytes that are sent for a number.
    """

    def __init__(self, fps: float = 30.0, size_wh: tuple[int, int] = (320, 240), port: int = 0) -> None:
        self.fps, self.size_wh = fps, size_wh
        self.sent_seconds: dict[int, float] = {}
        self.connections = 0
        self.is_stalled = False
        self.has_ended = False
        self.make_image = counted_image
        self.part: Callable[[int], bytes] = self.whole_part
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
        """The number of the image that is due now."""
        return int((time.monotonic() - self._started_seconds) * self.fps)

    @property
    def is_online(self) -> bool:
        return self._listener is not None

    def go_online(self) -> None:
        """Listens, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go_offline(self) -> None:
        """Refuses new connections and closes the existing ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _end(listener)
            listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Closes the existing connections."""
        with self._lock:
            for client in self._clients:
                _end(client)
            self._clients.clear()

    def close(self) -> None:
        self.has_ended = True
        self.go_offline()

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def whole_part(self, number: int) -> bytes:
        return part_of(jpeg_of(self.make_image(number % 2**_BITS, self.size_wh)))

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
            client.recv(65536)  # the request
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=image\r\n\r\n")
            with self._lock:
                self._clients.add(client)
            self._send_images(client)
        except OSError:
            pass
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _send_images(self, client: socket.socket) -> None:
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


class RtspServer:
    """RTSP with H.264 in RTP over the same connection (RFC 2326, 10.12; RFC 6184); one encoder per client.

    Attributes:
        started_seconds: The monotonic clock's reading when image 0 was due.
        transports: The Transport header of each client.
        make_image: Makes the image of a number.
    """

    _SDP = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
    )

    def __init__(self, fps: int = 30, size_wh: tuple[int, int] = (320, 240)) -> None:
        self._fps, self._size_wh = fps, size_wh
        self.started_seconds = time.monotonic()
        self.make_image = counted_image
        self.transports: list[str] = []
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/camera"
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self) -> None:
        """Closes the existing connections."""
        for client in list(self._clients):
            _end(client)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        _end(self._listener)
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            requests = client.makefile("rb")
            while not self._answered(client, requests):
                pass
            self._play(client)
        except (OSError, av.FFmpegError):
            pass
        finally:
            self._clients.discard(client)
            client.close()

    def _answered(self, client: socket.socket, requests: BinaryIO) -> bool:
        """Answers one request; returns whether it was PLAY."""
        lines = list(iter(lambda: requests.readline().decode().strip(), ""))
        if not lines:
            raise ConnectionError("the client is gone")
        method = lines[0].split()[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = [f"CSeq: {headers['cseq']}", "Session: 1"]
        body = ""
        if method == "OPTIONS":
            answer.append("Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = self._SDP
            answer += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            self.transports.append(headers["transport"])
            answer.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        client.sendall("\r\n".join(["RTSP/1.0 200 OK", *answer, "", body]).encode())
        return method == "PLAY"

    def _play(self, client: socket.socket) -> None:
        with av.open(_Interleaved(client), "w", format="rtp", options={"packetsize": "1400"}) as container:
            options = {"preset": "ultrafast", "tune": "zerolatency"}
            stream = container.add_stream("libx264", rate=self._fps, options=options)
            stream.width, stream.height, stream.pix_fmt = *self._size_wh, "yuv420p"
            stream.codec_context.gop_size = self._fps // 2
            first = last = -1
            while True:
                number = int((time.monotonic() - self.started_seconds) * self._fps)
                if number == last:
                    time.sleep(0.001)
                    continue
                first, last = (number if first < 0 else first), number
                image = self.make_image(number % 2**_BITS, self._size_wh)
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = number - first, Fraction(1, self._fps)
                container.mux(stream.encode(frame))


class _Interleaved:
    """A file for PyAV, which writes a whole RTP or RTCP packet at a time; sends them inside an RTSP connection."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, packet: bytes) -> int:
        packet = bytes(packet)
        is_control = 192 <= packet[1] <= 223  # RFC 5761, 4
        self._client.sendall(struct.pack(">cBH", b"$", is_control, len(packet)) + packet)
        return len(packet)
