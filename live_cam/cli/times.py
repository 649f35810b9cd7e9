"""Times as people write them."""

from __future__ import annotations

import re

import typer

_CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):)?(\d+(?:\.\d*)?|\.\d+)")


def seconds_of(text: str) -> float:
    """Seconds of "90", "90.5", "1:30", "0:01:30.500".

    Raises:
        typer.BadParameter: It is none of these.
    """
    match = _CLOCK.fullmatch(text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60):
        raise typer.BadParameter(f"{text!r} is no time; give seconds (90.5) or hh:mm:ss.fff (0:01:30.500)")
    return 3600 * int(match[1] or 0) + 60 * int(match[2] or 0) + float(match[3])
