"""Finds unfinished outputs of an earlier run, and decides whether and where a job continues them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SettingError, SinkError
from live_cam.jobs.checkpoints import (
    Checkpoint,
    Checkpointer,
    checkpoint_path,
    finished_path,
    load_checkpoints,
    save_checkpoints,
)
from live_cam.jobs.job_identity import END_NAMES, change_since, job_identity
from live_cam.jobs.leftovers import Leftovers
from live_cam.sinks.atomic_file import earlier_path, locked_output, partial_path, put_in_place
from live_cam.sources.open import open_source

if TYPE_CHECKING:
    from live_cam.jobs.outputs import Outputs
    from live_cam.settings import JobSettings
    from live_cam.sources.video import ResumePoint
    from live_cam.temporal.explainer import TemporalExplainer

# A part of an AVI has wrong times, and each frame of a GIF depends on the one before.
_NOT_RESUMABLE = (".avi", ".gif")
_START_AGAIN = "give overwrite=True instead of resume=True to start again"


@dataclass(frozen=True, eq=False)
class Resumption:
    """Start of a job, and the identity by which a later run can resume it.

    Attributes:
        identity: What must be the same in a later run, by name; None for a job that cannot be resumed.
        checkpoint: Where the job continues; None: it starts at the beginning.
    """

    identity: dict[str, str] | None
    checkpoint: Checkpoint | None = None

    @property
    def done_count(self) -> int:
        """Number of frames that an earlier run wrote."""
        return 0 if self.checkpoint is None else self.checkpoint.index

    @property
    def resume_at(self) -> ResumePoint | None:
        """The first frame to read; None: the first of the source."""
        return None if self.checkpoint is None else _resume_point(self.checkpoint)

    def begin(self, outputs: Outputs, temporal: TemporalExplainer) -> Checkpointer | None:
        """Restores sinks and memory to the checkpoint, and starts to save new ones; None if there will be none.

        Raises:
            SinkError: What the earlier run left cannot be used.
        """
        if self.identity is None or self.checkpoint is None:
            _remove_leftovers(outputs.sinks[0].path)
            return None if self.identity is None else Checkpointer(self.identity, outputs)
        # It saves this checkpoint before the files are cut to it: later ones are not valid from then on.
        checkpointer = Checkpointer(self.identity, outputs, self.checkpoint)
        temporal.restore(self.checkpoint.state)
        if outputs.sidecar is not None:
            outputs.sidecar.resume_from(self.checkpoint.sidecar_bytes)
        if outputs.heatmaps is not None:
            outputs.heatmaps.resume_from(self.checkpoint.heatmaps)
        if outputs.video is not None:
            outputs.video.resume_from(self.checkpoint.index, self.checkpoint.clock)
        return checkpointer


def _resume_point(checkpoint: Checkpoint) -> ResumePoint:
    from live_cam.sources.video import ResumePoint

    return ResumePoint(checkpoint.index, checkpoint.time_seconds)


def _remove_leftovers(output: Path) -> None:
    """Removes what another run left for resuming; the unfinished output itself is written over."""
    for path in (checkpoint_path(output), earlier_path(output)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def resume_blocker(settings: JobSettings) -> str | None:
    """Returns why a job cannot be resumed if it is killed; None if it can."""
    source, output = settings.source, settings.output
    if source.input_path is None or source.video is None or source.is_remote_or_camera or source.loop:
        return "only video files can be resumed; cameras, streams, images, loops and the demo start again"
    if not output.frame_files:
        return "there is no file to continue; name an output, a sidecar or heatmaps"
    if not isinstance(settings.explainer.model, str | Path):
        return "a model object cannot be compared with that of an earlier run; give a model's name or file"
    if output.output is not None and output.output.suffix.lower() in _NOT_RESUMABLE:
        return f"{output.output.suffix} cannot be resumed; use another format, such as .mp4"
    return "a job with a window cannot be resumed; leave out the window" if output.show else None


def finished_files(settings: JobSettings) -> tuple[Path, ...] | None:
    """Returns the files of a job if it may be resumed and an earlier run finished it; None if there is work to do.

    Files that have their final names, but are to be continued, get their partial names again: those of a run that was
    killed while it finished them, and those of a finished run that ended earlier than this job does.

    Raises:
        SettingError: The files were made with other settings, or have frames after the job's end.
        SinkError: Another process is writing the files, or nothing tells how they were made.
    """
    output = settings.output
    if not output.may_resume or resume_blocker(settings) is not None:
        return None
    files = output.frame_files
    checkpoint = checkpoint_path(files[0])
    are_finished = all(os.path.isfile(path) and not partial_path(path).exists() for path in files)  # noqa: PTH113
    if not has_checkpoint(settings) and not are_finished:
        return None
    with contextlib.ExitStack() as stack:
        for path in files:
            stack.enter_context(locked_output(path, overwrite=True))
        if checkpoint.exists():
            _continue_half_finished(settings, checkpoint)
            return None
        return _finished_files(settings)


def may_continue_finished(settings: JobSettings) -> bool:
    """Returns whether a job is to be resumed, and it is recorded how its files, which all exist, were made."""
    output = settings.output
    try:
        return output.resume is True and bool(output.frame_files) and finished_path(output.frame_files).is_file()
    except OSError:
        return False


def _continue_half_finished(settings: JobSettings, path: Path) -> None:
    """Gives finished files their partial names again, if the checkpoints of a killed run are this job's."""
    try:
        identity, checkpoints = load_checkpoints(path)
    except SinkError:  # Reported when the unfinished files are looked at.
        return
    if checkpoints and change_since(identity, job_identity(settings)) is None:
        _unfinish(settings.output.frame_files)


