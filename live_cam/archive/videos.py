"""Finds the videos that words of the command line mean."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from live_cam.errors import SourceError
from live_cam.sources.address import files_below, is_url, names_for, path_of

# Files in folders with other suffixes are not tried.
VIDEO_SUFFIXES = tuple(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "divx", "f4v", "flv", "gif", "m2ts", "m2v", "m4v", "mj2", "mkv", "mov", "mp4", "mpeg"),
        *("mpg", "mts", "mxf", "ogv", "ts", "vob", "webm", "wmv", "y4m"),
    )
)
_LIST_SUFFIX = ".txt"
_LARGEST_LIST_BYTES = 64 << 20


def videos_of(words: Sequence[str], index: Path) -> list[str]:
    """Returns the absolute paths of all videos, each once, sorted; symbolic links keep their own names.

    Args:
        words: Videos, folders, patterns, and text files with a video or folder per line.
        index: A folder whose videos do not count: the annotated ones of an earlier run.

    Raises:
        SourceError: A word means nothing, or there is no video at all.
    """
    videos = {os.path.abspath(video) for word in words for video in _videos_of(word)}  # noqa: PTH100 - links are kept
    own_start = os.path.join(os.path.abspath(index), "")  # noqa: PTH100, PTH118 - ends in a slash
    outside = {video for video in videos if not video.startswith(own_start)}
    if videos and not outside:
        raise SourceError(f"all videos are in {index}, which is to be the index; give another folder for it")
    if not videos:
        raise SourceError(f"{', '.join(words)}: no video there; videos end in {', '.join(VIDEO_SUFFIXES)}")
    return sorted(outside)


def _videos_of(word: str) -> Iterator[str]:
    _refuse_url(word)
    for name in names_for(str(path_of(word))):
        path = Path(name)
        if path.is_dir():
            yield from _videos_in(path)
        elif path.suffix.lower() == _LIST_SUFFIX:
            yield from _videos_listed(path)
        elif os.path.lexists(path):
            yield name
        else:
            raise SourceError(f"no such file: {name}")


def _refuse_url(word: str) -> None:
    if is_url(word):
        raise SourceError(f"{word.partition('://')[0]}:// addresses cannot be archived; save the video as a file first")


def _videos_in(folder: Path) -> Iterator[str]:
    """Yields the videos below a folder, and folders that cannot be opened: they fail later, as videos do."""
    unreadable: list[str] = []
    for path in files_below(folder, lambda error: unreadable.append(error.filename)):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            yield str(path)
    yield from unreadable


def _videos_listed(file: Path) -> Iterator[str]:
    """Yields the videos in a list; one that does not exist fails later, so that the others are explained."""
    try:
        if file.stat().st_size > _LARGEST_LIST_BYTES:
            raise SourceError(f"{file} is larger than {_LARGEST_LIST_BYTES >> 20} MB; it should name a video per line")
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"cannot read the list {file}: {error.strerror}") from None
    if "\0" in text:
        raise SourceError(f"{file} is not a text file; it should name a video per line")
    for line in text.split("\n"):
        name = line.strip()
        if name:
            _refuse_url(name)
            # Unlike Path.is_dir, this is False for a name that is too long.
            yield from _videos_in(Path(name)) if os.path.isdir(name) else [name]  # noqa: PTH112


def problem_of(path: str) -> str | None:
    """Returns why a file need not be tried; None if it may be a video."""
    if valid_text(path) != path:
        return f"{valid_text(path)} has a name that is not UTF-8; rename it"
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"cannot open {path}: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"cannot open the folder {path}; check its permissions"
    return None if stat.S_ISREG(mode) else f"{path} is a device or a pipe, not a file"


def valid_text(path: str) -> str:
    """Returns a path as text that UTF-8 can encode."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """Returns text without control characters, which names of files may have."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda character: repr(character[0])[1:-1], valid_text(text))
