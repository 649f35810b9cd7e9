"""An evaluation as two figures fit for print: the curves, and a contact sheet of the maps. Needs matplotlib."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from live_cam.figures import COLOURS, GREY, GRID_GREY, WIDTH_INCHES, check_figure, figure_style, save_figure
from live_cam.frame import Explanation
from live_cam.render.overlay import overlay
from live_cam.sources.image import read_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from live_cam.evaluation.evaluate import Evaluation, Picture, Row

_DOTS_PER_INCH = 200
# With the colours: to tell lines apart in grey print too.
_DASHES = ("-", "--", "-.", ":")

_SHEET_COLUMNS = 6
# What is left of a printed page above its caption.
_PAGE_INCHES = 9.6
_CELL_WH = (240, 180)
_LONGEST_NAME = 24
_LINE_LENGTH = 100
_LINE_INCHES = 0.17
_LETTERS = string.ascii_letters


def check_plot(path: Path, overwrite: bool) -> None:
    """Checks, before a long run, that both figures can be made.

    Raises:
        SettingError: matplotlib is not installed, or it knows no such kind of file.
        SinkError: The files cannot be written, or exist.
    """
    for one in (path, sheet_path(path)):
        check_figure(one, overwrite, "--plot")


def sheet_path(path: Path) -> Path:
    """``plot.png`` -> ``plot-maps.png``: where the contact sheet goes."""
    return path.with_name(f"{path.stem}-maps{path.suffix}")


def write_plots(path: Path, evaluation: Evaluation, overwrite: bool = False) -> None:
    """Draws the curves to ``path`` and the contact sheet beside it.

    Args:
        path: See ``check_plot``.
        evaluation: What was measured.
        overwrite: Whether existing files may be replaced.

    Raises:
        SinkError: They cannot be written.
    """
    with figure_style():
        save_figure(curve_figure(evaluation), path, _DOTS_PER_INCH, overwrite)
        save_figure(contact_sheet(evaluation), sheet_path(path), _DOTS_PER_INCH, overwrite)


def curve_figure(evaluation: Evaluation) -> Figure:
    """Confidence against the share of the picture that was deleted, and inserted: the mean of all pictures."""
    from matplotlib.figure import Figure

    rows = (*evaluation.rows, evaluation.baseline)
    line_count = sum(1 + _named(row, "a").count("\n") for row in rows)
    figure = Figure(figsize=(WIDTH_INCHES, 2.8 + _LINE_INCHES * line_count), layout="constrained")
    deletion, insertion = figure.subplots(1, 2, sharey=True)
    for axes, name, title in (
        (deletion, "deletion", "Deletion (lower is better)"),
        (insertion, "insertion", "Insertion (higher is better)"),
    ):
        for row, letter, style in zip(rows, _LETTERS, _line_styles(len(evaluation.rows)), strict=False):
            curve = row.mean_curve(name)
            axes.plot(np.linspace(0, 100, len(curve)), curve, label=_named(row, letter), **style)
        axes.set(title=title, xlabel=f"pixels {name[:-3]}ed, hottest first (%)", xlim=(0, 100), ylim=(0, None))
        axes.grid(color=GRID_GREY, linewidth=0.5)
        axes.set_axisbelow(True)
    count = len(evaluation.pictures)
    deletion.set_ylabel(f"probability of the explained class\n(mean of {count} picture{'s' * (count > 1)})")
    figure.legend(*deletion.get_legend_handles_labels(), loc="outside lower center", ncols=1, handlelength=3)
    return figure


def _line_styles(row_count: int) -> list[dict[str, Any]]:
    styles: list[dict[str, Any]] = [
        {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[index % len(_DASHES)], "linewidth": 1.4}
        for index in range(row_count)
    ]
    return [*styles, {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.2}]


def _named(row: Row, letter: str) -> str:
    """The row's letter, by which both figures know it, its method and its layers, broken into lines that fit."""
    if not row.layer:
        return "random maps"
    text = f"({letter}) {row.method}, {row.layer.replace(',', ' + ')}"
    return "\n      ".join(textwrap.wrap(text, _LINE_LENGTH, break_on_hyphens=False))


def contact_sheet(evaluation: Evaluation) -> Figure:
    """A picture and below it its map by every row, six abreast; as many as fit on a page, evenly chosen."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = evaluation.rows
    cells_down = 1 + len(rows)
    cell_inches = WIDTH_INCHES / _SHEET_COLUMNS
    band_inches = cells_down * cell_inches * _CELL_WH[1] / _CELL_WH[0] + 0.35
    chosen = _evenly(len(evaluation.pictures), _SHEET_COLUMNS * max(1, int(_PAGE_INCHES / band_inches)))
    bands = -(-len(chosen) // _SHEET_COLUMNS)
    key = "\n".join(map(_named, rows, _LETTERS))
    height_inches = bands * band_inches + _LINE_INCHES * (key.count("\n") + 2)
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout)
    grid = figure.subplots(bands * cells_down, _SHEET_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, index in enumerate(chosen):
        band, column = divmod(position, _SHEET_COLUMNS)
        cells = list(grid[band * cells_down : (band + 1) * cells_down, column])
        _draw_picture(cells, evaluation.pictures[index], [row.scores[index].heatmap for row in rows])
        if column == 0:
            for axes, letter in zip(cells[1:], _LETTERS, strict=False):
                axes.text(-0.03, 0.5, f"({letter})", transform=axes.transAxes, ha="right", va="center")
    figure.supxlabel(key, fontsize=7, multialignment="left")
    return figure


def _evenly(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` of ``count`` positions, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)).tolist()


def _draw_picture(cells: Sequence[Axes], picture: Picture, heatmaps: Sequence[np.ndarray]) -> None:
    image = _small(read_picture(picture.path))
    explained = picture.explained
    name = explained.label if len(explained.label) <= _LONGEST_NAME else f"{explained.label[: _LONGEST_NAME - 1]}…"
    cells[0].set_title(f"{name}\n{100 * (explained.probability or 0):.0f} %", fontsize=6.5, pad=2)
    shown = [overlay(image, Explanation((), explained, one, picture.region_xywh)) for one in heatmaps]
    for axes, pixels in zip(cells, [image, *shown], strict=True):
        axes.imshow(_on_cell(pixels)[..., ::-1], interpolation="antialiased")


def _small(image: np.ndarray) -> np.ndarray:
    """The picture as large as it fits into a cell."""
    scale = min(cell / side for cell, side in zip(_CELL_WH, image.shape[1::-1], strict=True))
    size_wh = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _on_cell(pixels: np.ndarray) -> np.ndarray:
    """In the middle of a white cell: upright and wide pictures then stand in straight rows."""
    cell = np.full((_CELL_WH[1], _CELL_WH[0], 3), 255, np.uint8)
    height, width = pixels.shape[:2]
    top, left = (_CELL_WH[1] - height) // 2, (_CELL_WH[0] - width) // 2
    cell[top : top + height, left : left + width] = pixels
    return cell
