"""A recording on one page: what the network saw in it when, and where. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from live_cam.figures import (
    COLOURS,
    GREY,
    GRID_GREY,
    LIGHT_COLOURS,
    WIDTH_INCHES,
    check_figure,
    figure_style,
    save_figure,
)
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
# Left of the axes; and below them, for the scale and the key.
_EDGE_INCHES, _FOOT_INCHES = 0.75, 0.95
_LABEL_SIZE = 7.5
# Of one character at that size.
_LETTER_INCHES, _LETTER_HEIGHT_INCHES = 0.058, 0.13
_LONGEST_NAME = 26


@dataclass(frozen=True, eq=False)
class Steps:
    """A curve in few enough points: (n,) float64 each, NaN where most of a step's frames say nothing."""

    times_seconds: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class _Box:
    """A place on the axes, in their units."""

    left: float
    bottom: float
    width: float
    height: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and abs(self.bottom - other.bottom) < self.height
        )

    def count_inside(self, x: np.ndarray, y: np.ndarray) -> int:
        is_across = (self.left <= x) & (x <= self.left + self.width)
        return int((is_across & (self.bottom <= y) & (y <= self.bottom + self.height)).sum())


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
    thumbnails = [] if video is None else thumbnails_of(timeline, video)
    with figure_style():
        save_figure(timeline_figure(timeline, thumbnails), path, _DOTS_PER_INCH, overwrite)


def timeline_figure(timeline: Timeline, thumbnails: Sequence[tuple[int, np.ndarray]] = ()) -> Figure:
    """Scores, the explained class, and where its evidence lies, below thumbnails if there are any.

    Args:
        timeline: What to draw.
        thumbnails: Frames by their position in the timeline, (height, width, 3) uint8, BGR, all of one size.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [_SCORE_INCHES, _STRIP_INCHES, _PLACE_INCHES, _PLACE_INCHES, _PLACE_INCHES]
    if thumbnails:
        heights.insert(0, _thumbnail_inches(thumbnails[0][1]))
    layout = ConstrainedLayoutEngine(h_pad=0.02, hspace=0.02, rect=(0, 0.05, 1, 0.95))
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + _FOOT_INCHES), layout=layout)
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
    figure.text(0.01, 0.004, _key(timeline, bool(thumbnails)), size=5.5, color=GREY, va="bottom")
    figure.align_ylabels(rows.tolist())
    return figure


def _key(timeline: Timeline, has_thumbnails: bool) -> str:
    centre = "line and ring" if has_thumbnails else "line"
    return (
        f"Curves end where a class is not among the best {timeline.class_indexes.shape[1]}. Horizontal, vertical: the "
        f"centre of the evidence ({centre}) in a band\nas wide as a square of the area above half its peak. Peak: the "
        "map's greatest value, in units of the score. Curves are medians; the pale bands hold 80 % of the frames."
    )


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
        highest = max((float(np.nanmax(steps.high, initial=0)) for steps in curves.values()), default=0)
        axes.set(ylabel="probability", ylim=(0, min(1.08, 1.15 * highest + 0.05)))
    else:
        axes.set_ylabel("value")
    _name_curves(axes, timeline, curves, colour_of)


def _name_curves(axes: Axes, timeline: Timeline, curves: dict[int, Steps], colour_of: dict[int, str]) -> None:
    """Writes each class beside its curve, where that hides least."""
    from matplotlib.patheffects import withStroke

    first, last = _limits(timeline)
    bottom, top = axes.get_ylim()
    frame = _Box(first, bottom, last - first, top - bottom)
    letter_seconds = _LETTER_INCHES * frame.width / (WIDTH_INCHES - _EDGE_INCHES)
    height = frame.height * _LETTER_HEIGHT_INCHES / _SCORE_INCHES
    taken: list[_Box] = []
    for index, steps in curves.items():
        name = _short(timeline.labels[index])
        places = _places_beside(steps, len(name) * letter_seconds, height, frame)
        if not places:
            continue
        box = min(places, key=lambda place: _cost(place, taken, curves.values(), frame))
        taken.append(box)
        text = axes.text(box.left + box.width / 2, box.bottom + box.height / 2, name, color=colour_of[index])
        text.set(size=_LABEL_SIZE, ha="center", va="center_baseline", parse_math=False)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def _places_beside(steps: Steps, width: float, height: float, frame: _Box) -> list[_Box]:
    """Boxes for a name just above and just below each point of a curve, inside the frame."""
    rightmost = frame.left + frame.width - width
    return [
        _Box(min(max(at - width / 2, frame.left), rightmost), bottom, width, height)
        for at, value in zip(steps.times_seconds, steps.middle, strict=True)
        for bottom in (value + 0.3 * height, value - 1.3 * height)
        if frame.bottom <= bottom <= frame.bottom + frame.height - height and rightmost >= frame.left
    ]


def _cost(box: _Box, taken: Sequence[_Box], curves: Iterable[Steps], frame: _Box) -> float:
    """How bad a place for a name is: on another name, on curves, and far below the top, where the class leads."""
    hidden = sum(box.count_inside(steps.times_seconds, steps.middle) for steps in curves)
    clashes = sum(box.overlaps(other) for other in taken)
    return 1000 * clashes + 3 * hidden - 40 * (box.bottom - frame.bottom) / frame.height


def _draw_explained(axes: Axes, timeline: Timeline, colour_of: dict[int, str]) -> None:
    first, last = _limits(timeline)
    inches_per_second = (WIDTH_INCHES - _EDGE_INCHES) / (last - first)
    times = [*timeline.times_seconds.tolist(), last]
    for begin, end, index in timeline.explained_runs():
        axes.axvspan(times[begin], times[end], color=colour_of.get(index, GREY), linewidth=0)
        name = _short(timeline.labels[index])
        if (times[end] - times[begin]) * inches_per_second > (len(name) + 1) * _LETTER_INCHES:
            middle = (times[begin] + times[end]) / 2
            ink = "black" if colour_of.get(index) in LIGHT_COLOURS else "white"
            axes.text(
                middle, 0.5, name, color=ink, size=_LABEL_SIZE, parse_math=False, ha="center", va="center_baseline"
            )
    axes.set(ylim=(0, 1), yticks=[0.5], yticklabels=["explained"])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


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
        for colour, width_points in (("black", 2.0), ("white", 1.0)):
            axes.plot(left + x * (right - left), 1 - y, "o", ms=6.5, mfc="none", mec=colour, mew=width_points)
        axes.plot([timeline.times_seconds[index]] * 2, [-0.08, 0], color=GREY, linewidth=0.8, clip_on=False)
    axes.set(ylim=(0, 1))
    axes.set_axis_off()


def _thumbnail_inches(image: np.ndarray) -> float:
    cell_inches = (WIDTH_INCHES - _EDGE_INCHES) / _THUMBNAIL_COUNT
    return cell_inches * (1 - _GAP_SHARE) * image.shape[0] / image.shape[1]


def thumbnails_of(timeline: Timeline, video: Path) -> list[tuple[int, np.ndarray]]:
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
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
