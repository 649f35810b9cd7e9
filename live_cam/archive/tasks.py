"""The tasks of workers: prepare the model, look at a video, explain a segment, make the annotated video."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import cv2

from live_cam.archive.dataset import (
    TOP_COUNT,
    Dataset,
    ScoreName,
    table_metadata,
)
from live_cam.archive.segment import Segment, SegmentResult, explain_segment, finished_segments
from live_cam.errors import LiveCamError, SettingError, SinkError, SourceError
from live_cam.explain.load import build_explainer
from live_cam.jobs.batch import make_folder
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext
from live_cam.pipeline.feed import target_index
from live_cam.settings import ArchiveSettings, FeedSettings, JobSettings, OutputSettings, SourceSettings
from live_cam.sources.address import fingerprint
from live_cam.sources.video import VideoSource

if TYPE_CHECKING:
    from live_cam.explain.explainer import ModelExplainer
    from live_cam.jobs.outcome import Progress

_REPORT_SECONDS = 0.5

Result_co = TypeVar("Result_co", covariant=True)


class Worker:
    """Holds what the tasks of one process share: the index and the explainer, which is loaded on first use.

    Args:
        settings: Of the archive.
    """

    def __init__(self, settings: ArchiveSettings) -> None:
        self.settings = settings
        self.dataset = Dataset(settings.output)
        self._explainer: ModelExplainer | None = None

    @property
    def explainer(self) -> ModelExplainer:
        """The explainer, with one thread: there are as many workers as cores."""
        if self._explainer is None:
            self._explainer = self._built(self.settings.explainer.precision)
        return self._explainer

    def require(self, precision: str) -> None:
        """Loads the explainer with the precision that all rows of the index have.

        Raises:
            SettingError: That was measured on another machine, and this one would use another precision.
        """
        if self._explainer is None:
            self._explainer = self._built(precision)
        if self._explainer.precision != precision:
            reason = self._explainer.info.precision_reason
            raise SettingError(f"{platform.node()} cannot explain with {precision}: {reason}; use precision float")

    def _built(self, precision: str) -> ModelExplainer:
        settings = replace(self.settings.explainer, threads=1, top_k=TOP_COUNT, precision=precision)
        return build_explainer(replace(settings, calibrate=None) if precision == "float" else settings)

    @property
    def score(self) -> ScoreName:
        """The kind of the model's scores: "probability", or "value" for numbers."""
        return "value" if self.explainer.info.head == "regression" else "probability"


class Task(Protocol[Result_co]):
    """A piece of work; frozen and small, because it is sent to other processes and machines.

    Attributes:
        precision: Of the explainer, which is loaded before; None: the task needs none.
        is_watched: Whether a worker that reads no frame for long is ended.
    """

    precision: str | None = None
    is_watched: bool = True

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> Result_co:
        """Does the work.

        Args:
            worker: The process that does it.
            on_frame: Called often, with the seconds of the video that are done.

        Raises:
            SourceError: It failed because of the video.
            LiveCamError: It failed because of the model or the disk, as all others will.
        """
        ...


@dataclass(frozen=True)
class Failure:
    """A task failed.

    Attributes:
        reason: Why, in one line.
        error: The error, if it concerns the whole run; None if it concerns the video.
    """

    reason: str
    error: LiveCamError | None = None


def attempt(worker: Worker, task: Task[Any], report: Callable[[float], None]) -> Any:
    """Runs a task in a worker's own process and returns its result, or a ``Failure``.

    The process ends if the task reads no frame for ``stall_seconds``, also if it hangs in native code.

    Args:
        worker: The process.
        task: What is done.
        report: Called at most twice a second with the seconds of the video that are done, at first with 0.
    """
    try:
        if task.precision is not None:
            worker.require(task.precision)
        report(0.0)
        with _watchdog(worker.settings.stall_seconds if task.is_watched else None, report) as on_frame:
            return task.run(worker, on_frame)
    except SourceError as error:
        return Failure(str(error))
    except LiveCamError as error:
        return Failure(str(error), error)
    except (MemoryError, cv2.error) as error:
        return Failure(f"not enough memory ({type(error).__name__})")


@contextlib.contextmanager
def _watchdog(stall_seconds: float | None, report: Callable[[float], None]) -> Iterator[Callable[[float], None]]:
    """Yields a function to be called for each frame; without such calls, the process ends.

    Only a thread that needs no Python, as faulthandler's, can end a process that hangs in a library.
    """
    interval_seconds = _REPORT_SECONDS if stall_seconds is None else min(_REPORT_SECONDS, stall_seconds / 4)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        last_seconds = time.monotonic()

        def arm() -> None:
            if stall_seconds is not None:
                faulthandler.dump_traceback_later(stall_seconds, exit=True, file=nowhere)

        def on_frame(done_seconds: float) -> None:
            nonlocal last_seconds
            now_seconds = time.monotonic()
            if now_seconds - last_seconds >= interval_seconds:
                last_seconds = now_seconds
                arm()
                report(done_seconds)

        arm()
        try:
            yield on_frame
        finally:
            faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True)
