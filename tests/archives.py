"""Makes indexes of videos, and reads their tables and what single runs say about the same videos."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from standin import StandIn

from live_cam.archive.archive import run_archive
from live_cam.archive.dataset import file_name_of
from live_cam.archive.merge import MergeTask
from live_cam.archive.outcome import ArchiveOutcome
from live_cam.archive.segment import Segment, explain_segment
from live_cam.archive.tasks import ProbeTask, Worker
from live_cam.explain.explainer import Explainer
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext
from live_cam.settings import ArchiveSettings, FeedSettings, JobSettings, OutputSettings, SourceSettings


def archive(index: Path, *videos: object, lines: list[str] | None = None, **changes: Any) -> ArchiveOutcome:
    """Makes or completes an index in this process, with workers of its own."""
    settings = ArchiveSettings(tuple(map(str, videos)), index, **changes)
    return run_archive(settings, JobContext(on_line=[].append if lines is None else lines.append))


def table(index: Path, kind: str, video: Path) -> pa.Table:
    """Reads the frames, scenes or maps of one video."""
    return pq.read_table(index / kind / f"{file_name_of(str(video))}.parquet")


def videos_in(index: Path) -> dict[str, dict[str, Any]]:
    """Returns the rows of ``videos`` by the names of the videos."""
    rows = pq.read_table(index / "videos.parquet").to_pylist()
    assert len({row["video"] for row in rows}) == len(rows)
    return {Path(row["video"]).name: row for row in rows}


def tables_of(index: Path) -> dict[str, list[dict[str, Any]]]:
    """Returns all rows of all tables by the names of their files."""
    return {str(path.relative_to(index)): pq.read_table(path).to_pylist() for path in sorted(index.rglob("*.parquet"))}


def single_run(video: Path, folder: Path, explainer: Explainer, target: str | None = None, **outputs: str) -> Path:
    """Runs a job over a video as ``livecam VIDEO --smooth 0 --sidecar rows.csv`` does; returns the sidecar."""
    sidecar = folder / f"{video.name}.csv"
    settings = JobSettings(
        SourceSettings(video=str(video)),
        feed=FeedSettings(smooth_seconds=0, target=target),
        output=OutputSettings(
            sidecar=sidecar, show=False, overwrite=True, **{name: folder / path for name, path in outputs.items()}
        ),
    )
    run_job(settings, JobContext(), lambda frame: explainer)
    return sidecar


def rows_of_sidecar(sidecar: Path) -> list[dict[str, Any]]:
    """Returns the rows of a table in CSV, with numbers as numbers, and None for empty cells."""
    with sidecar.open(encoding="utf-8", newline="") as file:
        return [{name: _value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def _value(name: str, text: str) -> str | float | None:
    if "label" in name:
        return text
    return float(text) if text else None


def assert_same_rows(frames: pa.Table, rows: list[dict[str, Any]]) -> None:
    """The table has the rows of a single run; a sidecar rounds numbers to six digits, the table to 32 bits."""
    columns = list(rows[0])
    assert frames.num_rows == len(rows)
    for made, expected in zip(frames.select(columns).to_pylist(), rows, strict=True):
        for name in columns:
            value = (
                expected[name] if isinstance(expected[name], str | None) else pytest.approx(expected[name], abs=1e-6)
            )
            assert made[name] == value, (name, expected["index"])


def standin_merge(
    video: Path, index: Path, segment_seconds: float, every_seconds: float | None = None
) -> tuple[MergeTask, Worker]:
    """Explains one video in this process, segment by segment, without a network; returns what makes its tables."""
    worker = Worker(ArchiveSettings((str(video),), index))
    name, results = file_name_of(str(video)), []
    info = ProbeTask(str(video), name).run(worker, ignore).info
    while not results or not results[-1].is_last:
        number = len(results)
        end_seconds = math.inf if info.duration_seconds is None else (number + 1) * segment_seconds
        segment = Segment(
            str(video), name, info.digest, number, number * segment_seconds, end_seconds, every_seconds, None, True
        )
        results.append(explain_segment(segment, worker.dataset, StandIn(), "probability", ignore))
        assert number < 100
    return MergeTask(str(video), name, info, tuple(results), "probability", True, (("model", "stand-in"),)), worker


def standin_index(
    video: Path, index: Path, segment_seconds: float, every_seconds: float | None = None
) -> tuple[dict[str, Any], pa.Table]:
    """Makes the tables of one video with ``standin_merge``; returns its row of ``videos`` and its frames."""
    task, worker = standin_merge(video, index, segment_seconds, every_seconds)
    return task.run(worker, ignore), table(index, "frames", video)


def ignore(seconds: float) -> None:
    """Takes the progress that nobody waits for."""
