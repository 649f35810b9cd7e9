"""Makes an index of many videos: plans the tasks, hands them to workers, and tries failed ones again."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from live_cam.archive.dataset import (
    Dataset,
    file_name_of,
)
from live_cam.archive.description import (
    archive_identity,
    check_same_precision,
    check_same_settings,
    write_description,
)
from live_cam.archive.merge import MergeTask
from live_cam.archive.outcome import ArchiveOutcome, ArchiveProgress
from live_cam.archive.pool import Pool, ProcessPool
from live_cam.archive.segment import SegmentResult
from live_cam.archive.tasks import (
    AnnotateTask,
    Failure,
    ModelFacts,
    PrepareTask,
    Probe,
    ProbeTask,
    SegmentTask,
    Task,
)
from live_cam.archive.video_plan import VideoPlan
from live_cam.archive.videos import problem_of, videos_of
from live_cam.archive.videos_table import VideosTable
from live_cam.engines.protocol import usable_cores
from live_cam.errors import SettingError, SourceError
from live_cam.jobs.batch import check_folder, make_folder
from live_cam.models.reference import resolve_settings
from live_cam.sinks.atomic_file import OutputLock

if TYPE_CHECKING:
    from live_cam.jobs.outcome import JobContext
    from live_cam.settings import ArchiveSettings

_POLL_SECONDS = 0.2
_PROGRESS_SECONDS = 0.5
# A model that was converted before is ready within this time.
_QUICK_SECONDS = 3.0


def run_archive(
    settings: ArchiveSettings,
    context: JobContext,
    on_progress: Callable[[ArchiveProgress], None] = lambda progress: None,
) -> ArchiveOutcome:
    """Makes an index, or completes the one of an earlier run, and continues after videos that fail.

    Args:
        settings: What is made.
        context: How it reports and is stopped.
        on_progress: Called several times per second.

    Raises:
        LiveCamError: About all videos: the model, a setting, the disk, or another run that writes the same index.
    """
    videos = videos_of(settings.videos, settings.output)
    resolve_settings(settings.explainer)
    check_folder(settings.output)
    make_folder(settings.output)
    dataset = Dataset(settings.output)
    with ExitStack() as stack:
        stack.enter_context(_lock(dataset))
        identity = archive_identity(settings)
        check_same_settings(dataset, identity)
        dataset.remove_partial_tables()
        stack.callback(dataset.remove_partial_tables)  # when the workers have ended
        pool = stack.enter_context(_pool(settings))
        run = _Run(settings, dataset, identity, pool, context, on_progress)
        return run.run(videos)


def _lock(dataset: Dataset) -> OutputLock:
    try:
        return OutputLock(dataset.info)
    except OSError as error:
        raise SettingError(f"cannot write to {dataset.folder}: {error.strerror}; give another folder") from None


def _pool(settings: ArchiveSettings) -> Pool:
    if settings.ray is not None:
        try:
            from live_cam.archive.ray_pool import RayPool
        except ImportError as error:
            raise SettingError(f'--ray needs the package {error.name}: pip install ".[ray]"') from None
        return RayPool(settings)
    return ProcessPool(settings, settings.workers or usable_cores())


class _Run:
    """One run of an archive: the videos, the tasks that wait, and how often each has failed."""

    def __init__(
        self,
        settings: ArchiveSettings,
        dataset: Dataset,
        identity: dict[str, str],
        pool: Pool,
        context: JobContext,
        on_progress: Callable[[ArchiveProgress], None],
    ) -> None:
        self._settings, self._dataset, self._identity = settings, dataset, identity
        # One text for all rows.
        self._identity_text = json.dumps(identity)
        self._pool, self._context, self._on_progress = pool, context, on_progress
        self._videos: dict[str, VideoPlan] = {}
        self._waiting: deque[tuple[VideoPlan, Task[Any]]] = deque()
        # Videos with segments that are not begun. Their tasks are made one by one: a header may promise a million.
        self._unbegun: dict[str, VideoPlan] = {}
        self._running: dict[Task[Any], VideoPlan] = {}
        self._done_seconds: dict[Task[Any], float] = {}
        self._failure_counts: Counter[Task[Any]] = Counter()
        self._facts: ModelFacts | None = None
        self._table = VideosTable(dataset)
        self._row_count = self._done_count = self._skipped_count = self._failed_count = 0
        self._complete_count = self._unprobed_count = 0
        # Explained in this run; explained before it; of all videos that are not finished.
        self._media_seconds = self._media_earlier_seconds = self._media_total_seconds = 0.0
        self._started_seconds = self._next_progress_seconds = time.monotonic()

    def run(self, videos: Sequence[str]) -> ArchiveOutcome:
        """Does all tasks."""
        for path in videos:
            self._add(path)
        self._prepare()
        self._table.read()
        try:
            self._table.write(self._videos.values())
            while not self._context.stop.is_set() and self._has_work:
                self._submit()
                for event in self._pool.events(_POLL_SECONDS):
                    if event.done_seconds is not None:
                        self._done_seconds[event.task] = event.done_seconds
                    else:
                        self._finish(event.task, event.result)
                if time.monotonic() >= self._next_progress_seconds:
                    self._next_progress_seconds = time.monotonic() + _PROGRESS_SECONDS
                    self._on_progress(self._progress())
                if self._table.is_due:
                    self._table.write(self._videos.values())
            self._on_progress(self._progress())
        finally:
            self._table.write(self._videos.values())
            self._dataset.remove_empty_folders()
        return self._outcome()

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting or self._unbegun or self._running)

    def _prepare(self) -> None:
        """Converts the model, if it is new, and writes what the index says about it.

        Raises:
            LiveCamError: The model cannot be used.
        """
        facts: Any = None
        started_seconds = time.monotonic()
        is_told, tries_left = False, self._settings.retries
        # TensorFlow stays in the process that converts; the workers only load what it made.
        with ProcessPool(self._settings, 1) as pool:
            pool.submit(PrepareTask())
            while facts is None and not self._context.stop.is_set():
                facts = next((event.result for event in pool.events(_POLL_SECONDS) if event.result), None)
                if isinstance(facts, Failure) and facts.error is None and tries_left:
                    facts, tries_left = None, tries_left - 1
                    pool.submit(PrepareTask())
                if not is_told and time.monotonic() - started_seconds > _QUICK_SECONDS:
                    self._context.on_build("preparing the model ...")
                    is_told = True
                self._on_progress(ArchiveProgress(videos_total=len(self._videos)))
        if isinstance(facts, Failure):
            raise facts.error or SourceError(f"the model could not be prepared: {facts.reason}")
        if facts is None:
            return
        check_same_precision(self._dataset, facts)
        self._facts = facts
        if facts.warning:
            self._context.on_line(f"warning: {facts.warning}")
        if facts.engine == "tensorflow":
            self._context.on_line(f"each worker loads TensorFlow and uses about 1 GB: {facts.engine_reason}")
        if facts.precision_reason:
            self._context.on_line(f"precision float: {facts.precision_reason}")
        write_description(self._dataset, self._settings, self._identity, facts)

    def _add(self, path: str) -> None:
        video = VideoPlan(path, file_name_of(path))
        self._videos[path] = video
        problem = problem_of(path)
        if problem is not None:
            self._fail(video, problem)
        else:
            self._unprobed_count += 1
            self._waiting.append((video, ProbeTask(path, video.file_name)))

    def _submit(self) -> None:
        while self._pool.room > 0:
            if self._waiting:
                video, task = self._waiting.popleft()
                if isinstance(task, SegmentTask) and not video.needs(task.segment):
                    continue
            elif self._unbegun:
                video = next(iter(self._unbegun.values()))
                task = self._next_segment(video)
            else:
                return
            self._running[task] = video
            self._pool.submit(task)

    def _next_segment(self, video: VideoPlan) -> SegmentTask:
        if self._facts is None or video.probe is None:
            raise RuntimeError("a segment needs the model and the video")
        segment = video.take_next(video.probe, self._settings, self._facts.target_index)
        self._note_next(video)
        return SegmentTask(segment, self._facts.precision)

    def _note_next(self, video: VideoPlan) -> None:
        if video.has_next:
            self._unbegun.setdefault(video.path, video)
        else:
            self._unbegun.pop(video.path, None)

    def _finish(self, task: Task[Any], result: Any) -> None:
        video = self._running.pop(task)
        self._done_seconds.pop(task, None)
        reason = result.reason if isinstance(result, Failure) else getattr(result, "error", None)
        if isinstance(result, Failure) and result.error is not None:
            raise result.error
        if isinstance(task, SegmentTask) and not video.needs(task.segment):
            self._go_on(video)
        elif reason is not None and self._may_try_again(task):
            self._waiting.append((video, task))
        elif isinstance(task, ProbeTask):
            self._unprobed_count -= 1
            self._fail(video, reason) if reason is not None else self._probed(video, result)
        elif isinstance(task, SegmentTask):
            number = task.segment.number
            self._explained(video, SegmentResult(number, error=reason) if isinstance(result, Failure) else result)
        elif reason is not None:
            self._fail(video, reason)
        elif isinstance(task, MergeTask):
            self._merged(video, result)
        else:
            self._complete(video)

    def _may_try_again(self, task: Task[Any]) -> bool:
        self._failure_counts[task] += 1
        return self._failure_counts[task] <= self._settings.retries

    def _probed(self, video: VideoPlan, probe: Probe) -> None:
        if probe.finished is not None:
            video.probe = probe
            video.row = {**probe.finished, "settings": self._identity_text}
            self._row_count += probe.finished["row_count"]
            self._annotate(video)
            return
        if self._table.earlier_rows.get(video.path, {}).get("digest") != probe.info.digest:
            self._table.earlier_rows.pop(video.path, None)  # It was about another video of that name.
        seconds = self._settings.segment_seconds
        self._media_total_seconds += probe.info.duration_seconds or 0.0
        self._media_earlier_seconds += sum(result.end_seconds - result.number * seconds for result in probe.segments)
        video.begin(probe, seconds)
        self._go_on(video)

    def _explained(self, video: VideoPlan, result: SegmentResult) -> None:
        video.add(result)
        self._media_seconds += max(0.0, result.end_seconds - result.number * self._settings.segment_seconds)
        self._go_on(video)

    def _go_on(self, video: VideoPlan) -> None:
        """Lets the next segment be begun, or merges all when their results are there."""
        self._note_next(video)
        is_running = any(running is video for running in self._running.values())
        if video.has_all_results and not is_running and self._facts is not None and video.probe is not None:
            info, score, maps = video.probe.info, self._facts.score, self._settings.maps
            about = (("model", self._facts.model), ("settings", self._identity_text))
            task = MergeTask(video.path, video.file_name, info, video.ordered_results, score, maps, about)
            self._waiting.appendleft((video, task))

    def _merged(self, video: VideoPlan, row: dict[str, Any]) -> None:
        video.row = {**row, "settings": self._identity_text}
        self._row_count += row["row_count"]
        if row["state"] == "done":
            self._annotate(video)
        else:
            self._complete(video)

    def _annotate(self, video: VideoPlan) -> None:
        is_missing = video.probe is not None and not video.probe.is_annotated
        if self._settings.annotate and is_missing and self._facts is not None:
            self._waiting.appendleft((video, AnnotateTask(video.path, video.file_name, self._facts.precision)))
        else:
            self._complete(video)

    def _fail(self, video: VideoPlan, reason: str) -> None:
        video.row = {**video.shown_row, "state": "failed", "error": reason}
        self._complete(video)

    def _complete(self, video: VideoPlan) -> None:
        row = video.row or {}
        self._table.earlier_rows.pop(row.get("video", ""), None)
        self._complete_count += 1
        if row.get("state") != "done":
            self._failed_count += 1
        elif video.probe is not None and video.probe.finished is not None:
            self._skipped_count += 1
        else:
            self._done_count += 1

    def _progress(self) -> ArchiveProgress:
        videos = self._videos.values()
        done_now = self._media_seconds + sum(self._done_seconds.values())
        elapsed = time.monotonic() - self._started_seconds
        speed = done_now / elapsed if done_now and elapsed else None
        left = max(0.0, self._media_total_seconds - self._media_earlier_seconds - done_now)
        return ArchiveProgress(
            videos_done=self._complete_count,
            videos_total=len(self._videos),
            segments_done=sum(len(video.results) for video in videos),
            segments_total=sum(max(video.planned_count, len(video.results)) for video in videos),
            media_seconds_done=self._media_earlier_seconds + done_now,
            media_seconds_total=self._media_total_seconds,
            media_per_second=speed,
            seconds_left=left / speed if speed and self._unprobed_count == 0 else None,
            failed=self._failed_count,
        )

    def _outcome(self) -> ArchiveOutcome:
        lines = (video.failure_line for video in self._videos.values())
        return ArchiveOutcome(
            done=self._done_count,
            skipped=self._skipped_count,
            failures=tuple(line for line in lines if line is not None),
            row_count=self._row_count,
            media_seconds=self._media_seconds,
            wall_seconds=time.monotonic() - self._started_seconds,
            was_interrupted=self._complete_count < len(self._videos),
        )
