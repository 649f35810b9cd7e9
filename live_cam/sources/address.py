"""Paths and URLs: telling them apart, showing them without secrets, and recognizing a file by its content."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from live_cam.errors import SourceError

_HIDDEN = "***"
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_AUTHORITY = re.compile(r"(?<=://)[^/?#]*")
# A password with a slash in it, which should have been written %2F. A port contains digits only.
_BROKEN_USER_INFO = re.compile(r"(?<=://)[^/?#@:]*:(?!\d*[/?#])[^?#]*@")
_PARAMETER = re.compile(r"([?&;#])([^=&;#?]*)=([^&;#]*)")
_SECRET_NAME = re.compile(r"user|usr|login|pass|pwd|pw$|token|key|auth|secret|sig|cred|session|sid$|jwt", re.IGNORECASE)
_URL_WITH_USER = re.compile(r"://[^/?#]*@")
# Enough to notice another video under the same name, and little enough to read before the first frame.
_BLOCK_COUNT = 16
_BLOCK_BYTES = 4096


def is_url(path_or_url: str | Path) -> bool:
    """Returns whether this is a URL of something that is no file of this machine."""
    scheme = _SCHEME.match(str(path_or_url))
    return scheme is not None and scheme[1].lower() != "file"


def path_of(path_or_url: str | Path) -> Path | None:
    """Returns the path of a file of this machine, also of a ``file://`` URL; None for other URLs."""
    return None if is_url(path_or_url) else Path(re.sub(r"^file://", "", str(path_or_url)))


def is_pattern(name: str) -> bool:
    """Returns whether a name has wildcards, such as "clips/*.mp4", and is not the name of a file all the same."""
    # Unlike Path.exists, this is False where a folder cannot be entered.
    return not is_url(name) and glob.escape(name) != name and not os.path.exists(name)  # noqa: PTH110


def names_for(name: str) -> list[str]:
    """Returns the names that a pattern matches, sorted and without hidden ones; of another name, itself.

    Raises:
        SourceError: Nothing matches the pattern, or there is no permission to look into a folder.
    """
    check_permission(name)
    if not is_pattern(name):
        return [name]
    # Windows' shell expands nothing, and no shell expands a quoted pattern. Path.glob takes no absolute pattern and
    # would find hidden files too.
    names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not names:
        raise SourceError(f"{name}: no file matches; check the pattern, and the folder it begins with")
    return names


def files_below(folder: Path, on_unreadable: Callable[[OSError], None], without: Path | None = None) -> Iterator[Path]:
    """Yields the files in a folder and its sub-folders, sorted, without hidden ones.

    Links are followed, but no folder is entered twice.

    Args:
        folder: The folder.
        on_unreadable: Called with the error for each folder that cannot be opened; has its path as ``filename``.
        without: A folder that is left out.
    """
    seen = {folder.resolve(), *(() if without is None else (without.resolve(),))}
    for parent, subfolders, files in os.walk(folder, onerror=on_unreadable, followlinks=True):
        visible = {name: Path(parent, name).resolve() for name in sorted(subfolders) if not name.startswith(".")}
        subfolders.clear()
        for name, real in visible.items():
            if real not in seen:
                seen.add(real)
                subfolders.append(name)
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def is_among(path_or_url: str | Path, paths: Iterable[Path]) -> bool:
    """Returns whether a path is one of several, or lies in one that is a folder, also by links."""
    path = path_of(path_or_url)
    # Unlike Path.resolve, realpath takes links that lead in a circle.
    real = None if path is None else Path(os.path.realpath(path))
    return real is not None and any(real.is_relative_to(os.path.realpath(other)) for other in paths)


def check_permission(name: str) -> None:
    """Checks that one can look whether there is a file of that name; does nothing for URLs.

    Raises:
        SourceError: There is no permission, or the name is too long.
    """
    path = path_of(name)
    try:
        if path is not None:
            path.stat()
    except (FileNotFoundError, NotADirectoryError):  # Reported by whoever needs the file.
        pass
    except OSError as error:
        # A pattern may be longer than a name.
        if isinstance(error, PermissionError) or not is_pattern(name):
            raise SourceError(f"cannot open {name}: {error.strerror}; check the path and its permissions") from None


def display_name(path_or_url: str | Path) -> str:
    """Returns the path, or the URL with ``***`` in place of user names, passwords and keys."""
    if not is_url(path_or_url):
        return str(path_or_url)
    shown = _BROKEN_USER_INFO.sub(f"{_HIDDEN}@", _AUTHORITY.sub(_shown_authority, str(path_or_url), count=1), count=1)
    return _PARAMETER.sub(_shown_parameter, shown)


def _shown_authority(authority: re.Match[str]) -> str:
    # Some programs encode the @ behind a password, too.
    _, at, host = authority[0].replace("%40", "@").rpartition("@")
    return f"{_HIDDEN}@{host}" if at else authority[0]


def _shown_parameter(parameter: re.Match[str]) -> str:
    separator, name, value = parameter.groups()
    is_secret = _SECRET_NAME.search(unquote(name)) or _URL_WITH_USER.search(unquote(value))
    return f"{separator}{name}={_HIDDEN if is_secret else value}"


def fingerprint(path: Path) -> str:
    """Returns a hexadecimal digest of a file's size and of 16 blocks spread over its content.

    The file's name and dates do not count: a copy has the same fingerprint.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest = hashlib.sha256(str(size).encode())
        last_start = max(0, size - _BLOCK_BYTES)
        for start in sorted({last_start * number // (_BLOCK_COUNT - 1) for number in range(_BLOCK_COUNT)}):
            file.seek(start)
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
