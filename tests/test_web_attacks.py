"""What careless and malicious clients send to ``livecam serve``: it refuses, stays up, and serves the others."""

from __future__ import annotations

import json
import random
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from conftest import wait_until
from stream_servers import jpeg_of
from web_server import TOKEN, RunningServer, served, wait_until_ready
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from live_cam.sources.image import header_size_wh
from live_cam.viewers.web.guard import MOST_IMAGE_BYTES
from live_cam.viewers.web.routes import MAX_VIEWERS


@pytest.fixture(scope="module")
def server(warm_cache: None) -> Iterator[RunningServer]:
    with served("demo") as running:
        wait_until_ready(running)
        running.wait_for_state("demo", "live")
        yield running


@pytest.fixture(autouse=True)
def _the_others_are_served(server: RunningServer) -> Iterator[None]:
    """After whatever a test did, a page still gets frames and memory is bounded."""
    yield
    with server.page() as page:
        page.watch("demo")
        for _ in range(3):
            page.paint(page.frame())
    assert resident_mb(server) < 900


def resident_mb(server: RunningServer) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def open_connection(server: RunningServer, **changes: Any) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", **changes.pop("headers", {})}
    arguments = {"origin": f"http://127.0.0.1:{server.port}", "compression": None, "max_size": None, **changes}
    return connect(f"ws://127.0.0.1:{server.port}/api/live", additional_headers=headers, **arguments)


