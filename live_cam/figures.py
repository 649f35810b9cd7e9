"""What all printed figures share: type, colours, and how a file comes to be. Needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SettingError, SinkError
from live_cam.sinks.partial import check_output, partial_path, put_in_place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
# Two columns of a printed page.
WIDTH_INCHES = 7.0
# Okabe and Ito (2008): told apart with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# On these, black text reads better than white.
LIGHT_COLOURS = COLOURS[3:]
GREY = "#8a8a8a"
GRID_GREY = "#e4e4e4"
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    # Text stays text in a PDF, as journals ask for, and in an SVG.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


def check_figure(path: Path, overwrite: bool, asked_by: str) -> None:
    """Checks, before a long run, that a figure can be made.

    Args:
        path: Its name.
        overwrite: Whether an existing file may be replaced.
        asked_by: The option or command, for the message.

    Raises:
        SettingError: matplotlib is not installed, or it knows no such kind of file.
        SinkError: The file cannot be written, or exists.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError(
            f'{asked_by} needs matplotlib, which is not installed: pip install ".[plot]" in the checkout'
        )
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise SettingError(f"cannot draw {path}; give a name that ends in {', '.join(FIGURE_SUFFIXES)}")
    check_output(path, overwrite)


@contextmanager
def figure_style() -> Iterator[None]:
    """Figures made inside look alike on every machine."""
    import matplotlib

    # From matplotlib's own defaults: a user's settings are for their own plots.
    style: Any = {**dict(matplotlib.rcParamsDefault), **_STYLE}
    with matplotlib.rc_context(style):
        yield


def save_figure(figure: Figure, path: Path, dots_per_inch: int, overwrite: bool) -> None:
    """Draws a figure into a file; where that fails, none is left.

    Raises:
        SinkError: It cannot be written.
    """
    unfinished = partial_path(path)
    try:
        figure.savefig(unfinished, dpi=dots_per_inch, facecolor="white")
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise SinkError(f"cannot write {path}: {error.strerror}") from None
    put_in_place(unfinished, path, overwrite)
