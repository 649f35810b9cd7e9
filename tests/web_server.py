"""A running ``livecam serve``, and a program that talks to it."""

from __future__ import annotations

import contextlib
import json
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np
from conftest import environment_with, livecam_command, wait_until
from websockets.sync.client import ClientConnection, connect

TOKEN = "a-token-for-tests"


@dataclass(eq=False)
class RunningServer:
    """A server in a process of its own.

    Attributes:
        process: The process.
        address: What it printed.
        client: Requests with the token, relative to the address.
    """

    process: subprocess.Popen[str]
    address: str
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(urlsplit(self.address).port or 0)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def source(self, source_id: str) -> dict[str, Any]:
        return self.get(f"/api/sources/{source_id}")

    def wait_for_state(self, source_id: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.source(source_id)["state"] == state, 60, process=self.process)
        return self.source(source_id)

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """The WebSocket of a page, as a browser opens it."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"ws://127.0.0.1:{self.port}/api/live"
        origin: Any = f"http://127.0.0.1:{self.port}"
        with connect(url, additional_headers=headers, origin=origin, compression=None, max_size=None) as connection:
            yield Page(connection)


@dataclass(eq=False)
class Page:
    """What a page does over its WebSocket."""

    connection: ClientConnection

    def send(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def watch(self, *source_ids: str) -> None:
        self.send(type="watch", sources=source_ids)

    def paint(self, frame: ReceivedFrame) -> None:
        self.send(type="painted", source=frame.facts["source"], number=frame.facts["number"])

    def frame(self, seconds: float = 20.0) -> ReceivedFrame:
        """Returns the next frame; status messages are passed over.

        Raises:
            TimeoutError: None came in time.
        """
        deadline_seconds = time.monotonic() + seconds
        while True:
            message = self.connection.recv(timeout=max(0.0, deadline_seconds - time.monotonic()))
            if isinstance(message, bytes):
                return ReceivedFrame.of(message)

    def status(self) -> dict[str, Any]:
        while True:
            message = self.connection.recv(timeout=20)
            if isinstance(message, str):
                return json.loads(message)


@dataclass(frozen=True, eq=False)
class ReceivedFrame:
    """A binary message, taken apart as the contract says."""

    facts: dict[str, Any]
    cells: np.ndarray
    image: np.ndarray

    @staticmethod
    def of(message: bytes) -> ReceivedFrame:
        (length,) = struct.unpack_from("<I", message)
        assert (4 + length) % 4 == 0
        facts = json.loads(message[4 : 4 + length])
        explanation = facts["explanation"]
        shape = (len(explanation["maps"]), *explanation["map_shape"])
        cells = np.frombuffer(message, "<f4", int(np.prod(shape)), 4 + length).reshape(shape)
        jpeg = np.frombuffer(message, np.uint8, offset=4 + length + cells.nbytes)
        return ReceivedFrame(facts, cells, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))


@contextlib.contextmanager
def served(*arguments: object, port: int = 0) -> Iterator[RunningServer]:
    """Runs ``livecam serve`` until the block ends, which it must survive."""
    command = livecam_command("serve", *arguments, "--port", port, "--token", TOKEN)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with({"DISPLAY": None})
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()
        base = address.partition("#")[0]
        try:
            with httpx.Client(
                base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, verify=False
            ) as client:
                yield RunningServer(process, address, client)
            assert process.poll() is None, process.communicate()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_until_ready(server: RunningServer) -> None:
    """Waits until the model is there, which takes long only if it must be converted."""
    wait_until(lambda: server.get("/api/status")["state"] == "ready", 300, process=server.process)
