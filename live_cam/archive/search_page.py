"""Writes what was found in an index as one self-contained HTML page: thumbnails, curves, filters."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from live_cam.archive.condition import Condition, ConditionSql, named_classes
from live_cam.archive.search import Found, Hit, Index, shown_path
from live_cam.archive.summary import Summary
from live_cam.sinks.atomic_file import new_file
from live_cam.sinks.html_report import content_policy, data_url, is_html_report, page_template, script_json

_CURVE_POINTS = 300
# What is shown before and behind a hit, relative to its length and at least.
_MARGIN_SHARE = 0.5
_MARGIN_SECONDS = 5.0
_JPEG_START = b"\xff\xd8"
_MOST_VIDEOS = 1000


@dataclass(frozen=True)
class PageContent:
    """Content of a page: hits or a summary, and the condition.

    Attributes:
        text: The condition as it was written; empty if there is none.
        condition: The same, parsed.
        found: The intervals in which it holds, if they are shown.
        summary: What was seen in total, if that is shown.
        clips: The clips of intervals, which the page links to.
    """

    text: str = ""
    condition: Condition | None = None
    found: Found | None = None
    summary: Summary | None = None
    clips: Mapping[Hit, Path] = field(default_factory=dict)


def write_search_page(path: Path, index: Index, content: PageContent, overwrite: bool = False) -> None:
    """Writes a page that loads nothing from elsewhere.

    The template ``search_page.html`` has the places ``{{policy}}``, ``{{about}}``, ``{{hits}}`` and ``{{summary}}``.
    Its script builds the page from these data, which are JSON and never markup.

    Args:
        path: The final name.
        index: The index that was searched.
        content: What is shown.
        overwrite: Whether an existing file may be replaced. A page that livecam made always is.

    Raises:
        SinkError: The file cannot be written; nothing is left behind.
        SourceError: A table of the index is damaged.
    """
    overwrite = overwrite or is_html_report(path)
    template = page_template("live_cam.archive", "search_page.html")
    with new_file(path, overwrite) as partial:
        values = {
            "policy": content_policy(template),
            "about": script_json(_about(index, content)),
            "hits": script_json(list(_hits(index, content, path.parent))),
            "summary": script_json(None if content.summary is None else _summary(index, content.summary)),
        }
        # All at once: a label may be "{{hits}}".
        page = re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)
        partial.write_text(page, encoding="utf-8")


def _about(index: Index, content: PageContent) -> dict[str, Any]:
    info = {name: str(index.info.get(name, "")) for name in ("model", "method", "layer")}
    return info | {
        "condition": content.text,
        "index": index.dataset.folder.name,
        "video_count": len(index.files),
        "hit_count": None if content.found is None else content.found.count,
        "is_probability": index.score == "probability",
        "unfinished": index.unfinished(),
    }


def _hits(index: Index, content: PageContent, folder: Path) -> Iterable[dict[str, Any]]:
    for hit in content.found.hits if content.found else ():
        begin, end = _shown_span(index, hit)
        yield asdict(hit) | {
            "video": shown_path(hit.video),
            "picture": _picture(index, hit.file_name, hit.peak_seconds),
            "clip": _link(content.clips[hit], folder) if hit in content.clips else None,
            "curve": _curve(index, hit, content.condition, begin, end),
            "curve_span": [begin, end],
        }


def _shown_span(index: Index, hit: Hit) -> tuple[float, float]:
    """Returns the part of the video that is shown: the interval and what is around it."""
    margin = max(_MARGIN_SECONDS, _MARGIN_SHARE * hit.seconds)
    file = str(index.dataset.table("frames", hit.file_name))
    query = "SELECT max(time_seconds + duration_seconds) FROM read_parquet($files)"
    ((video_end_seconds,),) = index.rows(query, [file], {})
    return max(0.0, hit.from_seconds - margin), min(hit.to_seconds + margin, video_end_seconds)


def _curve(
    index: Index, hit: Hit, condition: Condition | None, begin_seconds: float, end_seconds: float
) -> list[tuple[float, float]]:
    """Returns times and scores of a part of a video; of neighbors, the one with the highest score."""
    sql = ConditionSql(index.score)
    step = (end_seconds - begin_seconds) / _CURVE_POINTS
    query = f"""
        SELECT max({{'score': score, 'seconds': seconds}}) FROM (
            SELECT {sql.highest_score(named_classes(condition))} AS score, time_seconds AS seconds
            FROM read_parquet($files) WHERE time_seconds >= $begin AND time_seconds < $end)
        GROUP BY floor((seconds - $begin) / $step)"""
    values = {"begin": begin_seconds, "end": end_seconds, "step": step}
    file = str(index.dataset.table("frames", hit.file_name))
    points = [point for (point,) in index.rows(query, [file], sql.parameters | values)]
    finite = (point for point in points if point["score"] is not None and math.isfinite(point["score"]))
    return sorted((round(point["seconds"], 3), round(point["score"], 4)) for point in finite)


def _link(path: Path, folder: Path) -> str:
    """Returns a relative URL; a file's name with a colon is no protocol."""
    return quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))


def _picture(index: Index, file_name: str, seconds: float) -> dict[str, Any] | None:
    """Returns the thumbnail of a video's scene at a time, or of the nearest scene.

    It is a URL that contains the picture, its media time, and the class that its heat is for.
    """
    path = index.dataset.table("scenes", file_name)
    query = """
        SELECT jpeg, time_seconds, explained_label FROM read_parquet($files)
        ORDER BY from_seconds <= $seconds AND $seconds < to_seconds DESC, abs(time_seconds - $seconds) LIMIT 1"""
    rows = index.rows(query, [str(path)], {"seconds": seconds}) if path.exists() else []
    jpeg, time_seconds, label = rows[0] if rows else (None, None, None)
    if not (jpeg or b"").startswith(_JPEG_START):
        return None
    return {"url": data_url(bytes(jpeg)), "time_seconds": time_seconds, "label": label}


def _summary(index: Index, summary: Summary) -> dict[str, Any]:
    moments = [
        asdict(moment)
        | {
            "video": shown_path(moment.video),
            "picture": _picture(index, moment.file_name, moment.time_seconds),
        }
        for moment in summary.least_certain
    ]
    videos = [asdict(video) | {"video": shown_path(video.video)} for video in summary.videos[:_MOST_VIDEOS]]
    return asdict(summary) | {"videos": videos, "all_video_count": len(summary.videos), "least_certain": moments}
