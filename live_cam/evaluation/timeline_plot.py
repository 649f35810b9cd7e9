"""A sidecar as a figure for print: what the network saw, when and where. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from live_cam.evaluation.plot_style import (
    COLORS,
    GRAY,
    GRID_GRAY,
    LIGHT_COLORS,
    WIDTH_INCHES,
    check_figure,
    figure_style,
    save_figure,
)
from live_cam.evaluation.timeline import Timeline, read_timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_DOTS_PER_INCH = 300
_CLASS_COUNT = 5
# More steps cannot be told apart in print. Each is the median of its frames, in a band that holds 80 % of them.
_MAX_STEPS = 240
_BAND_PERCENT = (10, 90)

_THUMBNAIL_COUNT = 7
_THUMBNAIL_PIXELS_WIDE = 300
_GAP_SHARE = 0.04

_SCORE_INCHES, _STRIP_INCHES, _PLACE_INCHES = 1.7, 0.2, 0.62
# Space left of the axes; and above and below them, for the legend, the time axis and the notes.
_EDGE_INCHES, _LEGEND_AND_FOOT_INCHES = 0.75, 1.2
_LABEL_SIZE = 7.5
# A little less than the width of the axes: a wider legend would make them narrower.
_LEGEND_INCHES = 0.95 * (WIDTH_INCHES - _EDGE_INCHES)
# Mean width of a character of that size.
_LETTER_INCHES = 0.058
_MAX_NAME_LENGTH = 26


@dataclass(frozen=True, eq=False)
class Steps:
    """A curve reduced to few points: (n,) float64 each, NaN where most of a step's frames have no value."""

    times_seconds: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot_timeline(sidecar: Path, path: Path, video: Path | None = None, overwrite: bool = False) -> None:
    """Draws a sidecar over time.

    Args:
        sidecar: A sidecar, as JSON lines or CSV.
        path: File name of the figure: .png, .pdf, .svg or .jpg.
        video: The video that the sidecar describes, for thumbnails above the curves.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SettingError: matplotlib is not installed, or the file type is unknown.
        SourceError: The sidecar or the video cannot be read.
        SinkError: The figure cannot be written, or exists.
    """
    check_figure(path, overwrite)
    timeline = read_timeline(sidecar)
    thumbnails = [] if video is None else thumbnails_of(timeline, video)
    with figure_style():
        save_figure(timeline_figure(timeline, thumbnails), path, _DOTS_PER_INCH, overwrite)


def timeline_figure(timeline: Timeline, thumbnails: Sequence[tuple[int, np.ndarray]] = ()) -> Figure:
    """Draws scores, the explained class, and where its evidence lies, below thumbnails if there are any.

    Args:
        timeline: What is drawn.
        thumbnails: Pairs of a frame's index in the timeline and its image, (height, width, 3) uint8 BGR, all of one
            size.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [_SCORE_INCHES, _STRIP_INCHES, _PLACE_INCHES, _PLACE_INCHES, _PLACE_INCHES]
    if thumbnails:
        heights.insert(0, _thumbnail_inches(thumbnails[0][1]))
    layout = ConstrainedLayoutEngine(h_pad=0.02, hspace=0.02, rect=(0, 0.05, 1, 0.95))
    size_inches = (WIDTH_INCHES, sum(heights) + _LEGEND_AND_FOOT_INCHES)
    figure = Figure(figsize=size_inches, dpi=_DOTS_PER_INCH, layout=layout)
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    scores, strip, across, down, strength = rows[-5:]
    classes = timeline.leading_classes(_CLASS_COUNT)
    color_of = dict(zip(classes, COLORS, strict=False))
    if thumbnails:
        _draw_thumbnails(rows[0], timeline, thumbnails)
    _draw_scores(scores, timeline, color_of)
    _draw_explained(strip, timeline, color_of)
    _draw_place(across, timeline, 0, ("left", "right"), "horizontal")
    _draw_place(down, timeline, 1, ("top", "bottom"), "vertical")
    _draw_strength(strength, timeline)
    strength.set(xlabel="time (s)", xlim=_limits(timeline))
    figure.text(0.01, 0.004, _notes(timeline, bool(thumbnails)), size=5.5, color=GRAY, va="bottom")
    figure.align_ylabels(rows.tolist())
    return figure


def _notes(timeline: Timeline, has_thumbnails: bool) -> str:
    center = "line and ring" if has_thumbnails else "line"
    has_bands = len(timeline.times_seconds) > _MAX_STEPS
    bands = " Curves are medians of frames; 80 % lie in the bands of probability and peak." if has_bands else ""
    return (
        f"Curves end where a class is not among the best {timeline.class_indices.shape[1]}. Horizontal, vertical: the "
        f"center of the evidence ({center}) in a band\nas wide as a square of the area above half of the peak. Peak: "
        f"the map's maximum, in units of the score.{bands}"
    )


def steps_of(times_seconds: np.ndarray, values: np.ndarray) -> Steps:
    """Reduces a curve to at most ``_MAX_STEPS`` steps: the median of each step's frames, and a band around it."""
    parts = np.array_split(np.arange(len(values)), min(len(values), _MAX_STEPS))
    rows = []
    for part in parts:
        known = values[part][~np.isnan(values[part])]
        is_empty = len(known) == 0 or 2 * len(known) < len(part)
        rows.append((np.nan,) * 3 if is_empty else np.percentile(known, (50, *_BAND_PERCENT)))
    middle, low, high = np.array(rows, np.float64).T
    return Steps(np.array([times_seconds[part].mean() for part in parts]), middle, low, high)


