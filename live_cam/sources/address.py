"""Files and addresses apart, and addresses as they may be shown: without what opens a door."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_HIDDEN = "***"
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_AUTHORITY = re.compile(r"(?<=://)[^/?#]*")
# A password with a slash in it, which should have been written %2F: no port is spelled like that.
_BROKEN_USER_INFO = re.compile(r"(?<=://)[^/?#@:]*:(?!\d*[/?#])[^?#]*@")
_PARAMETER = re.compile(r"([?&;#])([^=&;#?]*)=([^&;#]*)")
_SECRET_NAME = re.compile(r"user|usr|login|pass|pwd|pw$|token|key|auth|secret|sig|cred|session|sid$|jwt", re.IGNORECASE)
_ADDRESS_WITH_USER = re.compile(r"://[^/?#]*@")


def is_url(path_or_url: str | Path) -> bool:
    """Whether this names something elsewhere, not a file of this machine."""
    scheme = _SCHEME.match(str(path_or_url))
    return scheme is not None and scheme[1].lower() != "file"


def path_of(path_or_url: str | Path) -> Path | None:
    """The file of this machine; None for an address."""
    return None if is_url(path_or_url) else Path(re.sub(r"^file://", "", str(path_or_url)))


def display_name(path_or_url: str | Path) -> str:
    """The path or address as the user knows it, with ``***`` for user names, passwords and keys."""
    if not is_url(path_or_url):
        return str(path_or_url)
    shown = _BROKEN_USER_INFO.sub(f"{_HIDDEN}@", _AUTHORITY.sub(_shown_authority, str(path_or_url), count=1), count=1)
    return _PARAMETER.sub(_shown_parameter, shown)


def _shown_authority(authority: re.Match[str]) -> str:
    # The @ behind a password is written %40 by those who encode too much.
    _, at, host = authority[0].replace("%40", "@").rpartition("@")
    return f"{_HIDDEN}@{host}" if at else authority[0]


def _shown_parameter(parameter: re.Match[str]) -> str:
    before, name, value = parameter.groups()
    is_secret = _SECRET_NAME.search(unquote(name)) or _ADDRESS_WITH_USER.search(unquote(value))
    return f"{before}{name}={_HIDDEN if is_secret else value}"