def _finished_files(settings: JobSettings) -> tuple[Path, ...] | None:
    """Returns the files if the record of an earlier run tells that the job is done; else see ``finished_files``."""
    output, files = settings.output, settings.output.frame_files
    try:
        before, (checkpoint,) = load_checkpoints(finished_path(files))
    except (SinkError, ValueError):
        if output.overwrite or not output.resume:
            return None
        raise SinkError(
            f"{files[0]} exists, and nothing tells how it was made; start again with overwrite=True, "
            "or give another name"
        ) from None
    identity = job_identity(settings)
    change, shortening = change_since(before, identity), _shortening(checkpoint, settings)
    if (change or shortening) and output.overwrite:
        return None
    if change or shortening:
        raise _changed(files[0], change, shortening)
    has_same_end = all(before.get(name) == identity.get(name) for name in END_NAMES)
    if has_same_end or _next_seconds(checkpoint, settings) is None:
        return tuple(path for path in output.paths if path.exists())
    try:
        save_checkpoints(checkpoint_path(files[0]), identity, [checkpoint])
    except OSError as error:
        raise SinkError(f"cannot write {checkpoint_path(files[0])}: {error.strerror}") from None
    _unfinish(files)
    return None


def _unfinish(files: list[Path]) -> None:
    for path in files:
        if path.is_file() and not partial_path(path).exists():
            put_in_place(path, partial_path(path), overwrite=False)


def _shortening(checkpoint: Checkpoint, settings: JobSettings) -> str | None:
    """Returns how a job ends before what is written already; None if it does not."""
    end_seconds, max_frames = settings.source.end_seconds, settings.source.max_frames
    if max_frames is not None and max_frames < checkpoint.index:
        return f"it has {checkpoint.index} frames already, and max_frames is {max_frames} now"
    if end_seconds is not None and end_seconds < checkpoint.time_seconds:
        return f"it has frames up to {checkpoint.time_seconds:.2f} s already, and end is {end_seconds:g} s now"
    return None


def _next_seconds(checkpoint: Checkpoint, settings: JobSettings) -> float | None:
    """Returns the time of a job's first frame after a checkpoint; None if there is none.

    A resumed job must explain one frame at least.
    """
    end_seconds, max_frames = settings.source.end_seconds, settings.source.max_frames
    if max_frames is not None and max_frames <= checkpoint.index:
        return None
    if end_seconds is not None and end_seconds <= checkpoint.time_seconds:
        return None
    if not checkpoint.is_end:
        return checkpoint.time_seconds
    from live_cam.sources.video import NoFrameLeftError

    try:
        with open_source(settings.source, _resume_point(checkpoint)) as source:
            frame = source.read()
    except NoFrameLeftError:
        return None
    return None if frame is None else frame.time_seconds


def has_checkpoint(settings: JobSettings) -> bool:
    """Returns whether an unfinished run left checkpoints under the names of a job's files."""
    files = settings.output.frame_files
    # Unlike Path.is_file, this is False where a folder cannot be entered.
    return bool(files) and os.path.isfile(checkpoint_path(files[0]))  # noqa: PTH113


def resumption_of(settings: JobSettings, on_line: Callable[[str], None]) -> Resumption:
    """Decides where a job starts, after a look at what an unfinished run left.

    Args:
        settings: The job.
        on_line: Called with where it starts, if it might have been resumed.

    Raises:
        SettingError: The job is to be resumed but cannot be, or something has changed.
        SinkError: The work of an unfinished run would be lost, or is damaged.
    """
    output, blocker = settings.output, resume_blocker(settings)
    if output.resume and blocker is not None:
        raise SettingError(f"cannot resume: {blocker}")
    identity = job_identity(settings) if blocker is None else None
    left = None if output.overwrite and not output.resume else Leftovers.of(output, settings.source.image is not None)
    if left is None:
        if output.resume:
            on_line(f"nothing to resume for {output.frame_files[0]}: starting at the beginning")
        return Resumption(identity)
    reached, change = left.reached_checkpoints(identity), left.change(identity)
    shortening = _shortening(reached[0], settings) if reached else None
    if output.resume is False:
        raise SinkError(_refusal(left, bool(reached), change or shortening))
    if output.resume and (change or shortening):
        raise _changed(output.frame_files[0], change, shortening)
    if output.resume and not reached and left.is_unknown:
        raise SinkError(f"{left} that cannot be resumed; {_START_AGAIN}")
    usable = [] if shortening else reached
    for checkpoint in usable:
        seconds = _next_seconds(checkpoint, settings)
        if seconds is not None:
            on_line(f"resuming {output.frame_files[0]} at frame {checkpoint.index} ({seconds:.2f} s)")
            return Resumption(identity, checkpoint)
    on_line(f"starting again: {left}, but {change or shortening or 'it cannot be resumed'}")
    return Resumption(identity)


def _changed(path: Path, change: str | None, shortening: str | None) -> SettingError:
    """Returns why a job cannot continue a file, and what to do."""
    limit = "a larger max_frames" if shortening is not None and "max_frames" in shortening else "a later end"
    reason = f"{change}; use what it was" if change else f"{shortening}; give {limit}"
    return SettingError(f"cannot resume {path}: {reason}, or {_START_AGAIN}")


def _refusal(left: Leftovers, has_checkpoint: bool, change: str | None) -> str:
    """Returns what would be lost, and only what can be done about it."""
    if has_checkpoint and change is None:
        return f"{left}; continue with resume=True, or start again with overwrite=True"
    reason = "" if change is None else f", but {change}"
    return f"{left}{reason}; start again with overwrite=True, or give another name"
