"""Checks every request before the server handles it: one ASGI middleware for HTTP and WebSocket.

In this order, each with a status and a sentence that says what to do:

    429  requests a second from one address
    400, 403  Host: an address of this machine or an allowed name, so that a foreign name cannot be pointed at it
    403  Sec-Fetch-Site, Origin: no page of another site, not even by an <img>
    401  the token, as a cookie or in Authorization; only /healthz and the page itself are open
    503  number of images in memory
    413, 408  size of the body, and how long it takes

It also answers ``POST /api/login``, and puts the security headers on every response. Run uvicorn with
``proxy_headers=False``, else a local client can name another address as its own, and with a log level of at least
"info": with "debug" the WebSocket library logs the cookie.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from live_cam.viewers.web.access import (
    AccessSettings,
    has_authorization,
    has_login_cookie,
    joined_header,
    set_login_cookie,
)
from live_cam.viewers.web.client_limits import ClientLimits, client_name
from live_cam.viewers.web.refusal import Refusal
from live_cam.viewers.web.same_origin import check_host, check_same_origin

MOST_BODY_BYTES = 64 * 1024
MOST_IMAGE_BYTES = 8 * 1024 * 1024
MOST_LOGIN_BYTES = 1024
# Images that are in memory at once. A proxy makes all clients one.
MOST_IMAGES = 20
MOST_IMAGES_PER_CLIENT = 12
FAILED_LOGINS_PER_MINUTE = 10

SECURITY_HEADERS = {
    # A worker is a script; the camera's picture comes through srcObject, which needs no media-src.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """Lets allowed requests through to an ASGI application, and answers all others itself.

    Args:
        app: The application.
        access: The token and the names of the server.
        requests_per_second: Limit of one client address in the long run.
        burst: How many requests it may send at once after a pause.
        body_seconds: How long a request's body may take to arrive.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: AccessSettings,
        *,
        requests_per_second: float = 100.0,
        burst: int = 200,
        body_seconds: float = 60.0,
    ) -> None:
        self._app = app
        self._access = access
        self._hosts = {name.lower().strip("[]") for name in access.allowed_hosts}
        self._requests = ClientLimits(requests_per_second, burst)
        self._failed_logins = ClientLimits(FAILED_LOGINS_PER_MINUTE / 60, FAILED_LOGINS_PER_MINUTE)
        self._body_seconds = body_seconds
        self._images: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, a WebSocket, or the start and end of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        send = _with_security_headers(scope, send)
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            if _is_login(scope):
                answer = await self._login(scope, headers, receive)
                await answer(scope, receive, send)
                return
            if scope["type"] == "http" and scope["path"] == "/api/explain" and _has_body(headers):
                with self._image_slot(_client(scope)):
                    receive = _replaying(await self._body(headers, receive, MOST_IMAGE_BYTES), receive)
                    await self._app(scope, receive, send)
                return
            if scope["type"] == "http" and _has_body(headers):
                receive = _replaying(await self._body(headers, receive, MOST_BODY_BYTES), receive)
        except Refusal as refusal:
            if _is_endless(headers):
                refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @contextmanager
    def _image_slot(self, client: str) -> Iterator[None]:
        """Counts an image while it is in memory.

        Raises:
            Refusal: There are too many.
        """
        if self._images.total() >= MOST_IMAGES or self._images[client] >= MOST_IMAGES_PER_CLIENT:
            raise Refusal(503, "Too many images are being explained: try again in a moment.", {"Retry-After": "1"})
        self._images[client] += 1
        try:
            yield
        finally:
            self._images[client] -= 1
            self._images += Counter()  # forgets clients without images

    def _check(self, scope: Scope, headers: Headers) -> None:
        client = _client(scope)
        _check_limit(self._requests, client, "requests")
        self._requests.count(client)
        check_host(headers, scope.get("server"), self._hosts)
        if scope["type"] == "http" and scope["path"] == "/healthz":
            return
        check_same_origin(headers, is_tls=self._access.is_tls)
        has_origin = "origin" in headers
        if scope["type"] == "websocket" and not has_origin:
            raise Refusal(403, "A WebSocket needs the header Origin: send the address of this server in it.")
        if _is_open(scope) or has_authorization(headers, self._access):
            return
        if not has_login_cookie(headers, self._access):
            raise Refusal(
                401,
                "This needs the token: open the address that livecam printed, or send the token as "
                "'Authorization: Bearer' or as the password of Basic authentication.",
                _challenge(scope, headers),
            )
        # What a browser sends by itself proves no intention, so it must also name the page that asks.
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and not has_origin:
            raise Refusal(
                403, "A change with the login cookie needs the header Origin: programs send 'Authorization: Bearer'."
            )

    async def _login(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        """Exchanges the token in the body of ``POST /api/login`` for the cookie."""
        if joined_header(headers, "content-type").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "The login takes JSON: send the header 'Content-Type: application/json'.")
        offered = _offered_token(await self._body(headers, receive, MOST_LOGIN_BYTES))
        client = _client(scope)
        _check_limit(self._failed_logins, client, "logins with a wrong token")
        if not self._access.is_token(offered):
            self._failed_logins.count(client)
            raise Refusal(401, "The token is wrong: open the address that the running livecam printed.")
        response = Response(status_code=204)
        set_login_cookie(response, self._access)
        return response

    async def _body(self, headers: Headers, receive: Receive, most_bytes: int) -> bytes:
        """Returns the whole body; reads nothing of one that says to be too large.

        The body is read before the application runs, so that the refusal does not have to pass through it.
        """
        length = joined_header(headers, "content-length") or "0"
        if not re.fullmatch("[0-9]{1,20}", length):
            raise Refusal(400, "The header Content-Length is damaged: send the number of bytes of the body.")
        if int(length) > most_bytes:
            raise _too_large(most_bytes)
        try:
            return await asyncio.wait_for(_read_body(receive, most_bytes), self._body_seconds)
        except asyncio.TimeoutError:
            message = f"The body did not arrive in {self._body_seconds:g} s: send less, or over a faster network."
            raise Refusal(408, message, {"Connection": "close"}) from None


