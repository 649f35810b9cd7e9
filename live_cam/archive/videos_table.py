"""The table of all videos of an index: those of this run, and those of earlier ones."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from live_cam.archive.dataset import VIDEO_SCHEMA, Dataset, TableWriter, table_metadata, table_of

if TYPE_CHECKING:
    from live_cam.archive.video_plan import VideoPlan

_WRITTEN_EVERY_SECONDS = 10.0
# Of a hundred thousand videos, the table takes a second; it is not written for more than a fiftieth of the time.
_PAUSE_FACTOR = 50


class VideosTable:
    """Writes ``videos.parquet`` now and then, and at the end.

    Args:
        dataset: The index.

    Attributes:
        earlier_rows: Rows of earlier runs by video; those of this run's videos stay until they are made anew.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.earlier_rows: dict[str, dict[str, Any]] = {}
        self._dataset = dataset
        self._next_seconds = time.monotonic() + _WRITTEN_EVERY_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the table again."""
        return time.monotonic() >= self._next_seconds

    def read(self) -> None:
        """Reads the rows of earlier runs."""
        rows: dict[str, dict[str, Any]] = {}
        # If it is damaged, the other tables hold all but the reasons of failures.
        with contextlib.suppress(OSError, pa.ArrowException):
            rows = {row["video"]: row for row in pq.read_table(self._dataset.videos, schema=VIDEO_SCHEMA).to_pylist()}
        made = map(table_metadata, self._dataset.folder.glob("frames/*.parquet"))
        self.earlier_rows = {**rows, **{row["video"]: row for row in made if row is not None}}

    def write(self, videos: Iterable[VideoPlan]) -> None:
        """Writes the table.

        Args:
            videos: Those of this run.

        Raises:
            SinkError: The disk is full.
        """
        started_seconds = time.monotonic()
        rows = dict(self.earlier_rows)
        for video in videos:
            row = video.shown_row
            # What an earlier run made of it stays until it is made anew.
            if not video.is_pending or row["video"] not in rows:
                rows[row["video"]] = row
        with TableWriter(self._dataset.videos, VIDEO_SCHEMA) as writer:
            writer.write(table_of([rows[name] for name in sorted(rows)], VIDEO_SCHEMA))
            writer.finish({})
        now_seconds = time.monotonic()
        pause_seconds = _PAUSE_FACTOR * (now_seconds - started_seconds)
        self._next_seconds = now_seconds + max(_WRITTEN_EVERY_SECONDS, pause_seconds)
