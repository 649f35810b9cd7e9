"""Explains a segment of a video: from one time to another, each frame on its own, into tables of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.archive.dataset import (
    MAP_SCHEMA,
    SCENE_SCHEMA,
    TOP_COUNT,
    Dataset,
    ScoreName,
    TableWriter,
    frame_schema,
    table_metadata,
    table_of,
)
from live_cam.archive.scenes import SceneCollector, score_of
from live_cam.errors import SourceError
from live_cam.sinks.sidecar import heatmap_summary
from live_cam.sources.address import fingerprint
from live_cam.sources.video import NoFrameLeftError, ResumePoint, VideoSource

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Explanation, Frame, Prediction

# Of a sane video; one whose times do not advance would never end.
_MOST_FRAMES_PER_SECOND = 1000
_ROWS_IN_MEMORY = 1000
# A time that is a rounding error before the next slot belongs to it.
_SLOT_SLACK = 1e-6


@dataclass(frozen=True)
class Segment:
    """A part of a video.

    Attributes:
        video: The video's path.
        file_name: What its files in the index are called.
        digest: The video's fingerprint.
        number: Of the segment, from 0.
        start_seconds: Its first media time.
        end_seconds: The next segment's first media time.
        every_seconds: Explain one frame in this time; None: all.
        target_index: The class to explain; None: the top class.
        has_maps: Whether the heatmaps are stored.
    """

    video: str
    file_name: str
    digest: str
    number: int
    start_seconds: float
    end_seconds: float
    every_seconds: float | None
    target_index: int | None
    has_maps: bool


@dataclass(frozen=True)
class SegmentResult:
    """Result of a segment.

    Attributes:
        number: The segment's number.
        frame_count: Number of frames, also of those that were not explained; None: unknown, its worker died.
        row_count: Number of explained frames.
        end_seconds: The end of its last frame; its beginning if it has no frame.
        is_last: Whether the video ended in it.
        goes_back: Whether times start again in it, so that they do not tell which segment a frame belongs to.
        error: Why it could not be read to its end; None if it was.
    """

    number: int
    frame_count: int | None = None
    row_count: int = 0
    end_seconds: float = 0.0
    is_last: bool = False
    goes_back: bool = False
    error: str | None = None


class _Picker:
    """Counts a segment's frames and picks those that are explained: the first one in each slot of time."""

    def __init__(self, segment: Segment) -> None:
        self.frame_count = 0
        self.last_seconds = segment.start_seconds
        self._segment = segment
        self._slot: int | None = None

    def __call__(self, time_seconds: float) -> bool:
        self.frame_count += 1
        self.last_seconds = time_seconds
        if self.frame_count > _MOST_FRAMES_PER_SECOND * (1 + self._segment.end_seconds - self._segment.start_seconds):
            raise SourceError(f"{self._segment.video} has more than {_MOST_FRAMES_PER_SECOND} frames per second")
        if self._segment.every_seconds is None:
            return True
        slot, before = math.floor(time_seconds / self._segment.every_seconds + _SLOT_SLACK), self._slot
        self._slot = slot
        return slot != before


def explain_segment(
    segment: Segment, dataset: Dataset, explainer: Explainer, score: ScoreName, on_frame: Callable[[float], None]
) -> SegmentResult:
    """Explains a segment and writes its tables; what could be read of a damaged one is kept.

    Args:
        segment: The segment.
        dataset: The index.
        explainer: Explains the frames.
        score: What the explainer's predictions have.
        on_frame: Called for each frame that is decoded, with its time in the segment in seconds; 0 before it.

    Raises:
        SinkError: The tables cannot be written.
    """
    picker, scenes = _Picker(segment), SceneCollector()
    tables = {
        "frames": frame_schema(score),
        "scenes": SCENE_SCHEMA,
        **({"maps": MAP_SCHEMA} if segment.has_maps else {}),
    }
    writers = {
        kind: TableWriter(dataset.segment_table(segment.file_name, segment.number, kind), schema)
        for kind, schema in tables.items()
    }
    try:
        rows = _Rows(segment.video, score, writers)

        def add(frame: Frame) -> None:
            network_input = explainer.preprocess(frame.image)
            explanation = explainer.explain_input(network_input, segment.target_index)
            rows.add(frame, explanation)
            scenes.add(frame, explanation, network_input.pixels)

        ending = _read(segment, picker, add, on_frame)
        end_seconds = picker.last_seconds + ending.frame_seconds if picker.frame_count else segment.start_seconds
        rows.end(end_seconds)
        scenes.end(end_seconds)
        for scene in scenes.scenes:
            rows.add_scene(
                scene.from_seconds, scene.to_seconds, scene.time_seconds, scene.explained, scenes.jpeg(scene)
            )
        result = SegmentResult(
            segment.number,
            picker.frame_count,
            rows.row_count,
            end_seconds,
            ending.is_last,
            ending.goes_back,
            ending.error,
        )
        # The frames last: their table says that the segment is complete.
        for kind in reversed(writers):
            writers[kind].finish({"digest": segment.digest, **asdict(result)})
        return result
    finally:
        for writer in writers.values():
            writer.close()


@dataclass
class _Ending:
    """How reading a segment ended: duration of its last frame, and the facts of ``SegmentResult``."""

    frame_seconds: float = 0.0
    is_last: bool = False
    goes_back: bool = False
    error: str | None = None