def _is_login(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == "/api/login"


def _is_open(scope: Scope) -> bool:
    """Returns whether a request needs no token: the page, its files, and the login."""
    if scope["type"] != "http":
        return False
    path = scope["path"]
    is_page = path == "/" or (path.startswith("/page/") and ".." not in path)
    return _is_login(scope) or (is_page and scope["method"] in _SAFE_METHODS)


def _challenge(scope: Scope, headers: Headers) -> dict[str, str]:
    """Returns the header that makes programs send a password, and browsers ask for one.

    Programs that open a picture or stream by its URL (ffmpeg, VLC, OBS) wait for it. Only there, and not for what
    a page loads: the browser would put its own dialog over the page, which asks for the token itself.
    """
    is_opened = scope["path"].endswith(("/stream.mjpg", "/frame.jpg"))
    if is_opened and headers.get("sec-fetch-mode", "navigate") == "navigate":
        return {"WWW-Authenticate": 'Basic realm="livecam"'}
    return {}


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client_name(client[0]) if client else ""


def _check_limit(limits: ClientLimits, client: str, what: str) -> None:
    if seconds := math.ceil(limits.wait_seconds(client)):
        raise Refusal(
            429, f"Too many {what} from this address: wait {seconds} s, then try again.", {"Retry-After": str(seconds)}
        )


def _offered_token(body: bytes) -> str:
    try:
        offered = json.loads(body)
    except (ValueError, RecursionError):
        offered = None
    if not isinstance(offered, dict) or not isinstance(offered.get("token"), str):
        raise Refusal(400, 'The login is not understood: send {"token": "TOKEN"}.')
    return offered["token"]


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _is_endless(headers: Headers) -> bool:
    """Returns whether what is left of the body may be far longer than is allowed.

    uvicorn reads and drops what the application leaves unread, which is worth it only for less.
    """
    return "transfer-encoding" in headers or len(headers.get("content-length", "")) > len(str(MOST_IMAGE_BYTES))


async def _read_body(receive: Receive, most_bytes: int) -> bytes:
    body = bytearray()
    is_whole = False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The body ended too early: send it again.")
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
        is_whole = not message.get("more_body", False)
    return bytes(body)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, f"The body is too large: send at most {most_bytes // 1024} kB.")


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Returns a ``receive`` that gives a body that was read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _with_security_headers(scope: Scope, send: Send) -> Send:
    # Without a word, browsers keep scripts of the page for days, also those of an older livecam.
    added = {**SECURITY_HEADERS, "Cache-Control": "no-store" if scope["path"].startswith("/api/") else "no-cache"}

    async def send_with_headers(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            headers.update(added)
            message = {**message, "headers": headers.raw}
        await send(message)

    return send_with_headers
