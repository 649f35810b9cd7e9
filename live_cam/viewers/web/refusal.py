"""The answer to a request that is not let through."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from live_cam.viewers.web.json_response import JSONResponse


class Refusal(Exception):
    """A request is not let through. It is also the ASGI application that says so, to HTTP and WebSocket.

    Attributes:
        status: HTTP status of the response.
        message: One sentence: what, why, what to do. Never contains the token.
        headers: Headers of the response.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with the status and ``{"error": message}``; refuses the handshake of a WebSocket."""
        if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        await JSONResponse({"error": self.message}, self.status, self.headers)(scope, receive, send)