class ModelFacts:
    """Describes the model in ``index.json``.

    Attributes:
        model: Its name.
        method: The CAM method.
        layer: The target layer.
        engine: What executes it.
        engine_reason: Why this engine.
        precision: "float" or "int8".
        precision_reason: Why float, if int8 was asked for; else empty.
        warning: What looks wrong with the model; None if nothing does.
        score: What its predictions have.
        labels: All class labels.
        target_index: The class that is explained in all frames; None: the top class of each.
    """

    model: str
    method: str
    layer: str
    engine: str
    engine_reason: str
    precision: str
    precision_reason: str
    warning: str | None
    score: ScoreName
    labels: tuple[str, ...]
    target_index: int | None


@dataclass(frozen=True)
class PrepareTask(Task[ModelFacts]):
    """Converts the model, if it is new, so that the workers only load it."""

    is_watched = False

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> ModelFacts:
        """See ``Task``."""
        explainer = worker.explainer
        return ModelFacts(
            explainer.model_name,
            explainer.method,
            explainer.layer,
            explainer.engine_name,
            explainer.engine_reason,
            explainer.precision,
            explainer.info.precision_reason,
            explainer.info.warning,
            worker.score,
            explainer.labels,
            target_index(explainer, worker.settings.target),
        )


@dataclass(frozen=True)
class VideoInfo:
    """Describes a video file, before it is explained.

    Attributes:
        size_bytes: Size of the file.
        digest: Fingerprint of its content.
        duration_seconds: As its header says; None if it does not.
        width: Of its frames in pixels.
        height: Of its frames in pixels.
    """

    size_bytes: int
    digest: str
    duration_seconds: float | None
    width: int
    height: int


@dataclass(frozen=True)
class Probe:
    """Result of looking at a video and at what an earlier run made of it.

    Attributes:
        info: The video.
        finished: The row of ``videos`` if an earlier run finished the video; else None.
        segments: The segments that an earlier run finished.
        is_annotated: Whether the annotated video exists.
    """

    info: VideoInfo
    finished: dict[str, Any] | None
    segments: tuple[SegmentResult, ...]
    is_annotated: bool


@dataclass(frozen=True)
class ProbeTask(Task[Probe]):
    """Looks at a video, and what an earlier run made of it. Files that were made of another content are removed."""

    video: str
    file_name: str

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> Probe:
        """See ``Task``."""
        dataset, path = worker.dataset, Path(self.video)
        try:
            digest, size_bytes = fingerprint(path), path.stat().st_size
        except OSError as error:
            raise SourceError(f"cannot read {self.video}: {error.strerror}") from None
        frames = dataset.table("frames", self.file_name)
        made = table_metadata(frames)
        if made is not None and made.get("digest") != digest:
            _remove_all(dataset, self.file_name)
            made = None
        annotated = dataset.annotated(self.file_name)
        finished = made if made is not None and made.get("state") == "done" else None
        if finished is not None:
            shutil.rmtree(dataset.segments(self.file_name), ignore_errors=True)  # of a run that was killed just then
            info = VideoInfo(**{name: finished[name] for name in VideoInfo.__dataclass_fields__})
            return Probe(info, finished, (), annotated.exists())
        with VideoSource(self.video, decoder_threads=1) as source:
            info = VideoInfo(size_bytes, digest, source.duration_seconds, *source.size_wh)
        segments = finished_segments(dataset, self.file_name, digest)
        return Probe(info, None, tuple(segments), annotated.exists())


@dataclass(frozen=True)
class SegmentTask(Task[SegmentResult]):
    """Explains a segment."""

    segment: Segment
    precision: str

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> SegmentResult:
        """See ``Task``."""
        return explain_segment(self.segment, worker.dataset, worker.explainer, worker.score, on_frame)


@dataclass(frozen=True)
class AnnotateTask(Task[None]):
    """Makes the annotated video, as ``livecam VIDEO --output`` does."""

    video: str
    file_name: str
    precision: str

    def run(self, worker: Worker, on_frame: Callable[[float], None]) -> None:
        """See ``Task``."""
        output = worker.dataset.annotated(self.file_name)
        make_folder(output.parent)

        frames_before = (0, 0)

        def on_progress(progress: Progress) -> None:
            nonlocal frames_before
            # It is called also while nothing happens.
            frames = (progress.frames_explained, progress.frames_written)
            if frames != frames_before or progress.stage == "finishing":
                frames_before = frames
                on_frame(0.0)

        settings = JobSettings(
            source=SourceSettings(video=self.video),
            explainer=worker.explainer.settings,
            feed=FeedSettings(target=worker.settings.target),
            output=OutputSettings(output=output, show=False, resume=None),
        )
        explainer = worker.explainer
        try:
            run_job(settings, JobContext(on_progress=on_progress), lambda frame: explainer)
        except SinkError as error:
            # The encoder may refuse this video's size. If it is the disk, the next table ends the run.
            raise SourceError(str(error)) from None


def _remove_all(dataset: Dataset, file_name: str) -> None:
    dataset.annotated(file_name).unlink(missing_ok=True)
    shutil.rmtree(dataset.segments(file_name), ignore_errors=True)
    # The frames last: with them, the video counts as made.
    for kind in ("scenes", "maps", "frames"):
        dataset.table(kind, file_name).unlink(missing_ok=True)
