"""What a viewer can want changed, and the one table of keys, which the help card and the README show as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """What a command changes."""

    QUIT = auto()
    HELP = auto()
    FREEZE = auto()
    CLASS = auto()
    LOCK = auto()
    CONTRAST = auto()
    METHOD = auto()
    LAYER = auto()
    COLORMAP = auto()
    OPACITY = auto()
    SMOOTHING = auto()
    VIEW = auto()
    SNAPSHOT = auto()
    RECORDING = auto()
    FULL_SCREEN = auto()
    DETAIL = auto()
    SPOT = auto()
    NOTHING = auto()


@dataclass(frozen=True)
class Command:
    """A key or a click: what the viewer wants changed.

    Attributes:
        action: What.
        step: Which way, where there are two: 1 or -1.
        spot_xy: Of a click: where in the drawn picture, as fractions of its width and height.
    """

    action: Action
    step: int = 1
    spot_xy: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class KeyRow:
    """One row of the help.

    Attributes:
        shown: The keys as they are written.
        does: What they do.
        commands: By the character a key gives; letters in lower case.
    """

    shown: str
    does: str
    commands: Mapping[str, Command]


KEY_ROWS = (
    KeyRow("h", "these keys", {"h": Command(Action.HELP), "?": Command(Action.HELP)}),
    KeyRow("q Esc", "quit", {"q": Command(Action.QUIT), "\x1b": Command(Action.QUIT)}),
    KeyRow("space", "freeze the picture, or go on", {" ": Command(Action.FREEZE)}),
    KeyRow("n p", "next or previous of the top classes", {"n": Command(Action.CLASS), "p": Command(Action.CLASS, -1)}),
    KeyRow("l", "lock the class, or follow the top one", {"l": Command(Action.LOCK)}),
    KeyRow("x", "contrast with the second class", {"x": Command(Action.CONTRAST)}),
    KeyRow("m", "method", {"m": Command(Action.METHOD)}),
    KeyRow("[ ]", "earlier or later layer", {"[": Command(Action.LAYER, -1), "]": Command(Action.LAYER)}),
    KeyRow("v", "view: overlay, split, heatmap, original", {"v": Command(Action.VIEW)}),
    KeyRow("c", "colour map", {"c": Command(Action.COLORMAP)}),
    KeyRow(
        "+ -",
        "opacity",
        {"+": Command(Action.OPACITY), "=": Command(Action.OPACITY), "-": Command(Action.OPACITY, -1)},
    ),
    KeyRow("s", "smoothing on or off", {"s": Command(Action.SMOOTHING)}),
    KeyRow("w", "save the picture, with a JSON file", {"w": Command(Action.SNAPSHOT)}),
    KeyRow("r", "start or stop recording", {"r": Command(Action.RECORDING)}),
    KeyRow("f", "full screen", {"f": Command(Action.FULL_SCREEN)}),
    KeyRow("i", "figures: few, all, none", {"i": Command(Action.DETAIL)}),
    KeyRow("click", "how much a spot speaks for each class", {}),
)

_COMMANDS = {key: command for row in KEY_ROWS for key, command in row.commands.items()}
# Shift, Ctrl, Caps Lock, Alt and the like, as X11, and with it OpenCV, numbers them.
_MODIFIERS = range(0xFFE1, 0xFFEF)


def command_of_key(code: int) -> Command | None:
    """What a key means.

    Args:
        code: As ``cv2.waitKeyEx`` gives it; -1 where no key was pressed.

    Returns:
        None for no key, and for those that only change others.
    """
    if code == -1 or code in _MODIFIERS:
        return None
    # Above a byte are arrows and the like: their lowest byte may be a letter, the left arrow's a Q.
    is_character = 0 <= code < 0x100
    return _COMMANDS.get(chr(code).lower() if is_character else "", Command(Action.NOTHING))
