"""The errors that livecam raises for its users, and checks of arguments; any other exception is a bug in livecam.

    LiveCamError
    ├── SourceError    a camera, video, image or stream cannot be opened or read
    ├── SinkError      an output cannot be written
    ├── DisplayError   no window can be opened
    ├── ModelError     a model, its weights or its labels cannot be used
    └── SettingError   an option or argument has an invalid value

A message is one line that says what failed, why, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class LiveCamError(Exception):
    """Base class of all errors that a user can cause or fix."""


class SourceError(LiveCamError):
    """A source cannot be opened, or failed while it was read."""


class SinkError(LiveCamError):
    """An output cannot be created or written."""


class DisplayError(LiveCamError):
    """No window can be opened: there is no screen, or this build of OpenCV has no windows."""


class ModelError(LiveCamError):
    """A model, its weights or its labels cannot be used."""


class SettingError(LiveCamError):
    """An option or argument has an invalid value."""


def unknown_name(
    kind: str, name: object, known: Iterable[str], *, likeness: float = 0.5, more: str = "..."
) -> SettingError:
    """Returns the error for a name that is not in a table; its message suggests the nearest known names.

    Args:
        kind: What the name stands for: "model", "layer", "colormap".
        name: The value that was given; of any type.
        known: All valid names, in the order in which they are listed if none is near.
        likeness: How near a known name must be, in [0, 1]. Among many names, there is always one that is a little.
        more: What ends the list if it is not complete.
    """
    known = list(known)
    listed = ", ".join(known[:12]) + (f", {more}" if len(known) > 12 else "")
    if not isinstance(name, str):
        return SettingError(f"{kind} must be a name, not {type(name).__name__}; there are: {listed}")
    name_by_lower_case = {valid.lower(): valid for valid in known}
    matches = difflib.get_close_matches(name.lower(), name_by_lower_case, n=3, cutoff=likeness)
    if matches:
        near = " or ".join(name_by_lower_case[match] for match in matches)
        return SettingError(f"unknown {kind} {name!r}; did you mean {near}?")
    return SettingError(f"unknown {kind} {name!r}; there are: {listed}")


def check_number(name: str, value: Any, lowest: float, *, is_whole: bool = False, is_above: bool = False) -> None:
    """Checks that an argument is None or a finite number that is ``lowest`` or more; with ``is_above``, only more.

    Raises:
        SettingError: It is something else.
    """
    kind = Integral if is_whole else Real
    is_number = isinstance(value, kind) and not isinstance(value, bool) and lowest <= float(value) < float("inf")
    if value is not None and (not is_number or (is_above and value == lowest)):
        allowed = f"above {lowest}" if is_above else f"of {lowest} or more"
        raise SettingError(f"{name} must be a {'whole ' if is_whole else ''}number {allowed}, not {value!r:.60}")


def check_type(name: str, value: Any, *kinds: type) -> None:
    """Checks that an argument is of one of several types.

    Raises:
        SettingError: It is of another type.
    """
    if not isinstance(value, kinds):
        expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise SettingError(f"{name} must be {expected}, not {value!r:.60}")