def _limits(timeline: Timeline) -> tuple[float, float]:
    times = timeline.times_seconds
    first, last = float(times[0]), float(times[-1])
    return (first, last) if last > first else (first - 0.5, first + 0.5)


def _draw_curve(axes: Axes, steps: Steps, color: str, width_points: float = 1.2) -> Line2D:
    axes.fill_between(steps.times_seconds, steps.low, steps.high, color=color, alpha=0.2, linewidth=0)
    (line,) = axes.plot(steps.times_seconds, steps.middle, color=color, linewidth=width_points, solid_joinstyle="round")
    return line


def _draw_scores(axes: Axes, timeline: Timeline, color_of: dict[int, str]) -> None:
    steps = {index: steps_of(timeline.times_seconds, timeline.scores_of(index)) for index in color_of}
    curves = [_draw_curve(axes, steps[index], color) for index, color in color_of.items()]
    axes.grid(color=GRID_GRAY, linewidth=0.5)
    axes.set_axisbelow(True)
    if timeline.are_probabilities:
        highest = max((float(np.nanmax(curve.high, initial=0)) for curve in steps.values()), default=0)
        axes.set(ylabel="probability", ylim=(0, min(1.03, 1.1 * highest + 0.02)))
    else:
        axes.set_ylabel("value")
    _name_curves(axes, curves, [_shortened(timeline.labels[index]) for index in color_of])


def _name_curves(axes: Axes, curves: Sequence[Line2D], names: Sequence[str]) -> None:
    """Draws a legend above the axes, in as few rows as fit their width."""
    for row_count in range(1, len(names) + 1):
        legend = axes.legend(
            curves,
            [""] * len(names),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=ceil(len(names) / row_count),
            fontsize=_LABEL_SIZE,
            handlelength=1.4,
            borderpad=0,
            borderaxespad=0.4,
        )
        for text, name in zip(legend.get_texts(), names, strict=True):
            # Set afterwards: a legend leaves out names that begin with "_", and takes text between "$" for a formula.
            text.set(text=name, parse_math=False)
        if legend.get_window_extent().width <= _LEGEND_INCHES * axes.figure.dpi:
            return


