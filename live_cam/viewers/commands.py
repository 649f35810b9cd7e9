"""The commands of a viewer's user, and the table of keys that the window's help and the README show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Action(Enum):
    """Kinds of commands, by what they change."""

    QUIT = auto()
    HELP = auto()
    FREEZE = auto()
    JUMP = auto()
    FRAME = auto()
    POSITION = auto()
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
    """A key or a click.

    Attributes:
        action: What it changes.
        step: 1 for forward or more, -1 for backward or less.
        spot_xy: Of a click: its place in the shown image, as fractions of width and height.
        position: Of a click on the seek bar: the share of the duration, in [0, 1].
    """

    action: Action
    step: int = 1
    spot_xy: tuple[float, float] | None = None
    position: float = 0.0


@dataclass(frozen=True, eq=False)
class KeyRow:
    """One row of the key table.

    Attributes:
        keys: The keys as they are written.
        description: What they do.
        commands: Commands by the character a key gives; letters in lower case.
    """

    keys: str
    description: str
    commands: Mapping[str | int, Command]


# Codes of the arrow keys of X11, Windows and macOS, as OpenCV gives them.
_LEFT, _RIGHT = (0xFF51, 0x250000, 0xF702), (0xFF53, 0x270000, 0xF703)

KEY_GROUPS = {
    "See": (
        KeyRow("h", "show these keys", {"h": Command(Action.HELP), "?": Command(Action.HELP)}),
        KeyRow("q Esc", "quit", {"q": Command(Action.QUIT), "\x1b": Command(Action.QUIT)}),
        KeyRow("space", "freeze or continue; at the end of a file, play it again", {" ": Command(Action.FREEZE)}),
        KeyRow(
            "← →",
            "in a file: five seconds back or forward; also by a click on the bar",
            {**dict.fromkeys(_LEFT, Command(Action.JUMP, -1)), **dict.fromkeys(_RIGHT, Command(Action.JUMP))},
        ),
        KeyRow(
            ", .",
            "in a file: one frame back or forward",
            {",": Command(Action.FRAME, -1), ".": Command(Action.FRAME)},
        ),
        KeyRow("v", "view: overlay, split, grid, heatmap, original", {"v": Command(Action.VIEW)}),
        KeyRow("c", "next colormap", {"c": Command(Action.COLORMAP)}),
        KeyRow(
            "+ -",
            "opacity",
            {"+": Command(Action.OPACITY), "=": Command(Action.OPACITY), "-": Command(Action.OPACITY, -1)},
        ),
        KeyRow("s", "smoothing on or off", {"s": Command(Action.SMOOTHING)}),
        KeyRow("i", "figures: few, all, none", {"i": Command(Action.DETAIL)}),
        KeyRow("f", "full screen", {"f": Command(Action.FULL_SCREEN)}),
    ),
    "Explain": (
        KeyRow(
            "n p", "next or previous of the top classes", {"n": Command(Action.CLASS), "p": Command(Action.CLASS, -1)}
        ),
        KeyRow("l", "lock the class or follow the top class", {"l": Command(Action.LOCK)}),
        KeyRow("x", "contrast: none, second class, similar classes", {"x": Command(Action.CONTRAST)}),
        KeyRow("m", "next method", {"m": Command(Action.METHOD)}),
        KeyRow("[ ]", "earlier or later layer", {"[": Command(Action.LAYER, -1), "]": Command(Action.LAYER)}),
        KeyRow("click", "how strongly a spot speaks for each of the top classes", {}),
    ),
    "Save": (
        KeyRow("w", "save the picture and a JSON file", {"w": Command(Action.SNAPSHOT)}),
        KeyRow("r", "start or stop recording", {"r": Command(Action.RECORDING)}),
    ),
}

KEY_ROWS = tuple(row for rows in KEY_GROUPS.values() for row in rows)

HELP_GROUPS = tuple(
    (heading, tuple((row.keys, row.description) for row in rows)) for heading, rows in KEY_GROUPS.items()
)

_COMMANDS = {key: command for row in KEY_ROWS for key, command in row.commands.items()}
# Shift, Ctrl, Caps Lock, Alt and the like, as X11, and with it OpenCV, numbers them.
_MODIFIERS = range(0xFFE1, 0xFFEF)


def command_of_key(code: int) -> Command | None:
    """Returns what a key means; None for no key and for modifier keys.

    Args:
        code: As ``cv2.waitKeyEx`` returns it; -1 if no key was pressed.
    """
    if code == -1 or code in _MODIFIERS:
        return None
    # Codes above a byte are arrows and the like: their lowest byte may be a letter, the left arrow's a Q.
    key = chr(code).lower() if 0 <= code < 0x100 else code
    return _COMMANDS.get(key, Command(Action.NOTHING))
