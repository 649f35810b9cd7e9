"""A recording on one page: what the network saw in it when, and where. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from live_cam.figures import COLOURS, GREY, GRID_GREY, WIDTH_INCHES, check_figure, figure_style, save_figure
from live_cam.timeline import Timeline, read_timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 300
_CLASS_COUNT = 5
# More steps than that are not told apart in print: then each is the median of its frames, in the band of most.
_MOST_STEPS = 240
_BAND_PERCENT = (10, 90)

_THUMBNAIL_COUNT = 7
_THUMBNAIL_PIXELS_WIDE = 300
_GAP_SHARE = 0.04

_SCORE_INCHES, _STRIP_INCHES, _PLACE_INCHES = 1.7, 0.2, 0.62
_EDGE_INCHES = 0.75
_LABEL_SIZE = 7.5
# Of one character at that size.
_LETTER_INCHES = 0.062
_LONGEST_NAME = 26


@dataclass(frozen=True, eq=False)
class Steps:
    """A curve in few enough points: (n,) float64 each, NaN where most of a step's frames say nothing."""

    times_seconds: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot_timeline(sidecar: Path, path: Path, video: Path | None = None, overwrite: bool = False) -> None:
    """Draws a sidecar over time.

    Args:
        sidecar: What ``--sidecar`` wrote, as JSON lines or CSV.
        path: Of the figure: .png, .pdf, .svg or .jpg.
        video: The recording, for thumbnails above the curves.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SettingError: matplotlib is not installed, or it knows no such kind of file.
        SourceError: The sidecar or the video cannot be read.
        SinkError: The figure cannot be written, or exists.
    """
    check_figure(path, overwrite, "plot")
    timeline = read_timeline(sidecar)
    thumbnails = [] if video is None else _thumbnails(timeline, video)
    with figure_style():
        save_figure(timeline_figure(timeline, thumbnails), path, _DOTS_PER_INCH, overwrite)


def timeline_figure(timeline: Timeline, thumbnails: Sequence[tuple[int, np.ndarray]] = ()) -> Figure:
    """Scores, the explained class, and where its evidence lies, below thumbnails if there are any.

    Args:
        timeline: What to draw.
        thumbnails: Frames by their position in the timeline, (height, width, 3) uint8, BGR, all of one size.
    """
    from matplotlib.figure import Figure

    heights = [_SCORE_INCHES, _STRIP_INCHES, _PLACE_INCHES, _PLACE_INCHES, _PLACE_INCHES]
    if thumbnails:
        heights.insert(0, _thumbnail_inches(thumbnails[0][1]))
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + _EDGE_INCHES), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.02)
    rows = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    scores, strip, across, down, strength = rows[-5:]
    classes = timeline.leading_classes(_CLASS_COUNT)
    colour_of = dict(zip(classes, COLOURS, strict=False))
    if thumbnails:
        _draw_thumbnails(rows[0], timeline, thumbnails)
    _draw_scores(scores, timeline, colour_of)
    _draw_explained(strip, timeline, colour_of)
    _draw_place(across, timeline, 0, ("left", "right"), "horizontal")
    _draw_place(down, timeline, 1, ("top", "bottom"), "vertical")
    _draw_strength(strength, timeline)
    strength.set(xlabel="time (s)", xlim=_limits(timeline))
    figure.align_ylabels(rows.tolist())
    return figure


def steps_of(times_seconds: np.ndarray, values: np.ndarray) -> Steps:
    """At most ``_MOST_STEPS`` points of a curve: the median of each step's frames, and the band that most lie in."""
    parts = np.array_split(np.arange(len(values)), min(len(values), _MOST_STEPS))
    rows = []
    for part in parts:
        known = values[part][~np.isnan(values[part])]
        few = 2 * len(known) < len(part)
        rows.append((np.nan,) * 3 if few or not len(known) else np.percentile(known, (50, *_BAND_PERCENT)))
    middle, low, high = np.array(rows, np.float64).T
    return Steps(np.array([times_seconds[part].mean() for part in parts]), middle, low, high)


