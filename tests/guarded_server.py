"""A real server on the loopback interface with a small application behind the guard."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import httpx
import numpy as np
import uvicorn
from conftest import wait_until

from live_cam.viewers.web.access import AccessSettings
from live_cam.viewers.web.guard import Guard

TOKEN = "Xq3-known_to.the~test"
JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 128, np.uint8))[1].tobytes()


@dataclass
class Application:
    """Answers everything: JSON about the request, a JPEG for names that end so, an echo on a WebSocket.

    Attributes:
        paths: Paths of the requests that came through, in order.
        gone: Set when a client has left whose request to /api/wait was not answered.
    """

    paths: list[str] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.paths.append(scope["path"])
        await (self._echo if scope["type"] == "websocket" else self._answer)(scope, receive, send)

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more_body = b"", True
        while more_body:
            message = await receive()
            body += message.get("body", b"")
            more_body = message.get("more_body", False)
        if scope["path"] == "/api/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone.set()
            return
        answer = {"path": scope["path"], "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        content, kind = (
            (JPEG, b"image/jpeg") if scope["path"].endswith(".jpg") else (json.dumps(answer).encode(), b"x/y")
        )
        # A cache that the guard must forbid, and a policy that it must replace.
        headers = [(b"cache-control", b"public"), (b"content-security-policy", b"img-src *")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


@dataclass(frozen=True)
class GuardedServer:
    """A running server."""

    application: Application
    access: AccessSettings

    @property
    def host(self) -> str:
        """The server's Host header."""
        return f"127.0.0.1:{self.access.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def cookie(self) -> dict[str, str]:
        """The header that a browser sends after a login."""
        return {"Cookie": f"{self.access.cookie_name}={self.access.cookie_value}"}

    def request(self, method: str, path: str, headers: dict[Any, Any] | None = None, **options: Any) -> httpx.Response:
        """Sends one request on a connection of its own."""
        return httpx.request(method, self.origin + path, headers=headers, trust_env=False, verify=False, **options)

    def get(self, path: str, headers: dict[Any, Any] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)

    def login(self, token: object, headers: dict[str, str] | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json", **(headers or {})}
        return self.request("POST", "/api/login", headers, content=json.dumps({"token": token}))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.access.port), timeout=30)

    def exchange(self, request: bytes) -> bytes:
        """Sends bytes and returns everything that the server answers before it closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while received := connection.recv(65536):
                    answer += received
        return answer


@contextlib.contextmanager
def serving(*, access: dict[str, Any] | None = None, **guard_options: Any) -> Iterator[GuardedServer]:
    """Runs a server; the options are those of AccessSettings and of Guard."""
    # With its protocol named: else asyncio leaves Nagle's algorithm on, and each answer takes 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        settings = AccessSettings(TOKEN, listener.getsockname()[1], **(access or {}))
        application = Application()
        guard = Guard(application, settings, **guard_options)
        config = uvicorn.Config(guard, lifespan="off", log_config=None, log_level="info", proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield GuardedServer(application, settings)
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
