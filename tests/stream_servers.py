"""Network cameras on the loopback interface, with a counter in the picture, that fail on command."""

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
_TS_PACKET_BYTES = 188


def counted_image(number: int, size_wh: tuple[int, int] = (320, 240)) -> np.ndarray:
    """Stripes, (h, w, 3) uint8, with ``number`` as 16 black and white blocks along the upper edge."""
    image = np.full((size_wh[1], size_wh[0], 3), 210, np.uint8)
    image[:, ::7] = 60
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


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)


class MjpegServer:
    """MJPEG over HTTP; the counter runs on whoever looks, as a camera's world does.

    Attributes:
        sent_seconds: Counter value to the monotonic clock's reading when it was first sent.
        connections: How many clients ever came.
        is_stalled: Keeps every connection open and sends nothing.
        size_wh: Of the pictures from now on.
        picture: Makes the one of a number.
        part: Makes the bytes that are sent for a number.
    """

    def __init__(self, fps: float = 30.0, size_wh: tuple[int, int] = (320, 240), port: int = 0) -> None:
        self.fps, self.size_wh = fps, size_wh
        self.sent_seconds: dict[int, float] = {}
        self.connections = 0
        self.is_stalled = False
        self.has_ended = False
        self.picture = counted_image
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
        """The number of the picture that is due now."""
        return int((time.monotonic() - self._started_seconds) * self.fps)

    @property
    def is_online(self) -> bool:
        return self._listener is not None

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
            _end(listener)
            listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Closes the connections there are."""
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
        return part_of(jpeg_of(self.picture(number % 2**_BITS, self.size_wh)))

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


class RtspServer:
    """RTSP with MPEG-TS in RTP over the same connection (RFC 2326, 10.12; RFC 2250); one encoder a client.

    Attributes:
        transports: What each client asked for in its Transport header.
    """

    _SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"

    def __init__(self, fps: int = 30, size_wh: tuple[int, int] = (320, 240)) -> None:
        self._fps, self._size_wh = fps, size_wh
        self._started_seconds = time.monotonic()
        self.transports: list[str] = []
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/camera"
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up(self) -> None:
        """Closes the connections there are."""
        for client in list(self._clients):
            _end(client)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *raised: object) -> None:
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
        """Answers one request; whether it was PLAY."""
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
        rtp = _RtpWriter(client)
        with av.open(rtp, "w", format="mpegts", options={"flush_packets": "1"}) as container:
            options = {"preset": "ultrafast", "tune": "zerolatency"}
            stream = container.add_stream("libx264", rate=self._fps, options=options)
            stream.width, stream.height, stream.pix_fmt = *self._size_wh, "yuv420p"
            stream.codec_context.gop_size = self._fps // 2
            first = last = -1
            while True:
                number = int((time.monotonic() - self._started_seconds) * self._fps)
                if number == last:
                    time.sleep(0.002)
                    continue
                first, last = (number if first < 0 else first), number
                frame = av.VideoFrame.from_ndarray(counted_image(number, self._size_wh), format="bgr24")
                frame.pts, frame.time_base = number - first, Fraction(1, self._fps)
                container.mux(stream.encode(frame))


class _RtpWriter:
    """A file for PyAV that sends what is written as RTP packets inside an RTSP connection."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._sequence = 0
        self._waiting = b""

    def write(self, data: bytes) -> int:
        self._waiting += bytes(data)
        while len(self._waiting) >= _TS_PACKET_BYTES:
            whole = min(7, len(self._waiting) // _TS_PACKET_BYTES) * _TS_PACKET_BYTES
            self._send(self._waiting[:whole])
            self._waiting = self._waiting[whole:]
        return len(data)

    def _send(self, payload: bytes) -> None:
        ticks = int(time.monotonic() * 90_000) % 2**32
        packet = struct.pack(">BBHII", 0x80, 33, self._sequence % 2**16, ticks, 1) + payload
        self._sequence += 1
        self._client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