def _read(
    segment: Segment, picker: _Picker, add: Callable[[Frame], None], on_frame: Callable[[float], None]
) -> _Ending:
    """Reads a segment's frames and adds those that are picked."""
    ending = _Ending()
    # Every frame from the keyframe before, so that the first ones do not depend on where the segment begins.
    begin = None if segment.number == 0 else ResumePoint(0, segment.start_seconds)
    try:
        with VideoSource(
            segment.video,
            end_seconds=segment.end_seconds,
            resume_at=begin,
            wants=picker,
            decoder_threads=1,
            on_decoded=lambda seconds: on_frame(max(0.0, seconds - segment.start_seconds)),
        ) as source:
            ending.frame_seconds = float(1 / source.rate) if source.rate else 0.0
            while (frame := source.read()) is not None:
                add(frame)
                ending.frame_seconds = frame.duration_seconds or ending.frame_seconds
            ending.is_last, ending.goes_back = not source.has_more, source.goes_back
        _check_unchanged(segment)
    except NoFrameLeftError as empty:
        ending.is_last = not empty.has_more
    except SourceError as problem:
        # Numbers of frames would count from the segment's beginning.
        ending.error = re.sub(r" after frame \d+ \(([\d.]+ s)\)", r" after \1", str(problem))
    return ending


def _check_unchanged(segment: Segment) -> None:
    """Checks that a video still has the content that it had when it was first looked at.

    Raises:
        SourceError: It was replaced, or is still being written.
    """
    try:
        is_same = fingerprint(Path(segment.video)) == segment.digest
    except OSError as error:
        raise SourceError(f"cannot read {segment.video}: {error.strerror}") from None
    if not is_same:
        raise SourceError(f"{segment.video} changed while it was explained; run livecam archive again")


def finished_segments(dataset: Dataset, file_name: str, digest: str) -> list[SegmentResult]:
    """Returns the results of a video's segments that an earlier run completed without an error."""
    results = []
    for path in sorted(dataset.segments(file_name).glob("*.frames.parquet")):
        metadata = table_metadata(path)
        if metadata is not None and metadata.pop("digest", None) == digest and metadata.get("error") is None:
            results.append(SegmentResult(**metadata))
    return results


class _Rows:
    """Collects the rows of a segment and writes them a thousand at a time."""

    def __init__(self, video: str, score: ScoreName, writers: dict[str, TableWriter]) -> None:
        self.row_count = 0
        self._video, self._score, self._writers = video, score, writers
        self._frames: list[dict[str, Any]] = []
        self._maps: list[dict[str, Any]] = []

    def add(self, frame: Frame, explanation: Explanation) -> None:
        """Adds an explained frame."""
        if self._frames:
            self._set_duration(frame.time_seconds)
        if len(self._frames) == _ROWS_IN_MEMORY:
            self._write()
        self._frames.append(self._frame_row(frame, explanation))
        if "maps" in self._writers:
            self._maps.append(self._map_row(frame, explanation.heatmap))
        self.row_count += 1

    def add_scene(
        self, from_seconds: float, to_seconds: float, time_seconds: float, explained: Prediction, jpeg: bytes
    ) -> None:
        """Adds a scene."""
        row = {
            "video": self._video,
            "from_seconds": from_seconds,
            "to_seconds": to_seconds,
            "time_seconds": time_seconds,
            "explained_index": explained.class_index,
            "explained_label": explained.label,
            "explained_score": score_of(explained),
            "jpeg": jpeg,
        }
        self._writers["scenes"].write(table_of([row], SCENE_SCHEMA))

    def end(self, end_seconds: float) -> None:
        """Writes all rows; the last one stands until that time."""
        if self._frames:
            self._set_duration(end_seconds)
        self._write()

    def _set_duration(self, until_seconds: float) -> None:
        row = self._frames[-1]
        row["duration_seconds"] = max(0.0, until_seconds - row["time_seconds"])

    def _write(self) -> None:
        if self._frames:
            self._writers["frames"].write(table_of(self._frames, frame_schema(self._score)))
        if self._maps:
            self._writers["maps"].write(table_of(self._maps, MAP_SCHEMA))
        self._frames, self._maps = [], []

    def _frame_row(self, frame: Frame, explanation: Explanation) -> dict[str, Any]:
        heat = heatmap_summary(explanation)
        explained = explanation.explained
        row = {
            "video": self._video,
            "index": frame.index,
            "time_seconds": frame.time_seconds,
            "explained_index": explained.class_index,
            "explained_label": explained.label,
            f"explained_{self._score}": _finite(score_of(explained)),
            "peak": heat["peak"],
            "area_above_half": heat["area_above_half"],
        }
        row["centroid_x"], row["centroid_y"] = heat["centroid_xy"] or (None, None)
        for rank, prediction in enumerate(explanation.predictions[:TOP_COUNT], 1):
            row[f"class_index_{rank}"] = prediction.class_index
            row[f"label_{rank}"] = prediction.label
            row[f"{self._score}_{rank}"] = _finite(score_of(prediction))
        return row

    def _map_row(self, frame: Frame, heatmap: np.ndarray) -> dict[str, Any]:
        peak = float(np.nanmax(heatmap, initial=0))
        return {
            "video": self._video,
            "index": frame.index,
            "time_seconds": frame.time_seconds,
            "peak": peak,
            "map_height": heatmap.shape[0],
            "map_width": heatmap.shape[1],
            "map": (heatmap / (peak or 1)).astype(np.float16).ravel(),
        }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
