"""Writes small indexes for the tests of searches, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from live_cam.archive.dataset import (
    SCENE_SCHEMA,
    TOP_COUNT,
    VIDEO_SCHEMA,
    Dataset,
    TableWriter,
    file_name_of,
    frame_schema,
    table_of,
)

LABELS = ("zebra", "tiger cat", "horse", "area", "7", "lion", "barn")


@dataclass(frozen=True)
class Row:
    """A row of ``frames``: ``scores`` are those of the best classes by index, best first."""

    time: float
    scores: Mapping[int, float]
    explained: int | None = None
    duration: float = 0.5
    area: float = 0.1
    peak: float = 1.0
    centroid: tuple[float, float] | None = (0.25, 0.75)

    @property
    def explained_index(self) -> int:
        return next(iter(self.scores)) if self.explained is None else self.explained


@dataclass(frozen=True)
class Scene:
    """A row of ``scenes``."""

    from_seconds: float
    to_seconds: float
    jpeg: bytes
    explained: int = 0


def write_index(
    folder: Path,
    videos: Mapping[str, Sequence[Row]],
    scenes: Mapping[str, Sequence[Scene]] | None = None,
    labels: Sequence[str] = LABELS,
    digests: Mapping[str, str] | None = None,
    **info: Any,
) -> Path:
    """Writes an index and returns its folder."""
    dataset = Dataset(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"model": "efficientnet-lite0", "method": "grad-cam", "layer": "top", "score": "probability"}
    dataset.write_info({**about, "labels": list(labels), **info})
    score = info.get("score", "probability")
    for video, rows in videos.items():
        with TableWriter(dataset.table("frames", file_name_of(video)), frame_schema(score)) as table:
            table.write(frames_table(video, rows, labels, score))
            table.finish({"digest": digests[video]} if digests and video in digests else {})
    for video, video_scenes in (scenes or {}).items():
        with TableWriter(dataset.table("scenes", file_name_of(video)), SCENE_SCHEMA) as table:
            table.write(pa.Table.from_pylist([_scene(video, scene) for scene in video_scenes], SCENE_SCHEMA))
            table.finish({})
    return folder


def write_states(folder: Path, *states: str) -> None:
    """Writes the table of videos, with one video of each state."""
    with TableWriter(Dataset(folder).videos, VIDEO_SCHEMA) as table:
        rows = [{"video": f"/zoo/{number}.mp4", "state": state} for number, state in enumerate(states)]
        table.write(table_of(rows, VIDEO_SCHEMA))
        table.finish({})


def frames_table(video: str, rows: Sequence[Row], labels: Sequence[str], score: Any) -> pa.Table:
    schema = frame_schema(score)
    return pa.Table.from_pylist([_frame(video, number, row, labels, score) for number, row in enumerate(rows)], schema)


def _frame(video: str, number: int, row: Row, labels: Sequence[str], score: str) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "video": video,
        "index": number,
        "time_seconds": row.time,
        "duration_seconds": row.duration,
        "explained_index": row.explained_index,
        "explained_label": labels[row.explained_index],
        f"explained_{score}": row.scores.get(row.explained_index, 0.0),
        "peak": row.peak,
        "area_above_half": row.area,
        "centroid_x": None if row.centroid is None else row.centroid[0],
        "centroid_y": None if row.centroid is None else row.centroid[1],
    }
    best = [*row.scores.items(), *[(None, None)] * TOP_COUNT][:TOP_COUNT]
    for rank, (index, value) in enumerate(best, 1):
        label = None if index is None else labels[index]
        columns |= {f"class_index_{rank}": index, f"label_{rank}": label, f"{score}_{rank}": value}
    return columns


def _scene(video: str, scene: Scene) -> dict[str, Any]:
    return {
        "video": video, "from_seconds": scene.from_seconds, "to_seconds": scene.to_seconds,
        "time_seconds": scene.from_seconds, "explained_index": scene.explained,
        "explained_label": LABELS[scene.explained], "explained_score": 0.5, "jpeg": scene.jpeg,
    }  # fmt: skip
