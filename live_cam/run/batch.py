"""Several videos in one go: each its own result in a folder, one model for all."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError, SinkError, SourceError
from live_cam.run.accounts import Outcome
from live_cam.run.session import OutputSettings, SessionSettings, SourceSettings

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Frame


@dataclass(frozen=True)
class BatchOutcome:
    """What came of the videos.

    Attributes:
        done: How many were made.
        skipped: How many were there already.
        failed: How many could not be made.
        total: How many there are.
        was_interrupted: Whether Ctrl-C or SIGTERM ended it before the last.
    """

    done: int
    skipped: int
    failed: int
    total: int
    was_interrupted: bool = False


def is_batch(source: SourceSettings, output: OutputSettings) -> bool:
    """Whether the video is a pattern, or something of it goes into a folder.

    A file that is called like a pattern, as "clip[1].mp4", is no pattern.
    """
    if source.video is None or source.input_path is None:
        return False
    return _is_pattern(source.video) or any(path.is_dir() for path in output.paths)


def planned(settings: SessionSettings) -> list[SessionSettings]:
    """A job for each video, in the order of their names.

    Raises:
        SourceError: No file matches.
        SettingError: Several videos would become one file, or are to be shown.
    """
    videos = _videos(str(settings.source.video))
    if settings.output.show:
        raise SettingError("several videos make files; for a window give one without an output folder")
    if not settings.output.paths:
        raise SettingError("nothing to do: for several videos, give a folder as --output, --sidecar or --heatmaps")
    jobs = [_job_for(settings, video, len(videos)) for video in videos]
    made = Counter(path.resolve() for job in jobs for path in job.output.paths)
    for path, count in made.items():
        if count > 1:
            raise SettingError(f"{count} videos would become {path.name}; give those that share a name each a folder")
    return jobs


def run_batch(
    jobs: list[SessionSettings],
    load: Callable[[Frame], Explainer],
    run: Callable[[SessionSettings, Callable[[Frame], Explainer]], Outcome],
    on_error: Callable[[SourceError | SinkError], None],
    on_skip: Callable[[SessionSettings], None],
) -> BatchOutcome:
    """Runs the jobs one after the other, past those that fail.

    Args:
        jobs: From ``planned``.
        load: Makes the explainer, once for all.
        run: Runs one.
        on_error: Told why one failed.
        on_skip: Told of one whose files are all there.

    Raises:
        LiveCamError: Something is wrong with more than one video or output: the model, a setting.
    """
    shared = _SharedExplainer(load)
    done = skipped = failed = 0
    for job in jobs:
        if not job.output.overwrite and all(path.exists() for path in job.output.paths):
            skipped += 1
            on_skip(job)
            continue
        try:
            _make_folders(job.output)
            outcome = run(job, shared.load)
        except (SourceError, SinkError) as error:
            failed += 1
            on_error(error)
            continue
        if outcome.was_interrupted:
            return BatchOutcome(done, skipped, failed, len(jobs), was_interrupted=True)
        done += 1
    return BatchOutcome(done, skipped, failed, len(jobs))


class _SharedExplainer:
    """One explainer for runs that follow each other."""

    def __init__(self, load: Callable[[Frame], Explainer]) -> None:
        self._load = load
        self._explainer: Explainer | None = None

    def load(self, frame: Frame) -> Explainer:
        if self._explainer is None:
            self._explainer = self._load(frame)
        return self._explainer


def _is_pattern(name: str) -> bool:
    return glob.escape(name) != name and not Path(name).exists()


def _videos(name: str) -> list[Path]:
    # The shell of Windows expands nothing, and a quoted pattern no shell.
    # A Path takes no absolute pattern, and would find hidden files too.
    matching = sorted(glob.glob(name, recursive=True)) if _is_pattern(name) else [name]  # noqa: PTH207
    videos = [Path(one) for one in matching if not Path(one).is_dir()]
    if not videos:
        raise SourceError(f"{name}: no file matches; check the pattern, and the folder it begins with")
    return videos


def _job_for(settings: SessionSettings, video: Path, video_count: int) -> SessionSettings:
    output = settings.output

    def placed(path: Path | None, ending: str) -> Path | None:
        return None if path is None else _placed(path, video, ending, video_count)

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
        ),
    )


def _placed(path: Path, video: Path, ending: str, video_count: int) -> Path:
    """In a folder, it is called as the video is."""
    if path.is_dir() or not path.suffix:
        return path / f"{video.stem}{ending}"
    if video_count > 1:
        raise SettingError(f"{video_count} videos cannot all become {path}; give a folder")
    return path


def _make_folders(output: OutputSettings) -> None:
    for path in output.paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot make the folder {path.parent}: {error.strerror}") from None
