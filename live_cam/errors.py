"""Everything that can go wrong for a user, as one tree; anything else that is raised is a bug in livecam.

    LiveCamError
    ├── SourceError    a camera, video, image or stream cannot be opened or read
    ├── SinkError      an output cannot be written
    ├── DisplayError   no screen, or an OpenCV without windows
    ├── ModelError     a model, its weights or its labels cannot be used
    └── SettingError   an option's value makes no sense; the message names the nearest ones that do

A message is one line that says what, why and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LiveCamError(Exception):
    """Base of all errors a user can cause or mend."""


class SourceError(LiveCamError):
    """A source cannot be opened, or broke while it was read."""


class SinkError(LiveCamError):
    """An output cannot be created or written."""


class DisplayError(LiveCamError):
    """A window was asked for and there can be none."""


class ModelError(LiveCamError):
    """A model, its weights or its labels cannot be used."""


class SettingError(LiveCamError):
    """An option's value is not one of those that make sense."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SettingError:
    """The error for a name that is not in a table, with the nearest names that are.

    Args:
        kind: What the name should have been, for the message: "model", "layer", "colormap".
        name: What the user gave.
        known: The names there are, in the order to list them when none is near.
    """
    known = list(known)
    by_folded_name = {one.lower(): one for one in known}
    near = [by_folded_name[one] for one in difflib.get_close_matches(name.lower(), by_folded_name, n=3, cutoff=0.5)]
    if near:
        return SettingError(f"unknown {kind} {name!r}; did you mean {' or '.join(near)}?")
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return SettingError(f"unknown {kind} {name!r}; there are: {listed}")
