"""The web server: bound to its port at once, run in a thread of its own until it is closed."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from live_cam.errors import SettingError
from live_cam.viewers.web.access import AccessSettings, new_token
from live_cam.viewers.web.certificate import check_given_certificate, server_certificate
from live_cam.viewers.web.guard import Guard
from live_cam.viewers.web.hub import Hub
from live_cam.viewers.web.routes import Routes

# What a page sends is small: which tiles it shows, and what it painted.
_MOST_MESSAGE_BYTES = 16 * 1024
_GRACE_SECONDS = 1
_CLOSE_SECONDS = 5.0
_BACKLOG = 128


class WebServer:
    """Serves the page and the interface for programs.

    Args:
        hub: What it shows.
        host: Address or name to listen on.
        port: Port to listen on; 0 for a free one.
        token: What clients must know. Default: a random one.
        allowed_hosts: Host names that a request may be for, besides the address at which it arrives.
        certificate: TLS certificate and key. Default: none on loopback, else one that was made on first use.
        on_error: Called with a line about a bug, from the server's thread.

    Attributes:
        address: What the user opens, token included.
        fingerprint: SHA-256 of a certificate that no browser knows, because livecam made it; None without one.

    Raises:
        SettingError: The port is not free, or the host, the token or the certificate cannot be used.
    """

    def __init__(
        self,
        hub: Hub,
        host: str,
        port: int,
        *,
        token: str | None = None,
        allowed_hosts: tuple[str, ...] = (),
        certificate: tuple[Path, Path] | None = None,
        on_error: Callable[[str], None],
    ) -> None:
        self._socket = _listening_socket(host, port)
        try:
            address, port = self._socket.getsockname()[:2]
            bound = ipaddress.ip_address(address.partition("%")[0])
            names = [*allowed_hosts] if bound.is_unspecified else [*allowed_hosts, host]
            if not bound.is_loopback:
                # Foreign names cannot end in .local, and a name without a dot is of this network.
                names += [socket.gethostname(), f"{socket.gethostname()}.local"]
            tls: tuple[Path, Path] | None = certificate
            self.fingerprint: str | None = None
            if certificate is not None:
                check_given_certificate(*certificate)
            elif not bound.is_loopback:
                tls = server_certificate([*names, *_own_addresses(address)])
                self.fingerprint = _fingerprint(tls[0])
            access = AccessSettings(
                new_token() if token is None else token, port, frozenset(map(str.lower, names)), tls is not None
            )
            app = Guard(Routes(hub, on_error).app(), access)
            self._server = uvicorn.Server(_config(app, tls))
        except BaseException:
            self._socket.close()
            raise
        shown_host = allowed_hosts[0] if allowed_hosts else _own_addresses(address)[0] if bound.is_unspecified else host
        self.address = f"http{'s' if tls else ''}://{_bracketed(shown_host)}:{port}/#{access.token}"
        self._thread = threading.Thread(target=self._run, name="livecam-web", daemon=True)

    def start(self) -> None:
        """Answers requests from now on."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it answers requests."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends all connections; returns when they are closed, after five seconds at the latest."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def _config(app: Guard, tls: tuple[Path, Path] | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=_MOST_MESSAGE_BYTES,
        # JPEG does not get smaller, and compressing costs more than encoding it.
        ws_per_message_deflate=False,
        # A log could hold an address with a secret; errors are reported by the routes.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=None if tls is None else str(tls[0]),
        ssl_keyfile=None if tls is None else str(tls[1]),
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _listening_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        SettingError: The port is not free, or there is no such host.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise SettingError(f"there is no host {host} here; give --host an address of this machine") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingError(f"port {port} is in use; give another --port, or 0 for a free one") from None
        if error.errno == errno.EACCES:
            raise SettingError(f"port {port} needs an administrator's rights; give --port 1024 or more") from None
        raise SettingError(
            f"cannot listen on {host}: {error.strerror}; give --host an address of this machine"
        ) from None
    return listening


def _own_addresses(address: str) -> list[str]:
    """Returns the addresses at which others reach this machine; ``address`` itself unless it stands for all."""
    if not ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        return [address]
    found: list[str] = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            # Nothing is sent: the system only chooses the address that it would send from.
            with socket.socket(family, socket.SOCK_DGRAM) as chosen:
                chosen.connect((probe, 9))
                found.append(chosen.getsockname()[0])
        except OSError:
            continue
    return found or ["127.0.0.1"]


def _fingerprint(certificate: Path) -> str:
    """Returns the SHA-256 of a certificate as browsers show it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))).hexdigest().upper()
    return ":".join(digest[position : position + 2] for position in range(0, len(digest), 2))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
