"""What the web server lets through and what it refuses, tried on a real server with real clients."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import logging
import subprocess
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from conftest import wait_until
from guarded_server import JPEG, TOKEN, Application, GuardedServer, serving
from starlette.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from live_cam.errors import SettingError
from live_cam.viewers.web.access import AccessSettings, new_token
from live_cam.viewers.web.client_limits import ClientLimits, client_name
from live_cam.viewers.web.guard import Guard
from live_cam.viewers.web.refusal import Refusal
from live_cam.viewers.web.same_origin import check_host

BEARER = {"Authorization": f"Bearer {TOKEN}"}
# What Chromium sends with fetch() of the page itself, with a typed address, and for the picture of a foreign page.
OF_THE_PAGE = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
TYPED = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-User": "?1", "Sec-Fetch-Dest": "document"}
FOREIGN_PICTURE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


@pytest.fixture(scope="module")
def server() -> Iterator[GuardedServer]:
    """A server for all tests that do not use up a limit."""
    with serving(
        access={"allowed_hosts": frozenset({"Cam.Example", "[2001:db8::1]"})}, requests_per_second=10_000
    ) as it:
        yield it


def basic(user_and_password: str) -> dict[str, str]:
    """The header as curl and ffmpeg send it."""
    return {"Authorization": "Basic " + base64.b64encode(user_and_password.encode()).decode()}


def websocket_status(
    server: GuardedServer, headers: dict[str, str], origin: str | None, host: str | None = None
) -> int:
    """Opens a WebSocket; 101 when it was accepted and echoes, else the status of the refusal, which says why."""
    uri = f"ws://{host or server.host}/api/live"
    try:
        # Over a connection of ours, so that the Host header may name something else.
        with connect(uri, sock=server.connect(), additional_headers=headers, origin=origin) as websocket:
            websocket.send("frame 1")
            assert websocket.recv(timeout=30) == "frame 1"
            return 101
    except InvalidStatus as refused:
        response = refused.response
    assert_is_explained(response.body)
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    return response.status_code


def assert_is_explained(body: bytes) -> None:
    """A refusal is one sentence, ends with a full stop, and does not give the token away."""
    answer = json.loads(body)
    assert answer.keys() == {"error"}
    assert answer["error"].endswith(".")
    assert len(answer["error"]) > 30
    assert TOKEN not in answer["error"]


def assert_refused(response: httpx.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert_is_explained(response.content)


# The token


@pytest.mark.parametrize("path", ["/healthz", "/", "/page/main.js"])
def test_health_and_the_page_need_no_token(server: GuardedServer, path: str):
    assert server.get(path).json()["path"] == path
    assert server.request("HEAD", path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/status"),
        ("GET", "/metrics"),
        ("GET", "/page"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/api/login"),
        ("GET", "/page/%2e%2e/api/status"),
        ("GET", "/page/..%2fapi/status"),
        ("POST", "/"),
        ("POST", "/page/main.js"),
        ("OPTIONS", "/api/status"),
    ],
)
def test_everything_else_needs_the_token(server: GuardedServer, method: str, path: str):
    before = len(server.application.paths)
    refused = server.request(method, path)
    assert_refused(refused, 401)
    assert "WWW-Authenticate" not in refused.headers
    assert len(server.application.paths) == before
    assert server.request(method, path, BEARER).status_code == 200
    assert len(server.application.paths) == before + 1


@pytest.mark.parametrize(
    "headers",
    [
        BEARER,
        {"Authorization": f"bearer  {TOKEN}"},
        basic(f"livecam:{TOKEN}"),
        basic(f":{TOKEN}"),
        basic(f"Zoë:{TOKEN}"),
    ],
)
def test_programs_send_the_token_as_bearer_or_password(server: GuardedServer, headers: dict[str, str]):
    assert server.get("/api/sources", headers).status_code == 200
    assert server.request("POST", "/api/settings", headers, content=b"{}").status_code == 200
    assert websocket_status(server, headers, server.origin) == 101


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN.lower()}"},
        {"Authorization": f"Bearer {TOKEN}, Bearer {TOKEN}"},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YQ"},
        basic(TOKEN),
        basic(f"{TOKEN}:"),
        basic("livecam:"),
        basic(f"livecam:{TOKEN}\n"),
        basic("livecam:Schlüssel"),
        {"Cookie": "livecam-1=x"},
        {"Cookie": "=;;==; ;"},
        {"X-Token": TOKEN},
    ],
)
def test_wrong_credentials_are_refused(server: GuardedServer, headers: dict[str, str]):
    assert_refused(server.get("/api/sources", headers), 401)


@pytest.mark.parametrize("value", [b"Bearer \xfc\xff", b"Basic \xfc", b"Bearer \xe2\x82\xac"])
def test_credentials_that_are_not_ascii_are_refused(server: GuardedServer, value: bytes):
    assert_refused(server.get("/api/sources", {"Authorization": value}), 401)
    assert_refused(server.get("/api/sources", {"Cookie": server.access.cookie_name.encode() + b"=" + value}), 401)


def test_two_authorizations_are_refused(server: GuardedServer):
    header = f"Authorization: Bearer {TOKEN}\r\n"
    request = f"GET /api/status HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n{{}}\r\n"
    assert server.exchange(request.format(header).encode()).startswith(b"HTTP/1.1 200 ")
    assert server.exchange(request.format(header * 2).encode()).startswith(b"HTTP/1.1 401 ")


def test_the_token_is_not_taken_from_the_query_string(server: GuardedServer):
    assert_refused(server.get(f"/api/status?token={TOKEN}"), 401)
    assert_refused(server.get(f"/api/sources/a/stream.mjpg?access_token={TOKEN}"), 401)


def test_the_cookie_is_not_usable_as_the_token(server: GuardedServer):
    assert_refused(server.get("/api/status", {"Authorization": f"Bearer {server.access.cookie_value}"}), 401)
    assert_refused(server.get("/api/status", {"Cookie": f"{server.access.cookie_name}={TOKEN}"}), 401)


def test_only_what_programs_open_asks_for_a_password(server: GuardedServer):
    for path in ("/api/sources/a/stream.mjpg", "/api/sources/a/frame.jpg"):
        assert server.get(path).headers["WWW-Authenticate"] == 'Basic realm="livecam"'
        assert server.get(path, TYPED).headers["WWW-Authenticate"] == 'Basic realm="livecam"'
        assert "WWW-Authenticate" not in server.get(path, OF_THE_PAGE).headers
        assert "WWW-Authenticate" not in server.get(path, {**FOREIGN_PICTURE, "Sec-Fetch-Site": "same-origin"}).headers


def test_ffprobe_opens_a_picture_with_the_token_as_password(server: GuardedServer):
    def probe(user_info: str) -> subprocess.CompletedProcess[str]:
        url = f"http://{user_info}{server.host}/api/sources/yard/frame.jpg"
        command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert probe(f"livecam:{TOKEN}@").stdout.strip() == "mjpeg,64"
    assert "401" in probe("").stderr
    assert "401" in probe("livecam:wrong-token@").stderr


# The login


def test_a_login_gives_a_cookie_that_opens_everything():
    with serving() as server:
        answer = server.login(TOKEN, {"Origin": server.origin, **OF_THE_PAGE})
        assert (answer.status_code, answer.content) == (204, b"")
        cookie = SimpleCookie(answer.headers["Set-Cookie"])[f"livecam-{server.access.port}"]
        assert (cookie["path"], cookie["samesite"], cookie["max-age"]) == ("/", "strict", str(30 * 24 * 3600))
        assert cookie["httponly"] is True
        assert not cookie["secure"]
        assert not cookie["domain"]
        assert TOKEN not in answer.headers["Set-Cookie"]

        header = {"Cookie": f"theme=dark; {cookie.key}={cookie.value}; {cookie.key}=stale"}
        assert server.get("/api/status", header).status_code == 200
        assert websocket_status(server, header, server.origin) == 101


def test_a_cookie_outlives_a_restart_with_the_same_token_only():
    access = AccessSettings(TOKEN, 8000)
    assert AccessSettings(TOKEN, 8000).cookie_value == access.cookie_value
    assert AccessSettings(TOKEN + "x", 8000).cookie_value != access.cookie_value


def test_with_tls_the_cookie_is_secure_and_the_origin_https():
    with serving(access={"is_tls": True}) as server:
        assert "; Secure" in server.login(TOKEN).headers["Set-Cookie"]
        assert server.login(TOKEN, {"Origin": f"https://{server.host}"}).status_code == 204
        assert_refused(server.login(TOKEN, {"Origin": f"http://{server.host}"}), 403)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + " ", TOKEN[:-1], "Schlüssel", "\ud800", "\0", "x" * 500])
def test_a_login_with_a_wrong_token_is_refused(token: str):
    with serving() as server:
        refused = server.login(token)
        assert_refused(refused, 401)
        assert "Set-Cookie" not in refused.headers
        assert "WWW-Authenticate" not in refused.headers


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"token"', b"{}", b'{"token": null}', b'{"token": 1}', b"[" * 1024],
)
def test_a_login_that_is_not_understood_is_refused(server: GuardedServer, body: bytes):
    json_type = {"Content-Type": "application/json"}
    assert_refused(server.request("POST", "/api/login", json_type, content=body), 400)


def test_a_login_is_json_of_at_most_a_kilobyte_from_the_page_itself(server: GuardedServer):
    body = json.dumps({"token": TOKEN}).encode()

    def status(headers: dict[str, str], content: Any = body) -> int:
        return server.request("POST", "/api/login", headers, content=content).status_code

    json_type = {"Content-Type": "application/json; charset=utf-8"}
    assert status(json_type) == 204
    # A form or text is all that a foreign page can post without asking first.
    assert status({}) == 415
    assert status({"Content-Type": "text/plain"}) == 415
    assert status({"Content-Type": "application/x-www-form-urlencoded"}) == 415
    assert status({**json_type, "Origin": "http://evil.example"}) == 403
    assert status({**json_type, **OF_THE_PAGE, "Sec-Fetch-Site": "cross-site"}) == 403
    assert status(json_type, body.ljust(1024)) == 204
    assert status(json_type, body.ljust(1025)) == 413
    assert status(json_type, iter([body.ljust(1024), b" "])) == 413


def test_failed_logins_are_limited_but_right_ones_are_not():
    with serving() as server:
        assert [server.login(TOKEN).status_code for _ in range(20)] == [204] * 20
        assert [server.login("wrong-token").status_code for _ in range(10)] == [401] * 10
        # Now the right one is not even looked at: else guessing could go on.
        for token in ("wrong-token", TOKEN):
            refused = server.login(token)
            assert_refused(refused, 429)
            assert 1 <= int(refused.headers["Retry-After"]) <= 6  # ten a minute
        # Who has the token or cookie already does not notice.
        assert server.get("/api/status", BEARER).status_code == 200
        assert server.get("/api/status", server.cookie).status_code == 200


# The host


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:{port}", "127.0.0.1", "localhost:{port}", "LOCALHOST", "127.0.0.2:8080", "[::1]:{port}", "[::1]"]
    + ["cam.example", "CAM.example:443", "[2001:db8::1]:{port}"],
)
def test_own_addresses_and_allowed_names_are_hosts(server: GuardedServer, host: str):
    host = host.format(port=server.access.port)
    assert server.get("/healthz", {"Host": host}).status_code == 200
    assert websocket_status(server, server.cookie, f"http://{host}", host) == 101


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "evil-localhost"]
    + [
        "cam.example.evil.example",
        "xcam.example",
        "192.168.1.5:{port}",
        "0.0.0.0:{port}",
        "[2001:db8::2]",
        "2130706433",
    ],
)
def test_a_foreign_host_is_refused(server: GuardedServer, host: str):
    # DNS rebinding: the page and its Origin are of the same foreign name, and the browser finds that in order.
    host = host.format(port=server.access.port)
    headers = {"Host": host, "Origin": f"http://{host}", **OF_THE_PAGE}
    for path in ("/", "/healthz", "/api/status"):
        assert_refused(server.get(path, {**headers, **server.cookie}), 403)
    assert_refused(server.login(TOKEN, headers), 403)
    assert_refused(server.get("/api/status", {"Host": host, **BEARER}), 403)
    assert websocket_status(server, server.cookie, f"http://{host}", host) == 403


@pytest.mark.parametrize(
    "host",
    ["", " ", ":{port}", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:123456", "::1", "[::1", "a b", "user@localhost"]
    + ["localhost/", "localhost,localhost", "http://localhost"],
)
def test_a_damaged_host_is_refused(server: GuardedServer, host: str):
    host = host.format(port=server.access.port)
    request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert server.exchange(request.encode()).startswith(b"HTTP/1.1 400 ")


def test_a_missing_and_a_repeated_host_are_refused(server: GuardedServer):
    assert server.exchange(b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert server.exchange(b"GET /healthz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    twice = f"Host: {server.host}\r\n" * 2
    assert server.exchange(f"GET /healthz HTTP/1.1\r\n{twice}\r\n".encode()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("host", "local", "is_allowed"),
    [
        ("192.168.1.5:8000", "192.168.1.5", True),
        ("192.168.1.5:8000", "::ffff:192.168.1.5", True),  # a socket for both IPv4 and IPv6
        ("192.168.1.6:8000", "192.168.1.5", False),
        ("127.0.0.1:8000", "192.168.1.5", False),
        ("localhost:8000", "192.168.1.5", False),
        ("localhost:8000", "::1", True),
        ("localhost:8000", "::ffff:127.0.0.1", True),
        ("[fe80::1]:8000", "fe80::1%eth0", True),
        ("[2001:DB8:0::5]:8000", "2001:db8::5", True),
        ("[2001:db8::6]:8000", "2001:db8::5", False),
        ("cam.example:8000", "192.168.1.5", True),
        ("evil.example:8000", "192.168.1.5", False),
    ],
)
def test_a_host_is_the_address_at_which_the_request_arrived(host: str, local: str, is_allowed: bool):
    headers = Headers({"Host": host})
    if is_allowed:
        check_host(headers, (local, 8000), {"cam.example"})
    else:
        with pytest.raises(Refusal, match="is not a name of this server"):
            check_host(headers, (local, 8000), {"cam.example"})


def test_repeated_headers_match_nothing():
    # h11 refuses a second Host itself; other HTTP parsers that uvicorn may use do not.
    async def status(*headers: tuple[bytes, bytes]) -> int:
        sent: list[Any] = []
        scope = {"type": "http", "method": "GET", "path": "/", "server": ("127.0.0.1", 8000), "client": None}

        async def receive() -> Any:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        guard = Guard(Application(), AccessSettings(TOKEN, 8000))
        await guard({**scope, "headers": list(headers)}, receive, send)
        return sent[0]["status"]

    host = (b"host", b"localhost")
    assert asyncio.run(status(host)) == 200
    assert asyncio.run(status(host, host)) == 400
    assert asyncio.run(status(host, (b"host", b"evil.example"))) == 400
    assert asyncio.run(status(host, (b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"none"))) == 403
    assert asyncio.run(status(host, (b"origin", b"http://localhost"), (b"origin", b"http://localhost"))) == 403


# Pages of other sites


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Same-Origin", "nonsense"])
def test_what_another_site_causes_is_refused(server: GuardedServer, site: str):
    # An <img> of a foreign page: no Origin, an allowed Host, and in the worst case the cookie.
    headers = {**FOREIGN_PICTURE, "Sec-Fetch-Site": site, "Referer": "http://evil.example/", **server.cookie}
    for path in ("/", "/page/main.js", "/api/sources/a/frame.jpg", "/api/status", "/metrics"):
        assert_refused(server.get(path, headers), 403)
    assert_refused(server.get("/api/status", {**headers, **BEARER}), 403)
    assert server.get("/healthz", headers).status_code == 200
    assert websocket_status(server, {**server.cookie, "Sec-Fetch-Site": site}, server.origin) == 403


@pytest.mark.parametrize("headers", [OF_THE_PAGE, TYPED])
def test_what_the_page_or_its_user_causes_is_let_through(server: GuardedServer, headers: dict[str, str]):
    assert server.get("/", headers).status_code == 200
    assert server.get("/api/sources", {**headers, **server.cookie}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "https://{host}", "http://{host}.evil.example", "http://evil.example/{host}"]
    + ["http://127.0.0.1:1", "http://127.0.0.1", "http://localhost:{port}", "{host}", "http://{host}/", "file://"],
)
def test_a_foreign_origin_is_refused(server: GuardedServer, origin: str):
    origin = origin.format(host=server.host, port=server.access.port)
    for credentials in (server.cookie, BEARER):
        headers = {**credentials, "Origin": origin}
        assert_refused(server.get("/api/status", headers), 403)
        assert_refused(server.request("POST", "/api/settings", headers, json={"layer": "x"}), 403)
        assert websocket_status(server, headers, None) == 403


def test_a_websocket_needs_the_own_origin_and_the_token(server: GuardedServer):
    assert websocket_status(server, server.cookie, server.origin) == 101
    assert websocket_status(server, server.cookie, None) == 403
    assert websocket_status(server, BEARER, None) == 403
    assert websocket_status(server, {}, server.origin) == 401
    assert websocket_status(server, {"Cookie": f"{server.access.cookie_name}=x"}, server.origin) == 401
    assert "/api/live" in server.application.paths


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_change_with_the_cookie_needs_the_own_origin(server: GuardedServer, method: str):
    own = {**server.cookie, "Origin": server.origin, **OF_THE_PAGE}
    assert server.request(method, "/api/cameras/1", own).status_code == 200
    assert_refused(server.request(method, "/api/cameras/1", server.cookie), 403)
    assert_refused(server.request(method, "/api/cameras/1", {**server.cookie, **OF_THE_PAGE}), 403)
    # Nobody sends a program's header without intention.
    assert server.request(method, "/api/cameras/1", BEARER).status_code == 200
    assert server.request(method, "/api/cameras/1", {**server.cookie, **BEARER}).status_code == 200


def test_a_server_that_cannot_refuse_with_a_response_closes_the_websocket():
    sent: list[Any] = []

    async def refuse() -> None:
        scope = {"type": "websocket", "path": "/api/live", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 9)}

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await Guard(Application(), AccessSettings(TOKEN, 8000))({**scope, "headers": []}, receive, send)

    asyncio.run(refuse())
    assert [message["type"] for message in sent] == ["websocket.close"]


# Bodies


@pytest.mark.parametrize(("path", "most_bytes"), [("/api/explain", 8 * 1024 * 1024), ("/api/settings", 64 * 1024)])
def test_bodies_pass_up_to_a_size(server: GuardedServer, path: str, most_bytes: int):
    body = bytes(range(256)) * (most_bytes // 256)
    chunks = [body[start : start + 50_000] for start in range(0, most_bytes, 50_000)]
    for content in (body, iter(chunks)):
        answer = server.request("POST", path, BEARER, content=content).json()
        assert (answer["bytes"], answer["sha256"]) == (most_bytes, hashlib.sha256(body).hexdigest())
    before = len(server.application.paths)
    assert_refused(server.request("POST", path, BEARER, content=body + b"x"), 413)
    assert_refused(server.request("POST", path, BEARER, content=iter([*chunks, b"x"])), 413)
    assert len(server.application.paths) == before


def test_a_body_that_says_to_be_too_large_is_refused_before_it_is_sent(server: GuardedServer):
    head = f"POST /api/explain HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    answer = server.exchange(f"{head}Content-Length: {10**12}\r\nExpect: 100-continue\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert_is_explained(answer.partition(b"\r\n\r\n")[2])


def test_a_body_without_end_is_refused_and_its_connection_closed(server: GuardedServer):
    head = f"POST /api/settings HTTP/1.1\r\nHost: {server.host}\r\nTransfer-Encoding: chunked\r\n"
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    for credentials, status in ((f"Authorization: Bearer {TOKEN}\r\n", b"413"), ("", b"401")):
        answer = server.exchange(f"{head}{credentials}\r\n".encode() + chunk + chunk)  # and no last chunk
        assert answer.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("length", ["-1", "1.5", "1e3", "x", "9" * 5000])
def test_a_damaged_length_is_refused(server: GuardedServer, length: str):
    head = f"POST /api/settings HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    assert server.exchange(f"{head}Content-Length: {length}\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_does_not_arrive_is_given_up():
    with serving(body_seconds=0.2) as server:
        head = f"POST /api/settings HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
        answer = server.exchange(f"{head}Content-Length: 10\r\n\r\nhalf".encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert server.application.paths == []


def test_the_application_hears_when_a_client_leaves(server: GuardedServer):
    head = f"POST /api/wait HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    with server.connect() as connection:
        connection.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        wait_until(lambda: "/api/wait" in server.application.paths)
        assert not server.application.gone.is_set()
    assert server.application.gone.wait(30)


# Requests a second


def test_too_many_requests_from_one_address_are_refused():
    with serving(requests_per_second=0.1, burst=10) as server:
        assert [server.get("/healthz").status_code for _ in range(10)] == [200] * 10
        for refused in (server.get("/healthz"), server.get("/", BEARER), server.login(TOKEN)):
            assert_refused(refused, 429)
            assert 1 <= int(refused.headers["Retry-After"]) <= 10
        assert websocket_status(server, server.cookie, server.origin) == 429
        # It costs the others nothing.
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as other:
            assert other.get(server.origin + "/healthz").status_code == 200


def test_a_client_has_a_burst_and_a_rate():
    now = 1000.0
    limits = ClientLimits(per_second=10 / 60, burst=10, clock=lambda: now)
    for _ in range(10):
        assert limits.wait_seconds("a") == 0
        limits.count("a")
    assert limits.wait_seconds("a") == pytest.approx(6)  # ten a minute
    assert limits.wait_seconds("b") == 0
    now += 5.9
    assert limits.wait_seconds("a") == pytest.approx(0.1)
    now += 0.2
    assert limits.wait_seconds("a") == 0
    limits.count("a")
    assert limits.wait_seconds("a") == pytest.approx(5.9)
    now += 3600
    for _ in range(10):
        assert limits.wait_seconds("a") == 0
        limits.count("a")
    assert limits.wait_seconds("a") == pytest.approx(6)  # an hour's rest is worth no more than one burst


def test_the_table_of_clients_is_bounded_and_forgets_those_that_rest():
    now = 0.0
    limits = ClientLimits(per_second=1, burst=2, most_clients=100, clock=lambda: now)
    for number in range(10_000):
        limits.count(f"10.0.{number // 256}.{number % 256}")
        assert len(limits) <= 100
    now += 1.5
    limits.count("10.9.9.9")
    assert len(limits) == 1


def test_an_ipv6_host_counts_as_its_network():
    assert client_name("2001:db8:1:2:3:4:5:6") == client_name("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert client_name("2001:db8:1:3::1") != client_name("2001:db8:1:2::1")
    assert client_name("192.168.1.5") == "192.168.1.5"
    assert client_name("::ffff:192.168.1.5") != client_name("::ffff:192.168.1.6")
    assert client_name("fe80::1%eth0") == "fe80::/64"


# Headers, logs and settings


def test_every_response_has_the_security_headers(server: GuardedServer):
    for response in (
        server.get("/"),
        server.get("/api/status"),
        server.get("/api/status", BEARER),
        server.get("/", {"Host": "evil.example"}),
        server.login(TOKEN),
    ):
        policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert len(response.headers.get_list("Content-Security-Policy")) == 1
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=(self)" in response.headers["Permissions-Policy"]
    assert server.get("/api/status", BEARER).headers["Cache-Control"] == "no-store"
    assert server.get("/page/main.js").headers["Cache-Control"] == "no-cache"
    assert server.get("/api/sources/a/frame.jpg", BEARER).content == JPEG


def test_the_token_is_not_logged(server: GuardedServer, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        server.login(TOKEN)
        server.login(TOKEN + "x")
        server.get("/api/status", BEARER)
        server.get("/api/status", basic(f"x:{TOKEN}"))
        server.get("/api/status", server.cookie)
        websocket_status(server, server.cookie, server.origin)
        logging.getLogger().info("settings: %s", server.access)
    assert "/api/status" in caplog.text
    assert "settings: AccessSettings(" in caplog.text
    assert TOKEN not in caplog.text
    assert server.access.cookie_value not in caplog.text


@pytest.mark.parametrize("token", ["", " ", "short", "with space in it", "Schlüssel-Wort", "quote\"'quote", "x" * 129])
def test_a_token_that_is_easily_guessed_or_needs_quoting_is_refused(token: str):
    with pytest.raises(SettingError, match="8 to 128 letters, digits") as refused:
        AccessSettings(token, 8000)
    assert not token.strip() or token not in str(refused.value)
    with pytest.raises(SettingError, match="8 to 128 letters, digits"):
        dataclasses.replace(AccessSettings(TOKEN, 8000), token=token)


def test_random_tokens_are_long_and_all_different():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32  # 24 bytes
    assert all(AccessSettings(token, 8000).is_token(token) for token in tokens)
