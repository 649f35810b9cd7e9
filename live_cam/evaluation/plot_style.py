"""Fonts, colors and file formats of all figures for print. Needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SettingError
from live_cam.sinks.atomic_file import check_output, new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")
# Two columns of a printed page.
WIDTH_INCHES = 7.0
# Okabe and Ito (2008): color-blind readers can tell them apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Those on which black text is easier to read than white.
LIGHT_COLORS = COLORS[3:]
GRAY = "#8a8a8a"
GRID_GRAY = "#e4e4e4"
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    # Text stays text in PDF files, as journals require, and in SVG files.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


def check_figure(path: Path, overwrite: bool) -> None:
    """Checks, before anything that takes long, that a figure can be written.

    Args:
        path: File name of the figure.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SettingError: matplotlib is not installed, or the file type is unknown.
        SinkError: The file cannot be written, or exists.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError('plots need matplotlib, which is not installed: pip install ".[plot]" in the checkout')
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise SettingError(f"cannot draw {path}; give a name that ends in {', '.join(FIGURE_SUFFIXES)}")
    check_output(path, overwrite)


@contextmanager
def figure_style() -> Iterator[None]:
    """Makes figures that are drawn in the ``with`` block look the same on every machine."""
    import matplotlib

    # From matplotlib's own defaults, without the user's settings.
    style: Any = {**dict(matplotlib.rcParamsDefault), **_STYLE}
    with matplotlib.rc_context(style):
        yield


def save_figure(figure: Figure, path: Path, dots_per_inch: int, overwrite: bool) -> None:
    """Writes a figure to a file; if that fails, no file is left.

    Raises:
        SinkError: The file cannot be written.
    """
    with new_file(path, overwrite) as unfinished:
        figure.savefig(unfinished, dpi=dots_per_inch, facecolor="white")
