"""``livecam search``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from live_cam.cli import options
from live_cam.errors import LiveCamError, SettingError
from live_cam.settings import SearchSettings

if TYPE_CHECKING:
    from live_cam.archive.search import Found, Hit, Index
    from live_cam.archive.summary import Summary, VideoTime

_DEFAULTS = SearchSettings()
_SHORTEST, _GAP = f"{_DEFAULTS.least_seconds:g}s", f"{_DEFAULTS.gap_seconds:g}s"
_PER_VIDEO = 3

Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="The index, a folder that livecam archive made.")]
ConditionText = Annotated[
    str | None,
    typer.Argument(
        metavar="CONDITION",
        help='"zebra > 0.5": a class by label (in quotation marks if it has spaces) or index; also explained = zebra, '
        "area > 0.2, peak > 1; combined with and, or, not, ( ). A summary needs none.",
    ),
]
Shortest = Annotated[
    str, typer.Option("--for", metavar="TIME", help="Only intervals of this length or longer: 1s, 0.5s, 2m or 1:30.")
]
Gap = Annotated[str, typer.Option(metavar="TIME", help="Join intervals that are at most this far apart.")]
Top = Annotated[int, typer.Option(metavar="N", min=1, help="Only the N intervals with the highest scores.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON object.")]
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html", help="One page with thumbnails, probabilities over time, and filters. Default: none."
    ),
]
Clips = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Cut the intervals out of their videos, from the keyframe before each, without encoding. Default: none.",
    ),
]
WantsSummary = Annotated[
    bool,
    typer.Option(
        "--summary", metavar="", help="Top classes by time and by video, and the least certain moments, instead."
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        metavar="",
        help="Replace files that exist. Default: refused, but pages that livecam made are replaced anyway.",
    ),
]


def search(
    folder: Folder,
    condition: ConditionText = None,
    shortest: Shortest = _SHORTEST,
    gap: Gap = _GAP,
    top: Top = _DEFAULTS.top,
    as_json: Json = False,
    html: Html = None,
    clips: Clips = None,
    wants_summary: WantsSummary = False,
    overwrite: Overwrite = False,
) -> None:
    """Finds in an index of videos when a condition holds: where the network saw a zebra, and how sure it was.

    A class has its probability, 0 to 1, or the value of a network that returns
    numbers; outside the stored best five, it counts as 0. area is the share of
    the heatmap with at least half of its peak, 0 to 1. peak is the heatmap's
    highest number, in units of the score that was explained.

    The table's score is the highest one of the classes that the condition
    names. The evidence is the center of their heatmap at that moment, in
    shares of width and height; it is empty if another class was explained.
    """
    if condition is None and not wants_summary:
        raise typer.BadParameter('give a condition, such as "zebra > 0.5", or --summary')
    if wants_summary and (clips is not None or (shortest, gap) != (_SHORTEST, _GAP)):
        raise typer.BadParameter("--clips, --for and --gap are about intervals, and a summary has none; leave them out")
    settings = SearchSettings(options.duration_of(shortest), options.duration_of(gap), top)
    try:
        from live_cam.archive.condition import parse_condition
        from live_cam.archive.search import Index
        from live_cam.archive.search_page import PageContent, write_search_page
        from live_cam.archive.summary import summarize
    except ModuleNotFoundError as error:
        raise SettingError(f'an index needs the package {error.name}: pip install ".[archive]"') from None
    failed = 0
    with Index(folder) as index:
        parsed = None if condition is None else parse_condition(condition, index.labels, index.score)
        if parsed is None or wants_summary:
            summary = summarize(index, parsed, top)
            content = PageContent(condition or "", parsed, summary=summary)
            print(_json(condition, index, asdict(summary)) if as_json else summary_table(index, summary, top))
        else:
            found = index.search(parsed, settings)
            print(_json(condition, index, asdict(found)) if as_json else table(index, found))
            made = {} if clips is None else _cut(index, found.hits, clips, overwrite)
            failed = 0 if clips is None else len(found.hits) - len(made)
            content = PageContent(condition or "", parsed, found, clips=made)
        if unfinished := index.unfinished():
            print(f"livecam: {unfinished}", file=sys.stderr)
        if html is not None:
            write_search_page(html, index, content, overwrite)
    if failed:
        raise SettingError(f"{failed} of {_counted(len(found.hits), 'clip')} could not be cut")


def _cut(index: Index, hits: Sequence[Hit], folder: Path, overwrite: bool) -> dict[Hit, Path]:
    """Returns the clips that could be cut; prints why the others could not."""
    from live_cam.archive.clips import ClipFolder

    made: dict[Hit, Path] = {}
    if not hits:
        return made
    clips = ClipFolder(folder, overwrite)
    for hit in hits:
        try:
            index.check_unchanged(hit)
            made[hit] = clips.cut(hit)
        except LiveCamError as error:
            print(printable(f"livecam: {options.with_option_names(str(error))}"), file=sys.stderr)
    return made


def _json(condition: str | None, index: Index, found: dict[str, Any]) -> str:
    for item in (*found.get("hits", ()), *found.get("least_certain", ())):
        del item["file_name"]
    return json.dumps({"condition": condition, "videos_searched": len(index.files)} | found, indent=2)


def table(index: Index, found: Found) -> str:
    """Returns a line for each interval, and how many there are."""
    videos = _counted(len(index.files), "video")
    if not found.count:
        return f"nothing found in {videos}"
    header = ("score", "class", "video", "from", "to", "best at", "evidence at")
    shown = f"the best {len(found.hits)} of " if len(found.hits) < found.count else ""
    return f"{columns([header, *map(_cells, found.hits)])}\n\n{shown}{_counted(found.count, 'interval')} in {videos}"


def _cells(hit: Hit) -> tuple[str, ...]:
    evidence = "" if hit.centroid_xy is None else "{:.2f}, {:.2f}".format(*hit.centroid_xy)
    begin, end, peak = map(clock, (hit.from_seconds, hit.to_seconds, hit.peak_seconds))
    return f"{hit.peak:.3f}", hit.label, _path(hit.video), begin, end, peak, evidence


def summary_table(index: Index, summary: Summary, top: int) -> str:
    """Returns tables of the classes, the videos and the least certain moments, at most ``top`` lines each."""
    whole = summary.seconds or 1.0
    classes = [
        (kind.label, clock(kind.seconds), f"{100 * kind.seconds / whole:.1f} %", str(kind.video_count))
        for kind in summary.classes[:top]
    ]
    videos = [(_path(video.video), clock(video.seconds), _longest(video)) for video in summary.videos[:top]]
    moments = [
        (f"{moment.probability:.3f}", _path(moment.video), clock(moment.time_seconds), moment.label)
        for moment in summary.least_certain
    ]
    tables = [
        columns([("class", "time", "share", "videos"), *classes]),
        columns([("video", "time", "classes"), *videos]),
    ]
    if moments:
        moment_table = columns([("score", "video", "at", "class"), *moments])
        tables.append(f"least certain: lowest top probability, at most one per 10 s\n{moment_table}")
    class_count = _counted(len(summary.classes), "class", "classes") + _left_out(len(summary.classes) - top)
    video_count = _counted(len(summary.videos), "video") + _left_out(len(summary.videos) - top)
    counts = f"{class_count} in {video_count}"
    return "\n\n".join([*tables, f"{counts}, {clock(summary.seconds)} in total"])


def _left_out(count: int) -> str:
    return f" ({count} left out)" if count > 0 else ""


def _longest(video: VideoTime) -> str:
    return ", ".join(f"{label} {clock(seconds)}" for label, seconds in video.classes[:_PER_VIDEO])


def _counted(count: int, word: str, plural: str | None = None) -> str:
    return f"{count} {word if count == 1 else plural or word + 's'}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as lines whose columns are aligned."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def clock(seconds: float) -> str:
    """Returns a time as "2:03.4" or "1:02:03.4"."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _path(video: str) -> str:
    from live_cam.archive.search import shown_path

    return shown_path(video)


def printable(text: str) -> str:
    """Returns text that does nothing to a terminal but appear on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