def _limits(timeline: Timeline) -> tuple[float, float]:
    times = timeline.times_seconds
    first, last = float(times[0]), float(times[-1])
    return (first, last) if last > first else (first - 0.5, first + 0.5)


def _draw_curve(axes: Axes, steps: Steps, colour: str, width_points: float = 1.2) -> None:
    axes.fill_between(steps.times_seconds, steps.low, steps.high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(steps.times_seconds, steps.middle, color=colour, linewidth=width_points, solid_joinstyle="round")


def _draw_scores(axes: Axes, timeline: Timeline, colour_of: dict[int, str]) -> None:
    curves = {index: steps_of(timeline.times_seconds, timeline.scores_of(index)) for index in colour_of}
    for index, steps in curves.items():
        _draw_curve(axes, steps, colour_of[index])
    axes.grid(color=GRID_GREY, linewidth=0.5)
    axes.set_axisbelow(True)
    if timeline.are_probabilities:
        axes.set(ylabel="probability", ylim=(0, 1.05), yticks=(0, 0.25, 0.5, 0.75, 1))
    else:
        axes.set_ylabel("value")
    _name_curves(axes, timeline, curves, colour_of)


def _name_curves(axes: Axes, timeline: Timeline, curves: dict[int, Steps], colour_of: dict[int, str]) -> None:
    """Writes each class beside its curve, where that hides least."""
    from matplotlib.patheffects import withStroke

    first, last = _limits(timeline)
    bottom, top = axes.get_ylim()
    seconds_per_inch = (last - first) / (WIDTH_INCHES - _EDGE_INCHES)
    height = (top - bottom) * 0.13 / _SCORE_INCHES
    all_times = np.concatenate([steps.times_seconds for steps in curves.values()])
    all_values = np.concatenate([steps.middle for steps in curves.values()])
    taken: list[tuple[float, float]] = []
    widths: list[float] = []
    for index, steps in curves.items():
        name = _short(timeline.labels[index])
        width = len(name) * _LETTER_INCHES * seconds_per_inch
        best = None
        for at, value in zip(steps.times_seconds, steps.middle, strict=True):
            left = min(max(at - width / 2, first), last - width)
            for low in (value + height * 0.3, value - height * 1.3):
                if not (low >= bottom and low + height <= top and left >= first):
                    continue
                hidden = (
                    (all_times >= left) & (all_times <= left + width) & (all_values >= low) & (all_values <= low + height)
                ).sum()
                clash = sum(
                    abs(low - other_low) < height and left < other_left + other_width and other_left < left + width
                    for (other_left, other_low), other_width in zip(taken, widths, strict=True)
                )
                cost = (1000 * clash + hidden * 3 - 40 * (value - bottom) / (top - bottom), left, low)
                best = cost if best is None else min(best, cost)
        if best is None:
            continue
        taken.append((best[1], best[2]))
        widths.append(width)
        axes.text(
            best[1] + width / 2, best[2] + height / 2, name, color=colour_of[index], size=_LABEL_SIZE,
            ha="center", va="center_baseline", path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip


def _draw_explained(axes: Axes, timeline: Timeline, colour_of: dict[int, str]) -> None:
    first, last = _limits(timeline)
    inches_per_second = (WIDTH_INCHES - _EDGE_INCHES) / (last - first)
    times = [*timeline.times_seconds.tolist(), last]
    for begin, end, index in timeline.explained_runs():
        axes.axvspan(times[begin], times[end], color=colour_of.get(index, GREY), linewidth=0)
        name = _short(timeline.labels[index])
        if (times[end] - times[begin]) * inches_per_second > (len(name) + 2) * _LETTER_INCHES:
            middle = (times[begin] + times[end]) / 2
            axes.text(middle, 0.5, name, color="white", size=_LABEL_SIZE, ha="center", va="center_baseline")
    axes.set(ylim=(0, 1), yticks=[])
    axes.set_ylabel("explained", rotation=0, ha="right", va="center")
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)


def _draw_place(axes: Axes, timeline: Timeline, axis: int, ends: tuple[str, str], title: str) -> None:
    """The centre of the evidence along one side of the frame, in a band as wide as the evidence."""
    centres = steps_of(timeline.times_seconds, timeline.centroids_xy[:, axis])
    # The side of a square of that area: how much of the frame's side the evidence takes.
    half = steps_of(timeline.times_seconds, np.sqrt(timeline.areas_above_half) / 2).middle
    axes.fill_between(
        centres.times_seconds,
        np.clip(centres.middle - half, 0, 1),
        np.clip(centres.middle + half, 0, 1),
        color=COLOURS[0],
        alpha=0.18,
        linewidth=0,
    )
    axes.plot(centres.times_seconds, centres.middle, color=COLOURS[0], linewidth=1.1)
    axes.axhline(0.5, color=GRID_GREY, linewidth=0.5, zorder=0)
    axes.set(ylabel=title, yticks=(0, 1), yticklabels=ends, ylim=(0, 1) if axis == 0 else (1, 0))


def _draw_strength(axes: Axes, timeline: Timeline) -> None:
    _draw_curve(axes, steps_of(timeline.times_seconds, timeline.peaks), "#404040", 1.0)
    axes.set(ylabel="peak", ylim=(0, None))


def _draw_thumbnails(axes: Axes, timeline: Timeline, thumbnails: Sequence[tuple[int, np.ndarray]]) -> None:
    """Side by side, each under the moment it shows, with a ring where the evidence lies."""
    first, last = _limits(timeline)
    cell = (last - first) / len(thumbnails)
    for place, (index, image) in enumerate(thumbnails):
        left, right = first + cell * (place + _GAP_SHARE / 2), first + cell * (place + 1 - _GAP_SHARE / 2)
        axes.imshow(image[..., ::-1], extent=(left, right, 0, 1), aspect="auto", interpolation="antialiased")
        x, y = timeline.centroids_xy[index]
        for size, colour in ((9, "black"), (9, "white")):
            axes.plot(
                left + x * (right - left), 1 - y, "o", ms=size, mfc="none", mec=colour, mew=2.2 if colour == "black" else 1.2
            )
        axes.plot([timeline.times_seconds[index]] * 2, [-0.08, 0], color=GREY, linewidth=0.8, clip_on=False)
    axes.set(ylim=(0, 1))
    axes.set_axis_off()


def _thumbnail_inches(image: np.ndarray) -> float:
    cell_inches = (WIDTH_INCHES - _EDGE_INCHES) / _THUMBNAIL_COUNT
    return cell_inches * (1 - _GAP_SHARE) * image.shape[0] / image.shape[1]


def _thumbnails(timeline: Timeline, video: Path) -> list[tuple[int, np.ndarray]]:
    """Frames from the middles of equal parts of the time."""
    from live_cam.sources.video import VideoSource

    first, last = _limits(timeline)
    wanted = first + (np.arange(_THUMBNAIL_COUNT) + 0.5) * (last - first) / _THUMBNAIL_COUNT
    places = np.unique(np.searchsorted(timeline.times_seconds, wanted, side="right") - 1).clip(0)
    pictures = []
    for place in places.tolist():
        # A little earlier: times in a sidecar are rounded.
        with VideoSource(video, max(0.0, float(timeline.times_seconds[place]) - 1e-3)) as source:
            frame = source.read()
        if frame is not None:
            pictures.append((place, _small(frame.image)))
    return pictures


def _small(image: np.ndarray) -> np.ndarray:
    share = _THUMBNAIL_PIXELS_WIDE / image.shape[1]
    return cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
