"""Who may use the server: the token, and the credentials that show that a client has it."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import Response

from live_cam.errors import SettingError

COOKIE_SECONDS = 30 * 24 * 3600

# What a URL's fragment, a header and a shell take as it is. Eight characters withstand 100 guesses a second.
_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~-]{8,128}")


def new_token() -> str:
    """Returns a random token: 32 characters that need no quoting in a URL."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True)
class AccessSettings:
    """Token, port and host names of the server.

    Attributes:
        token: What clients must know; 8 to 128 letters, digits, "-", ".", "_" or "~". Not in the object's repr.
        port: The port of the server, part of the cookie's name: a browser sends a host's cookies to all its ports.
        allowed_hosts: Host names that a request may be for, besides the address at which it arrives.
        is_tls: Whether the server speaks https.

    Raises:
        SettingError: The token is too short, too long, or has other characters.
    """

    token: str = field(repr=False)
    port: int
    allowed_hosts: frozenset[str] = frozenset()
    is_tls: bool = False

    def __post_init__(self) -> None:
        if not _TOKEN_PATTERN.fullmatch(self.token):
            raise SettingError(
                "the token must have 8 to 128 letters, digits, '-', '.', '_' or '~'; leave --token out for a random one"
            )

    @property
    def cookie_name(self) -> str:
        """Name of the cookie that a login sets."""
        return f"livecam-{self.port}"

    @property
    def cookie_value(self) -> str:
        """Value of that cookie: derived from the token, so that it outlives a restart, but not usable as the token."""
        return hmac.new(self.token.encode(), b"livecam login cookie", "sha256").hexdigest()

    def is_token(self, offered: str) -> bool:
        """Returns whether that is the token; takes equally long for each wrong one of a length."""
        return _are_equal(offered, self.token)


def has_authorization(headers: Headers, access: AccessSettings) -> bool:
    """Returns whether a request has the token as ``Authorization: Bearer``, or as the password of ``Basic``."""
    scheme, _, value = joined_header(headers, "authorization").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return access.is_token(value)
    return scheme.lower() == "basic" and access.is_token(_basic_password(value))


def has_login_cookie(headers: Headers, access: AccessSettings) -> bool:
    """Returns whether a request has the cookie of a login with this token."""
    return any(
        name == access.cookie_name and _are_equal(value, access.cookie_value) for name, value in _cookies(headers)
    )


def set_login_cookie(response: Response, access: AccessSettings) -> None:
    """Adds the cookie that stands for the token to a response."""
    response.set_cookie(
        access.cookie_name,
        access.cookie_value,
        max_age=COOKIE_SECONDS,
        path="/",
        secure=access.is_tls,
        httponly=True,
        samesite="strict",
    )


def joined_header(headers: Headers, name: str) -> str:
    """Returns a header's value, "" without one; a repeated one is joined with commas, so that it matches nothing."""
    return ", ".join(headers.getlist(name))


def _cookies(headers: Headers) -> Iterator[tuple[str, str]]:
    for cookie in headers.get("cookie", "").split(";"):
        name, _, value = cookie.partition("=")
        yield name.strip(), value.strip()


def _basic_password(credentials: str) -> str:
    """Returns the password in a value of ``Authorization: Basic``, "" where it is damaged; any user name will do."""
    try:
        decoded = base64.b64decode(credentials.encode(), validate=True)
    except binascii.Error:
        return ""
    return decoded.partition(b":")[2].decode("latin-1")


def _are_equal(offered: str, expected: str) -> bool:
    # As bytes: compare_digest takes text only if it is ASCII. JSON may hold lone surrogates.
    return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), expected.encode())
