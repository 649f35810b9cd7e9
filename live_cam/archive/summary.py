"""Sums up an index: which classes were seen for how long, in which videos, and where the network was least certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from live_cam.archive.condition import Condition, ConditionSql
from live_cam.archive.search import Index

# Moments of a video that are nearer to each other than this show much the same.
_BETWEEN_MOMENTS_SECONDS = 10.0
_CLASSES_PER_VIDEO = 5


@dataclass(frozen=True)
class ClassTime:
    """How long a class was the top class.

    Attributes:
        label: The class.
        seconds: Sum of the rows' durations.
        video_count: Number of videos in which it was.
    """

    label: str
    seconds: float
    video_count: int


@dataclass(frozen=True)
class VideoTime:
    """How long the classes of a video were seen.

    Attributes:
        video: Its path, as the index has it.
        seconds: Sum of the rows' durations.
        classes: Label and seconds of the top classes, at most five, longest first.
    """

    video: str
    seconds: float
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Moment:
    """A row whose top class has a low probability; worth a label of a human.

    Attributes:
        video: Path of the video, as the index has it.
        time_seconds: Media time.
        label: The top class.
        probability: Its probability.
        file_name: Name of the video's files in the index, without suffix.
    """

    video: str
    time_seconds: float
    label: str
    probability: float
    file_name: str


@dataclass(frozen=True)
class Summary:
    """Totals over the rows of an index. Times are rounded to microseconds.

    Attributes:
        seconds: Sum of the rows' durations.
        classes: All top classes, longest first.
        videos: All videos that have rows, longest first.
        least_certain: Rows with the lowest probabilities of their top class, lowest first, at least 10 s from each
            other; none if the network returns numbers.
    """

    seconds: float
    classes: tuple[ClassTime, ...]
    videos: tuple[VideoTime, ...]
    least_certain: tuple[Moment, ...]


def summarize(index: Index, condition: Condition | None, top: int) -> Summary:
    """Sums up the rows in which a condition holds.

    Args:
        index: An open index.
        condition: Decides about each row. None: all rows.
        top: Number of the least certain moments.

    Raises:
        SourceError: A table is damaged.
    """
    names = dict(
        index.rows("SELECT file_index, any_value(video) FROM read_parquet($files) GROUP BY 1", index.files, {})
    )
    sql = ConditionSql(index.score)
    query = f"""
        SELECT file_index, class_index_1, round(sum(duration_seconds), 6) FROM read_parquet($files)
        WHERE {sql.condition(condition)} GROUP BY ALL ORDER BY 3 DESC, 1, 2"""
    rows = index.rows(query, index.files, sql.parameters)
    return Summary(
        seconds=_sum(seconds for _, _, seconds in rows),
        classes=tuple(_class_times(index, rows)),
        videos=tuple(_video_times(index, rows, names)),
        least_certain=tuple(_moments(index, condition, top, names)) if index.score == "probability" else (),
    )


def _sum(seconds: Iterable[float]) -> float:
    return round(sum(seconds), 6)


def _class_times(index: Index, rows: Iterable[tuple[int, int, float]]) -> list[ClassTime]:
    seconds_by_class: dict[int, list[float]] = {}
    for _, class_index, seconds in rows:
        seconds_by_class.setdefault(class_index, []).append(seconds)
    times = [ClassTime(index.label_of(number), _sum(times), len(times)) for number, times in seconds_by_class.items()]
    return sorted(times, key=lambda time: (-time.seconds, time.label))


def _video_times(index: Index, rows: Iterable[tuple[int, int, float]], names: Mapping[int, str]) -> list[VideoTime]:
    by_file: dict[int, list[tuple[str, float]]] = {}
    for file, class_index, seconds in rows:
        by_file.setdefault(file, []).append((index.label_of(class_index), seconds))
    times = [
        VideoTime(names[file], _sum(seconds for _, seconds in classes), tuple(classes[:_CLASSES_PER_VIDEO]))
        for file, classes in by_file.items()
    ]
    return sorted(times, key=lambda time: (-time.seconds, time.video))


def _moments(index: Index, condition: Condition | None, top: int, names: Mapping[int, str]) -> list[Moment]:
    sql = ConditionSql(index.score)
    # The lowest of each span. A moment that is taken excludes at most those of the spans before and behind it.
    query = f"""
        SELECT file_index, min({{'p': probability_1, 'time': time_seconds, 'class': class_index_1}}) AS lowest
        FROM read_parquet($files) WHERE ({sql.condition(condition)}) AND probability_1 IS NOT NULL
        GROUP BY file_index, floor(time_seconds / {_BETWEEN_MOMENTS_SECONDS}) ORDER BY lowest, 1 LIMIT {3 * top}"""
    taken: list[tuple[int, float]] = []
    moments: list[Moment] = []
    for file, lowest in index.rows(query, index.files, sql.parameters):
        time = lowest["time"]
        if any(other == file and abs(time - seconds) < _BETWEEN_MOMENTS_SECONDS for other, seconds in taken):
            continue
        taken.append((file, time))
        label = index.label_of(lowest["class"])
        moments.append(Moment(names[file], round(time, 6), label, lowest["p"], Path(index.files[file]).stem))
    return moments[:top]
