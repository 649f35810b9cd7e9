"""Progress and result of an archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchiveProgress:
    """How far an archive is.

    Attributes:
        videos_done: Number of videos that are complete or failed.
        videos_total: Number of videos.
        segments_done: Number of explained segments.
        segments_total: Number of segments, as far as is known.
        media_seconds_done: Length of what is explained.
        media_seconds_total: Length of all videos, as far as is known.
        media_per_second: Seconds of video that are explained in a second; None at the beginning.
        seconds_left: Estimated time to the end; None if unknown.
        failed: Number of videos that failed.
    """

    videos_done: int = 0
    videos_total: int = 0
    segments_done: int = 0
    segments_total: int = 0
    media_seconds_done: float = 0.0
    media_seconds_total: float = 0.0
    media_per_second: float | None = None
    seconds_left: float | None = None
    failed: int = 0


@dataclass(frozen=True)
class ArchiveOutcome:
    """Result of an archive.

    Attributes:
        done: Number of videos that were explained.
        skipped: Number of videos that an earlier run had explained.
        failures: A line, with the reason, about each video that could not be read, or not to its end.
        row_count: Number of rows of all these videos.
        media_seconds: Length of what was explained.
        wall_seconds: Duration of the run.
        was_interrupted: Whether it was ended before all videos were done.
    """

    done: int
    skipped: int
    failures: tuple[str, ...]
    row_count: int
    media_seconds: float
    wall_seconds: float
    was_interrupted: bool
