"""An evaluation as two figures for print: the curves, and a contact sheet of the maps. Needs matplotlib."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from live_cam.evaluation.plot_style import (
    COLORS,
    GRAY,
    GRID_GRAY,
    WIDTH_INCHES,
    check_figure,
    figure_style,
    save_figure,
)
from live_cam.frame import Explanation
from live_cam.render.overlay import overlay
from live_cam.sources.image import read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from live_cam.evaluation.evaluate import EvaluatedImage, Evaluation, Row

_DOTS_PER_INCH = 200
# Together with the colors, so that lines can be told apart in black and white, too.
_DASHES = ("-", "--", "-.", ":")

_SHEET_COLUMNS = 6
# The height of a printed page without its caption.
_PAGE_INCHES = 9.6
_CELL_WH = (240, 180)
_MAX_NAME_LENGTH = 24
_MAX_LINE_LENGTH = 100
_LINE_INCHES = 0.17
_LETTERS = string.ascii_letters


def check_plot(path: Path, overwrite: bool) -> None:
    """Checks, before anything that takes long, that both figures can be written.

    Raises:
        SettingError: matplotlib is not installed, or the file type is unknown.
        SinkError: The files cannot be written, or exist.
    """
    check_figure(path, overwrite)
    check_figure(sheet_path(path), overwrite)


def sheet_path(path: Path) -> Path:
    """Returns the file name of the contact sheet: ``plot-maps.png`` for ``plot.png``."""
    return path.with_name(f"{path.stem}-maps{path.suffix}")


def write_plots(path: Path, evaluation: Evaluation, overwrite: bool = False) -> None:
    """Writes the curves to ``path``, and the contact sheet to ``sheet_path(path)``.

    Args:
        path: See ``check_plot``.
        evaluation: What is drawn.
        overwrite: Whether existing files may be replaced.

    Raises:
        SinkError: A file cannot be written.
    """
    with figure_style():
        save_figure(curve_figure(evaluation), path, _DOTS_PER_INCH, overwrite)
        save_figure(contact_sheet(evaluation), sheet_path(path), _DOTS_PER_INCH, overwrite)


def curve_figure(evaluation: Evaluation) -> Figure:
    """Draws the confidence over the part of the image that was deleted, and inserted: the mean of all images."""
    from matplotlib.figure import Figure

    rows = (*evaluation.rows, evaluation.baseline)
    line_count = sum(1 + _row_label(row, "a").count("\n") for row in rows)
    figure = Figure(figsize=(WIDTH_INCHES, 2.8 + _LINE_INCHES * line_count), layout="constrained")
    deletion, insertion = figure.subplots(1, 2, sharey=True)
    for axes, name, title in (
        (deletion, "deletion", "Deletion (lower is better)"),
        (insertion, "insertion", "Insertion (higher is better)"),
    ):
        for row, letter, style in zip(rows, _LETTERS, _line_styles(len(evaluation.rows)), strict=False):
            curve = row.mean_curve(name)
            axes.plot(np.linspace(0, 100, len(curve)), curve, label=_row_label(row, letter), **style)
        axes.set(title=title, xlabel=f"pixels {name[:-3]}ed, hottest first (%)", xlim=(0, 100))
        axes.grid(color=GRID_GRAY, linewidth=0.5)
        axes.set_axisbelow(True)
    deletion.set_ylim(0, None)  # Of both, once all curves are drawn.
    count = len(evaluation.images)
    deletion.set_ylabel(f"probability of the explained class\n(mean of {count} image{'s' * (count > 1)})")
    figure.legend(*deletion.get_legend_handles_labels(), loc="outside lower center", ncols=1, handlelength=3)
    return figure


def _line_styles(row_count: int) -> list[dict[str, Any]]:
    styles: list[dict[str, Any]] = [
        {"color": COLORS[index % len(COLORS)], "linestyle": _DASHES[index % len(_DASHES)], "linewidth": 1.4}
        for index in range(row_count)
    ]
    return [*styles, {"color": GRAY, "linestyle": (0, (1, 1)), "linewidth": 1.2}]


def _row_label(row: Row, letter: str) -> str:
    """Returns the letter that both figures use for the row, its method and its layers, wrapped to lines that fit."""
    if not row.layer:
        return "random maps"
    text = f"({letter}) {row.method}, {row.layer.replace(',', ' + ')}"
    return "\n      ".join(textwrap.wrap(text, _MAX_LINE_LENGTH, break_on_hyphens=False))


def contact_sheet(evaluation: Evaluation) -> Figure:
    """Draws images, with the map of each row below them, in six columns.

    If there are more images than fit on a page, they are a regular sample of all.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = evaluation.rows
    cells_down = 1 + len(rows)
    cell_inches = WIDTH_INCHES / _SHEET_COLUMNS
    band_inches = cells_down * cell_inches * _CELL_WH[1] / _CELL_WH[0] + 0.35
    chosen = _evenly(len(evaluation.images), _SHEET_COLUMNS * max(1, int(_PAGE_INCHES / band_inches)))
    bands = -(-len(chosen) // _SHEET_COLUMNS)
    key = "\n".join(map(_row_label, rows, _LETTERS))
    height_inches = bands * band_inches + _LINE_INCHES * (key.count("\n") + 2)
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout)
    grid = figure.subplots(bands * cells_down, _SHEET_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for position, index in enumerate(chosen):
        band, column = divmod(position, _SHEET_COLUMNS)
        cells = list(grid[band * cells_down : (band + 1) * cells_down, column])
        _draw_image(cells, evaluation.images[index], [row.scores[index].heatmap for row in rows])
        if column == 0:
            for axes, letter in zip(cells[1:], _LETTERS, strict=False):
                axes.text(-0.03, 0.5, f"({letter})", transform=axes.transAxes, ha="right", va="center")
    figure.supxlabel(key, fontsize=7, multialignment="left")
    return figure


def _evenly(count: int, wanted: int) -> list[int]:
    """Returns at most ``wanted`` of ``count`` indices, evenly spaced, including the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)).tolist()


def _draw_image(cells: Sequence[Axes], evaluated: EvaluatedImage, heatmaps: Sequence[np.ndarray]) -> None:
    image = _fit_cell(read_image(evaluated.path))
    explained = evaluated.explained
    name = (
        explained.label if len(explained.label) <= _MAX_NAME_LENGTH else f"{explained.label[: _MAX_NAME_LENGTH - 1]}…"
    )
    cells[0].set_title(f"{name}\n{100 * (explained.probability or 0):.0f} %", fontsize=6.5, pad=2)
    overlays = [overlay(image, Explanation((), explained, heatmap, evaluated.region_xywh)) for heatmap in heatmaps]
    for axes, pixels in zip(cells, [image, *overlays], strict=True):
        axes.imshow(_center_in_cell(pixels)[..., ::-1], interpolation="antialiased")


def _fit_cell(image: np.ndarray) -> np.ndarray:
    """Returns the image in the largest size that fits into a cell."""
    scale = min(cell / side for cell, side in zip(_CELL_WH, image.shape[1::-1], strict=True))
    size_wh = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _center_in_cell(pixels: np.ndarray) -> np.ndarray:
    """Returns a white cell with the image in its center, so that images of different shapes are aligned."""
    cell = np.full((_CELL_WH[1], _CELL_WH[0], 3), 255, np.uint8)
    height, width = pixels.shape[:2]
    top, left = (_CELL_WH[1] - height) // 2, (_CELL_WH[0] - width) // 2
    cell[top : top + height, left : left + width] = pixels
    return cell
