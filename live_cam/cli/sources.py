"""The sources that are given as words: ``livecam photos/``, ``livecam 0``."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from live_cam.errors import SettingError, SourceError
from live_cam.sources.address import display_name, is_among, is_pattern, is_url, names_for, path_of
from live_cam.sources.open import Kind, kind_of

_KIND_NAMES = {"webcam": "a camera", "video": "a video", "images": "an image or a folder"}


@dataclass(frozen=True)
class NamedSources:
    """Sources of one kind.

    Attributes:
        kind: What they are.
        names: At least one. Of the kind "webcam": one index.
        are_several: Whether they are or may be several files: several words, a pattern, or a folder.
    """

    kind: Kind
    names: tuple[str, ...]
    are_several: bool = False


def named_sources(words: Sequence[str], commands: Collection[str], written: Collection[Path] = ()) -> NamedSources:
    """Returns what the words are, all of the same kind.

    Args:
        words: Camera indices, paths, patterns and URLs; at least one.
        commands: The names of the commands: the user may have mistyped one.
        written: The outputs. Once they exist, patterns match them, too; what is or lies in one is no source, unless
            nothing else is.

    Raises:
        SourceError: There is no such file.
        SettingError: The words are of several kinds, or several cameras or streams.
    """
    first_of_kind: dict[Kind, str] = {}
    matches = [name for word in words for name in names_for(word)]
    for name in [name for name in matches if not is_among(name, written)] or matches:
        kind = kind_of(name)
        if kind != "webcam":
            _check_exists(name, commands)
        first_of_kind.setdefault(kind, name)
    if len(first_of_kind) > 1:
        (kind, name), (other_kind, other_name) = list(first_of_kind.items())[:2]
        raise SettingError(
            f"{display_name(name)} is {_KIND_NAMES[kind]} and {display_name(other_name)} {_KIND_NAMES[other_kind]}; "
            "give sources of one kind"
        )
    (kind,) = first_of_kind
    if len(words) > 1 and kind == "webcam":
        raise SettingError(f"{len(words)} cameras, and livecam shows one at a time; start it once for each")
    if len(words) > 1 and any(map(is_url, words)):
        raise SettingError("several sources with a URL among them; give one URL at a time, or files only")
    are_several = len(words) > 1 or is_pattern(words[0]) or Path(words[0]).is_dir()
    # A file URL of an image becomes its path; a video is opened by its URL.
    names = (str(path_of(word)) if kind == "images" else word for word in words)
    return NamedSources(kind, tuple(names), are_several)


def _check_exists(name: str, commands: Collection[str]) -> None:
    path = path_of(name)
    if path is None or path.exists():
        return
    near = difflib.get_close_matches(name, commands, n=1)
    hint = f"did you mean the command {near[0]}?" if near else "livecam --help lists the commands"
    is_bare_word = path.name == name and not path.suffix
    raise SourceError(f"no such file: {name}" + (f"; {hint}" if is_bare_word else ""))