def _draw_explained(axes: Axes, timeline: Timeline, color_of: dict[int, str]) -> None:
    first, last = _limits(timeline)
    inches_per_second = (WIDTH_INCHES - _EDGE_INCHES) / (last - first)
    times = [*timeline.times_seconds.tolist(), last]
    for begin, end, index in timeline.explained_runs():
        axes.axvspan(times[begin], times[end], color=color_of.get(index, GRAY), linewidth=0)
        name = _shortened(timeline.labels[index])
        if (times[end] - times[begin]) * inches_per_second > (len(name) + 1) * _LETTER_INCHES:
            middle = (times[begin] + times[end]) / 2
            ink = "black" if color_of.get(index) in LIGHT_COLORS else "white"
            axes.text(
                middle, 0.5, name, color=ink, size=_LABEL_SIZE, parse_math=False, ha="center", va="center_baseline"
            )
    axes.set(ylim=(0, 1), yticks=[0.5], yticklabels=["explained"])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_place(axes: Axes, timeline: Timeline, axis: int, ends: tuple[str, str], title: str) -> None:
    """Draws the center of the evidence along one side of the frame, in a band as wide as the evidence."""
    centers = steps_of(timeline.times_seconds, timeline.centroids_xy[:, axis])
    # The band is as wide as a square with the area of the evidence.
    half = steps_of(timeline.times_seconds, np.sqrt(timeline.areas_above_half) / 2).middle
    axes.fill_between(
        centers.times_seconds,
        np.clip(centers.middle - half, 0, 1),
        np.clip(centers.middle + half, 0, 1),
        color=COLORS[0],
        alpha=0.18,
        linewidth=0,
    )
    axes.plot(centers.times_seconds, centers.middle, color=COLORS[0], linewidth=1.1)
    axes.axhline(0.5, color=GRID_GRAY, linewidth=0.5, zorder=0)
    axes.set(ylabel=title, yticks=(0, 1), yticklabels=ends, ylim=(0, 1) if axis == 0 else (1, 0))


def _draw_strength(axes: Axes, timeline: Timeline) -> None:
    _draw_curve(axes, steps_of(timeline.times_seconds, timeline.peaks), "#404040", 1.0)
    axes.set(ylabel="peak", ylim=(0, None))


def _draw_thumbnails(axes: Axes, timeline: Timeline, thumbnails: Sequence[tuple[int, np.ndarray]]) -> None:
    """Draws thumbnails side by side, with a mark at their time and a ring at the center of the evidence."""
    first, last = _limits(timeline)
    cell = (last - first) / len(thumbnails)
    for column, (index, image) in enumerate(thumbnails):
        left, right = first + cell * (column + _GAP_SHARE / 2), first + cell * (column + 1 - _GAP_SHARE / 2)
        axes.imshow(image[..., ::-1], extent=(left, right, 0, 1), aspect="auto", interpolation="antialiased")
        x, y = timeline.centroids_xy[index]
        for color, width_points in (("black", 2.0), ("white", 1.0)):
            axes.plot(left + x * (right - left), 1 - y, "o", ms=6.5, mfc="none", mec=color, mew=width_points)
        axes.plot([timeline.times_seconds[index]] * 2, [-0.08, 0], color=GRAY, linewidth=0.8, clip_on=False)
    axes.set(ylim=(0, 1))
    axes.set_axis_off()


def _thumbnail_inches(image: np.ndarray) -> float:
    cell_inches = (WIDTH_INCHES - _EDGE_INCHES) / _THUMBNAIL_COUNT
    return cell_inches * (1 - _GAP_SHARE) * image.shape[0] / image.shape[1]


def thumbnails_of(timeline: Timeline, video: Path) -> list[tuple[int, np.ndarray]]:
    """Reads frames from the middles of equal parts of the duration.

    Returns:
        Pairs of a frame's index in the timeline and its image.
    """
    from live_cam.sources.video import VideoSource

    first, last = _limits(timeline)
    wanted = first + (np.arange(_THUMBNAIL_COUNT) + 0.5) * (last - first) / _THUMBNAIL_COUNT
    indices = np.unique(np.searchsorted(timeline.times_seconds, wanted, side="right") - 1).clip(0)
    thumbnails = []
    for index in indices.tolist():
        # A little earlier, because times in a sidecar are rounded.
        with VideoSource(video, max(0.0, float(timeline.times_seconds[index]) - 1e-3)) as source:
            frame = source.read()
        if frame is not None:
            thumbnails.append((index, _thumbnail(frame.image)))
    return thumbnails


def _thumbnail(image: np.ndarray) -> np.ndarray:
    scale = _THUMBNAIL_PIXELS_WIDE / image.shape[1]
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 1]}…"
