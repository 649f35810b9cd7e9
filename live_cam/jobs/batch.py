"""Runs several videos one after the other, each with its own files in a folder, with one model for all."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError, SinkError, SourceError
from live_cam.explain.load import build_explainer
from live_cam.jobs.resume import may_continue_finished
from live_cam.models.reference import resolve_settings
from live_cam.sources.address import is_pattern, names_for

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.jobs.outcome import JobContext, Outcome
    from live_cam.settings import JobSettings

    Load = Callable[[Frame], Explainer]


@dataclass(frozen=True)
class BatchOutcome:
    """Result of a batch.

    Attributes:
        done: Number of videos that were made.
        skipped: Number of videos that existed already.
        failed: Number of videos that could not be made.
        total: Number of videos.
        was_interrupted: Whether the batch was ended before the last video.
    """

    done: int
    skipped: int
    failed: int
    total: int
    was_interrupted: bool = False


@dataclass(frozen=True)
class BatchEvents:
    """Callbacks of a batch.

    Attributes:
        run: Runs one job with the shared explainer.
        on_skip: Called for a job whose files all exist.
        on_error: Called with the reason why a job failed.
    """

    run: Callable[[JobSettings, Load], Outcome]
    on_skip: Callable[[JobSettings], None]
    on_error: Callable[[SourceError | SinkError], None]


def is_batch(settings: JobSettings) -> bool:
    """Returns whether the video is a pattern, or an output is a folder.

    A file that is named like a pattern, such as "clip[1].mp4", is no pattern.
    """
    source, output = settings.source, settings.output
    if source.video is None or source.input_path is None:
        return False
    return is_pattern(source.video) or any(map(output.is_folder, output.paths))


def plan_batch(settings: JobSettings, names: Sequence[str] = ()) -> list[JobSettings]:
    """Returns a job for each video; those of a pattern are in the order of their names.

    Args:
        settings: What is done with each.
        names: The videos and patterns. Default: the settings' video.

    Raises:
        SourceError: No file matches.
        SettingError: Several videos would become one file, or are to be shown.
    """
    videos = _videos(names or [str(settings.source.video)])
    if settings.output.show:
        raise SettingError("several videos are written to files; for a window, give one video and no output folder")
    if not settings.output.paths:
        raise SettingError("nothing to do: for several videos, give a folder as output, sidecar or heatmaps")
    jobs = [_job_for(settings, video, len(videos)) for video in videos]
    made = Counter(path.resolve() for job in jobs for path in job.output.paths)
    for path, count in made.items():
        if count > 1:
            raise SettingError(f"{count} videos would become {path.name}; put videos that share a name into folders")
    return jobs


def run_batch(jobs: list[JobSettings], context: JobContext, events: BatchEvents) -> BatchOutcome:
    """Runs the jobs one after the other, and continues after those that fail.

    Unfinished videos of an earlier batch are continued where possible, finished ones are skipped.

    Args:
        jobs: From ``plan_batch``.
        context: How the model is reported, and how the batch is stopped.
        events: What is called for each job.

    Raises:
        LiveCamError: The model or a setting is invalid, which concerns every video.
    """
    settings = jobs[0].explainer
    resolve_settings(settings)
    loaded: list[Explainer] = []

    def load(frame: Frame) -> Explainer:
        if not loaded:
            loaded.append(build_explainer(settings, frame.image, context.on_build, context.on_line))
        return loaded[0]

    done = skipped = failed = 0
    for job in jobs:
        is_made = not job.output.overwrite and all(map(os.path.exists, job.output.paths))  # False if it cannot be known
        if is_made and not may_continue_finished(job):
            skipped += 1
            events.on_skip(job)
            continue
        if context.stop.is_set():
            return BatchOutcome(done, skipped, failed, len(jobs), was_interrupted=True)
        try:
            for path in job.output.paths:
                make_folder(path.parent)
            outcome = events.run(job, load)
        except (SourceError, SinkError) as error:
            failed += 1
            events.on_error(error)
            continue
        if outcome.was_interrupted:
            return BatchOutcome(done, skipped, failed, len(jobs), was_interrupted=True)
        skipped += outcome.was_finished
        done += not outcome.was_finished
    return BatchOutcome(done, skipped, failed, len(jobs))


def _videos(names: Sequence[str]) -> list[Path]:
    """Returns the files that the names and patterns mean, each once.

    Raises:
        SourceError: There is none.
    """
    matches = dict.fromkeys(Path(match) for name in names for match in names_for(name))
    videos = [path for path in matches if not path.is_dir()]
    if not videos:
        raise SourceError(f"{', '.join(names)}: no file matches; check the pattern, and the folder it begins with")
    return videos


def _job_for(settings: JobSettings, video: Path, video_count: int) -> JobSettings:
    """Returns the job for one video; in a folder, each file is named after its video."""
    output = settings.output

    def placed(path: Path | None, ending: str) -> Path | None:
        if path is None:
            return None
        if output.is_folder(path) or not path.suffix:
            return path / f"{video.stem}{ending}"
        if video_count > 1:
            raise SettingError(f"{video_count} videos cannot all become {path}; give a folder")
        return path

    return replace(
        settings,
        source=replace(settings.source, video=str(video)),
        output=replace(
            output,
            output=placed(output.output, ".mp4"),
            sidecar=placed(output.sidecar, ".jsonl"),
            heatmaps=placed(output.heatmaps, ".npz"),
            report=placed(output.report, ".json"),
            show=False,
            # Nobody decides for each of them: an unfinished one is resumed if possible, else started again.
            resume=output.resume or None,
            folders=(),
        ),
    )


def check_folder(folder: Path) -> None:
    """Checks that files can be created in a folder, which need not exist yet; leaves nothing behind.

    Raises:
        SinkError: They cannot.
    """
    existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    if not existing.is_dir():
        raise SinkError(f"{existing} is {'a file, not' if existing.is_file() else 'not'} a folder; give another name")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SinkError(f"cannot write to the folder {existing}: {error.strerror}; give another one") from None


def make_folder(folder: Path) -> None:
    """Makes a folder for outputs, if there is none.

    Raises:
        SinkError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from None