def closing_code(connection: ClientConnection) -> int:
    """Returns the code with which the server ends a connection."""
    try:
        while True:
            connection.recv(timeout=10)
    except ConnectionClosed as closed:
        return 0 if closed.rcvd is None else closed.rcvd.code


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data would unpack to that many black pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(width * height, 10_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG of a few pixels whose header claims another size."""
    jpeg = bytearray(jpeg_of(np.zeros((16, 16, 3), np.uint8)))
    frame = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, frame + 5, height, width)
    return bytes(jpeg)


# --- images


@pytest.mark.parametrize("bomb", [png_claiming(60000, 60000), jpeg_claiming(60000, 60000), png_claiming(5001, 5000)])
def test_an_image_bomb_is_refused_from_its_header(server: RunningServer, bomb: bytes):
    before = resident_mb(server)
    started_seconds = time.monotonic()
    answer = server.client.post("/api/explain", content=bomb)
    assert answer.status_code == 413
    assert "is too large an image; post at most 25 million pixels" in answer.json()["error"]
    assert time.monotonic() - started_seconds < 5
    assert resident_mb(server) < before + 100


@pytest.mark.parametrize("width", [1, 640, 5000])
def test_the_header_s_size_is_the_decoded_size(width: int):
    image = np.zeros((37, width, 3), np.uint8)
    for suffix in (".png", ".jpg"):
        data = cv2.imencode(suffix, image)[1].tobytes()
        assert header_size_wh(data) == (width, 37)
    progressive = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert header_size_wh(progressive) == (width, 37)


@pytest.mark.parametrize(("content", "status"), [
    (b"", 415),
    (b"GIF89a" + bytes(100), 415),
    (b"\xff\xd8\xff", 415),
    (jpeg_of(np.zeros((300, 300, 3), np.uint8))[:200], 415),
    (png_claiming(100, 100)[:60], 415),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    (bytes(MOST_IMAGE_BYTES + 1), 413),
])  # fmt: skip
def test_what_is_no_image_is_refused(server: RunningServer, content: bytes, status: int):
    answer = server.client.post("/api/explain", content=content)
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.json()["error"]


def test_random_images_and_queries_are_refused_or_explained(server: RunningServer):
    generator = random.Random(5)
    whole = jpeg_of(np.full((64, 64, 3), 128, np.uint8))
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(generator.randrange(1, 20)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        query = generator.choice(
            ["", "?target=-5", "?classes=1,,2", "?classes=", "?contrast=x", "?camera=" + "x" * 500]
        )
        answer = server.client.post(f"/api/explain{query}", content=bytes(damaged))
        assert answer.status_code in (200, 400, 404, 413, 415), (query, answer.text)


def test_many_images_at_once_do_not_stop_the_pages(server: RunningServer):
    large = cv2.imencode(".jpg", np.random.default_rng(1).integers(0, 256, (2000, 3000, 3), np.uint8))[1].tobytes()
    assert len(large) < MOST_IMAGE_BYTES

    def post(number: int) -> int:
        with httpx.Client(timeout=120, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            return client.post(f"http://127.0.0.1:{server.port}/api/explain", content=large).status_code

    with ThreadPoolExecutor(30) as pool:
        posts = [pool.submit(post, number) for number in range(30)]
        with server.page() as page:
            page.watch("demo")
            for _ in range(5):
                page.paint(page.frame())
        statuses = [each.result() for each in posts]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 8


# --- the WebSocket


@pytest.mark.parametrize("message", [
    "", "null", "[]", "{}", "1", '{"type": "watch"}', '{"type": "watch", "sources": 5}', '{"type": "painted"}',
    json.dumps({"type": "watch", "sources": ["x"] * 65}), '{"type": "steal"}', "[" * 10000, "\x00",
    '{"type": "painted", "source": [], "number": 1}',
])  # fmt: skip
def test_messages_of_no_page_end_the_connection(server: RunningServer, message: str):
    with open_connection(server) as connection:
        connection.send(message)
        assert closing_code(connection) == 1008


@pytest.mark.parametrize(("message", "code"), [("x" * 20_000, 1009), (b"\x00\x01", 1008)])
def test_oversized_and_binary_messages_end_the_connection(server: RunningServer, message: str | bytes, code: int):
    with open_connection(server) as connection:
        connection.send(message)
        assert closing_code(connection) == code


def test_acknowledging_what_was_not_sent_brings_no_frames(server: RunningServer):
    with server.page() as page:
        page.watch("demo")
        frame = page.frame()
        for number in range(1000):
            if number != frame.facts["number"]:
                page.send(type="painted", source="demo", number=number)
        with pytest.raises(TimeoutError):
            page.frame(1.0)


def test_a_foreign_origin_gets_no_websocket(server: RunningServer):
    for origin in ("https://evil.example", f"http://localhost.evil.example:{server.port}", "null", None):
        with pytest.raises(InvalidStatus) as refused:
            open_connection(server, origin=origin)
        assert refused.value.response.status_code == 403


def test_there_are_as_many_pages_as_allowed(server: RunningServer):
    wait_until(lambda: server.get("/api/status")["viewers"] == 0)
    with ExitStack() as stack:
        for _ in range(MAX_VIEWERS):
            stack.enter_context(open_connection(server)).recv(timeout=20)
        with pytest.raises(InvalidStatus) as refused:
            open_connection(server)
        assert refused.value.response.status_code == 503
        assert "try again later" in json.loads(refused.value.response.body)["error"]
    wait_until(lambda: server.get("/api/status")["viewers"] == 0)


# --- connections and paths


def test_five_hundred_silent_connections_do_not_keep_others_out(server: RunningServer):
    with ExitStack() as stack:
        for number in range(500):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            if number % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0")
        assert server.get("/api/status")["state"] == "ready"
        with server.page() as page:
            page.watch("demo")
            page.paint(page.frame())


@pytest.mark.parametrize("path", [
    "/page/../routes.py", "/page/..%2froutes.py", "/page/%2e%2e/routes.py", "/page/....//routes.py", "/page/",
    "/page/..%5croutes.py", "/page//etc/passwd", "/page/index.html%00.js", "/%2e%2e/%2e%2e/etc/passwd", "/etc/passwd",
])  # fmt: skip
def test_there_is_no_way_out_of_the_page_s_folder(server: RunningServer, path: str):
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] == b"404", answer
    assert b"import" not in answer
    assert b"root:" not in answer


def test_a_client_that_reads_nothing_costs_no_memory(server: RunningServer):
    request = f"GET /api/sources/demo/stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
    before = resident_mb(server)
    with ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(f"{request}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        wait_until(lambda: server.source("demo")["viewers"] == 8)
        time.sleep(5)  # a hundred frames for each
        assert resident_mb(server) < before + 100
    wait_until(lambda: server.source("demo")["viewers"] == 0)


def test_a_header_that_decoders_skip_does_not_count():
    """libjpeg takes FF 00 for garbage and reads on; the size behind it is the one it decodes."""
    real = cv2.imencode(".jpg", np.zeros((300, 400, 3), np.uint8))[1].tobytes()[2:]
    small = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08"
    skipped = b"\xff\xd8\xff\x00" + (len(real) + 2).to_bytes(2, "big") + real + small
    assert header_size_wh(skipped) is None
