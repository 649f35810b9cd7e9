"""Searches an index: the intervals in which a condition holds, and what else the rows of its tables say.

DuckDB reads the tables and finds the rows in which the condition holds. They arrive in order of video and time, and
neighbors are joined while they do, so that memory does not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from live_cam.archive.condition import Condition, ConditionSql, named_classes
from live_cam.archive.dataset import TOP_COUNT, Dataset, table_metadata
from live_cam.closing import Closing
from live_cam.errors import SourceError
from live_cam.settings import SearchSettings
from live_cam.sources.address import fingerprint

_MEMORY_LIMIT = "200MB"
_ROWS_PER_BATCH = 100_000
_DAMAGED = "{} is damaged, or not livecam's; remove it and run livecam archive again"
# Times are sums of rounded durations.
_TOLERANCE_SECONDS = 0.001
_TIME_DIGITS = 6
# States of videos that ``livecam archive`` tries again: what is said of one, and of several.
_UNFINISHED = {
    "pending": ("is not explained yet", "are not explained yet"),
    "failed": ("failed", "failed"),
    "partial": ("is explained only in part", "are explained only in part"),
}

# A row in which the condition holds, or several that are joined. ``file`` is the place in ``Index.files``.
_INTERVALS = np.dtype(
    [("file", "u8"), ("from_seconds", "f8"), ("to_seconds", "f8"), ("peak", "f4"), ("peak_seconds", "f8")]
)


@dataclass(frozen=True)
class Hit:
    """An interval in which the condition holds.

    Times are rounded to microseconds.

    Attributes:
        video: Path of the video, as the index has it.
        from_seconds: Media time at which its first row begins.
        to_seconds: Media time at which its last row ends.
        label: The class that has the peak.
        peak: Highest score of the classes that the condition names outside of ``not``; if it names none, of the
            explained ones.
        peak_seconds: Media time of the first row with that score.
        centroid_xy: Where the evidence lies in that row, in [0, 1] of the frame's width and height; None if there was
            none, or if another class was explained.
        file_name: Name of the video's files in the index, without suffix.
    """

    video: str
    from_seconds: float
    to_seconds: float
    label: str
    peak: float
    peak_seconds: float
    centroid_xy: tuple[float, float] | None
    file_name: str

    @property
    def seconds(self) -> float:
        """Length of the interval."""
        return self.to_seconds - self.from_seconds


@dataclass(frozen=True)
class Found:
    """Result of a search.

    Attributes:
        hits: The best intervals, highest peak first; then by video name and time.
        count: Number of all intervals that were found.
    """

    hits: tuple[Hit, ...]
    count: int


class Index(Closing):
    """The tables of an index, open for queries. They see no files but the index's.

    Videos that are being explained meanwhile are left out until they are complete.

    Args:
        folder: The index.

    Attributes:
        info: The content of ``index.json``.
        labels: The names of all classes.
        score: What the classes have: "probability" or "value".
        files: The complete tables of frames, one per video.

    Raises:
        SourceError: There is no index, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.dataset = Dataset(folder.resolve())
        self.info = self.dataset.read_info()
        try:
            self.labels = tuple(map(str, self.info["labels"]))
            self.score = self.info["score"]
        except (KeyError, TypeError):
            raise SourceError(f"{self.dataset.info} is damaged: no labels or score; make the index again") from None
        if self.score not in ("probability", "value"):
            raise SourceError(f"{self.dataset.info} is damaged: its score is {self.score!r:.30}; make the index again")
        tables = (self.dataset.folder / "frames").glob("*.parquet")
        self.files = sorted(str(path) for path in tables if not path.stem.endswith(".partial"))
        self._connection = duckdb.connect(config={"memory_limit": _MEMORY_LIMIT, "temp_directory": ""})
        # DuckDB would draw it into the output.
        self._connection.execute("SET enable_progress_bar = false")
        # In this order: afterwards, none of them can be changed.
        self._connection.execute("SET allowed_directories = $folders", {"folders": [str(self.dataset.folder)]})
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Closes the tables."""
        self._connection.close()

    def search(self, condition: Condition, settings: SearchSettings) -> Found:
        """Returns the intervals in which a condition holds.

        Args:
            condition: Decides about each row.
            settings: How rows are joined, and what is returned of the intervals.

        Raises:
            SourceError: A table is damaged.
        """
        named = named_classes(condition)
        best, count = np.empty(0, _INTERVALS), 0
        for intervals in _joined_batches(self._holding(condition, named), settings.gap_seconds):
            lengths = intervals["to_seconds"] - intervals["from_seconds"]
            intervals = intervals[lengths >= settings.least_seconds - _TOLERANCE_SECONDS]
            count += len(intervals)
            best = _best_of(np.concatenate([best, intervals]), settings.top)
        return Found(tuple(self._hit(interval, named) for interval in best), count)

    def _holding(self, condition: Condition, named: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the rows in which a condition holds, in order of file and time, as ``_INTERVALS``."""
        sql = ConditionSql(self.score)
        query = f"""
            SELECT file_index, time_seconds, time_seconds + duration_seconds, {sql.highest_score(named)}, time_seconds
            FROM read_parquet($files) WHERE {sql.condition(condition)}"""
        for batch in self.batches(query, self.files, sql.parameters):
            rows = np.empty(len(batch), _INTERVALS)
            for name, column in zip(_INTERVALS.names or (), batch.columns, strict=True):
                rows[name] = column.to_numpy(zero_copy_only=False)
            # A network may return NaN, which would be the highest score of all.
            rows["peak"] = np.nan_to_num(rows["peak"])
            yield rows

    def _hit(self, interval: np.void, named: Sequence[int]) -> Hit:
        file = self.files[interval["file"]]
        classes = ", ".join(f"class_index_{rank}, {self.score}_{rank}" for rank in range(1, TOP_COUNT + 1))
        query = f"""
            SELECT video, centroid_x, centroid_y, explained_index, {classes}
            FROM read_parquet($files) WHERE time_seconds = $seconds LIMIT 1"""
        rows = self.rows(query, [file], {"seconds": float(interval["peak_seconds"])})
        if not rows or not np.isfinite(interval.tolist()).all():
            raise SourceError(_DAMAGED.format(file))
        video, x, y, explained, *pairs = rows[0]
        scores = dict(zip(pairs[::2], pairs[1::2], strict=True))
        begin, end, peak = (
            round(float(interval[name]), _TIME_DIGITS) for name in ("from_seconds", "to_seconds", "peak_seconds")
        )
        best = max(named, key=lambda index: scores.get(index) or 0.0) if named else explained
        is_explained = not named or explained in named
        return Hit(
            video=video,
            from_seconds=begin,
            to_seconds=end,
            label=self.label_of(best),
            peak=float(interval["peak"]),
            peak_seconds=peak,
            centroid_xy=(x, y) if is_explained and x is not None else None,
            file_name=Path(file).stem,
        )

    def label_of(self, class_index: int) -> str:
        """Returns a class's label; of an index that the model does not have, the index."""
        return self.labels[class_index] if 0 <= class_index < len(self.labels) else str(class_index)

    def unfinished(self) -> str | None:
        """Returns how many videos are not completely explained, as one line; None if all are, or nobody knows.

        Raises:
            SourceError: The table of videos is damaged.
        """
        files = [str(self.dataset.videos)] if self.dataset.videos.exists() else []
        counts = dict(self.rows("SELECT state, count(*) FROM read_parquet($files) GROUP BY 1", files, {}))
        total = sum(counts.values())
        parts = [
            (counts[state], texts[counts[state] > 1]) for state, texts in _UNFINISHED.items() if counts.get(state, 0)
        ]
        if not parts:
            return None
        (first, text), *others = parts
        of_all = f"{first} of {total} video{'s' if total > 1 else ''} {text}"
        return f"{', '.join([of_all, *(f'{count} {text}' for count, text in others)])}; run livecam archive again"

    def check_unchanged(self, hit: Hit) -> None:
        """Checks that a hit's video still has the content that was indexed. A video that is gone is not noticed.

        Raises:
            SourceError: It has changed.
        """
        made = table_metadata(self.dataset.table("frames", hit.file_name)) or {}
        video = Path(hit.video)
        with suppress(OSError):
            # Opening a pipe would wait for a writer.
            if "digest" in made and video.is_file() and fingerprint(video) != made["digest"]:
                raise SourceError(f"{video} changed since it was indexed; run livecam archive again")

    def rows(self, query: str, files: Sequence[str], parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Returns the rows of a query.

        Args:
            query: SQL that reads ``$files``.
            files: Tables of the index.
            parameters: Values of the query's other parameters, by name.

        Raises:
            SourceError: A table is damaged.
        """
        with self._raising(query, files, parameters):
            return self._connection.execute(query, {"files": list(files), **parameters}).fetchall() if files else []

    def batches(self, query: str, files: Sequence[str], parameters: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of a query batch by batch, in their order in the files; see ``rows``."""
        if files:
            with self._raising(query, files, parameters):
                result = self._connection.sql(query, params={"files": list(files), **parameters})
                yield from result.to_arrow_reader(_ROWS_PER_BATCH)

    @contextmanager
    def _raising(self, query: str, files: Sequence[str], parameters: Mapping[str, Any]) -> Iterator[None]:
        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._error(error, query, files, parameters) from None

    def _error(self, error: Exception, query: str, files: Sequence[str], parameters: Mapping[str, Any]) -> SourceError:
        """Returns what a query failed for: the first file for which it fails alone."""
        for file in files:
            try:
                self._connection.execute(query, {"files": [file], **parameters}).fetchall()
            except duckdb.OutOfMemoryException:
                break
            except duckdb.Error:
                return SourceError(_DAMAGED.format(file))
        return SourceError(f"cannot search {self.dataset.folder}: {str(error).splitlines()[0]}")


def _joined_batches(batches: Iterable[np.ndarray], gap_seconds: float) -> Iterator[np.ndarray]:
    """Yields the intervals that rows make up, in the rows' order; all are ``_INTERVALS``."""
    unfinished = np.empty(0, _INTERVALS)
    for rows in batches:
        intervals = _joined(np.concatenate([unfinished, rows]), gap_seconds)
        # The next batch may continue the last one.
        yield intervals[:-1]
        unfinished = intervals[-1:]
    yield unfinished


def _joined(rows: np.ndarray, gap_seconds: float) -> np.ndarray:
    """Joins neighbors of one video with a gap of at most ``gap_seconds`` between them, unless times start again."""
    if not len(rows):
        return rows
    gaps = rows["from_seconds"][1:] - rows["to_seconds"][:-1]
    is_apart = (gaps > gap_seconds + _TOLERANCE_SECONDS) | (gaps < -_TOLERANCE_SECONDS)
    is_other = (rows["file"][1:] != rows["file"][:-1]) | is_apart
    first = np.flatnonzero(np.concatenate([[True], is_other]))
    last = np.append(first[1:], len(rows)) - 1
    intervals = rows[first]
    intervals["to_seconds"] = rows["to_seconds"][last]
    intervals["peak"] = np.maximum.reduceat(rows["peak"], first)
    peaks = np.flatnonzero(rows["peak"] == np.repeat(intervals["peak"], last - first + 1))
    intervals["peak_seconds"] = rows["peak_seconds"][peaks[np.searchsorted(peaks, first)]]
    return intervals


def _best_of(intervals: np.ndarray, top: int) -> np.ndarray:
    """Returns the intervals with the highest peaks, highest first; of equal ones, the earlier ones in the array."""
    return intervals[np.argsort(-intervals["peak"], kind="stable")[:top]]


def shown_path(video: str) -> str:
    """Returns a video's path, relative to the current folder if it lies below it."""
    relative = os.path.relpath(video) if os.path.isabs(video) else video  # noqa: PTH117
    return video if relative.startswith(os.pardir) else relative
