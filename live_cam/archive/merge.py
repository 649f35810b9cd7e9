"""The task that makes the tables of a video from those of its segments."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from live_cam.archive.dataset import (
    MAP_SCHEMA,
    SCENE_SCHEMA,
    Dataset,
    ScoreName,
    TableWriter,
    frame_schema,
    table_metadata,
)
from live_cam.archive.segment import SegmentResult
from live_cam.archive.tasks import Task, VideoInfo, Worker
from live_cam.errors import SourceError


@dataclass(frozen=True)
class MergeTask(Task[dict[str, Any]]):
    """Makes the tables of a video from those of its segments; returns the video's row of ``videos``.

    Attributes:
        video: Its path.
        file_name: What its files are called.
        info: What is known of it.
        results: Of all its segments, in order.
        score: What the model's predictions have.
        has_maps: Whether there are heatmaps.
        about: Further columns of the row.
    """

    video: str
    file_name: str
    info: VideoInfo
    results: tuple[SegmentResult, ...]
    score: ScoreName
    has_maps: bool
    about: tuple[tuple[str, str], ...]

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> dict[str, Any]:
        """See ``Task``."""
        dataset = worker.dataset
        row = self._row()
        if row["state"] == "done" and table_metadata(dataset.table("frames", self.file_name)) == row:
            # The worker of an earlier try died after this, perhaps in the next line.
            shutil.rmtree(dataset.segments(self.file_name), ignore_errors=True)
            return row
        self._merge(dataset, "scenes", SCENE_SCHEMA, row, on_frame)
        if self.has_maps:
            self._merge(dataset, "maps", MAP_SCHEMA, row, on_frame)
        # The last one: with it, the video is complete.
        self._merge(dataset, "frames", frame_schema(self.score), row, on_frame)
        if row["state"] == "done":
            shutil.rmtree(dataset.segments(self.file_name), ignore_errors=True)
        return row

    def _row(self) -> dict[str, Any]:
        errors = [result.error for result in self.results if result.error is not None]
        row_count = sum(result.row_count for result in self.results)
        counts = [result.frame_count for result in self.results]
        return {
            "video": self.video,
            "state": "done" if not errors else "partial" if row_count else "failed",
            "error": errors[0] if errors else None,
            **asdict(self.info),
            "frame_count": None if errors or None in counts else sum(filter(None, counts)),
            "row_count": row_count,
            "file_name": self.file_name,
            **dict(self.about),
        }

    def _merge(
        self, dataset: Dataset, kind: str, schema: pa.Schema, row: dict[str, Any], on_frame: Callable[[float], None]
    ) -> None:
        with TableWriter(dataset.table(kind, self.file_name), schema) as writer:  # type: ignore[arg-type]
            offset: int | None = 0
            for number, result in enumerate(self.results):
                if result.frame_count is not None:
                    path = dataset.segment_table(self.file_name, number, kind)
                    rows = _read_segment(path).cast(schema)
                    if "index" in schema.names:
                        rows = _with_index(rows, offset)
                    if "duration_seconds" in schema.names and result.error is None:
                        rows = _until(rows, self._next_seconds(dataset, number))
                    writer.write(rows)
                # Nobody knows how many frames there are in a part that could not be read.
                known = offset is not None and result.error is None and result.frame_count is not None
                offset = offset + result.frame_count if known else None  # type: ignore[operator]
                on_frame(0.0)
            writer.finish(row)

    def _next_seconds(self, dataset: Dataset, number: int) -> float | None:
        """Returns the time of the first explained frame behind a segment; None if what follows is not known."""
        for result in self.results[number + 1 :]:
            if result.frame_count is None:
                return None
            if result.row_count:
                path = dataset.segment_table(self.file_name, result.number, "frames")
                return _read_segment(path)["time_seconds"][0].as_py()
            if result.error is not None:
                return None
        # No row follows, but perhaps frames that were not explained.
        return max((result.end_seconds for result in self.results[number:]), default=None)


def _read_segment(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        path.unlink(missing_ok=True)
        raise SourceError(f"{path} was damaged and is removed: {error}") from None


def _with_index(rows: pa.Table, offset: int | None) -> pa.Table:
    """Returns rows whose frame numbers count from the video's first frame; null if that is unknown."""
    position = rows.schema.get_field_index("index")
    index = rows["index"]
    moved = pa.nulls(len(rows), pa.int32()) if offset is None else pc.add(index, pa.scalar(offset, pa.int32()))
    return rows.set_column(position, rows.schema.field(position), moved)


def _until(rows: pa.Table, next_seconds: float | None) -> pa.Table:
    """Returns rows whose last one stands until a time."""
    if next_seconds is None or not len(rows):
        return rows
    position = rows.schema.get_field_index("duration_seconds")
    durations = rows["duration_seconds"].to_pylist()
    durations[-1] = max(0.0, next_seconds - rows["time_seconds"][-1].as_py())
    return rows.set_column(position, rows.schema.field(position), pa.array(durations, pa.float32()))
