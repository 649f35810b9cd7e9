"""Going on with a run over a recording that was killed: what it needs, and whether it is the same job."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam import __version__
from live_cam.errors import SettingError
from live_cam.run.checkpoints import Checkpoint, Checkpointer, checkpoint_path, load_checkpoints
from live_cam.sinks.partial import earlier_path, partial_path, put_in_place
from live_cam.sources.fingerprint import fingerprint

if TYPE_CHECKING:
    from live_cam.run.session import SessionSettings
    from live_cam.sinks import Sink
    from live_cam.steady.steady_pass import SteadyPass

_VIDEO = "--video"
# A part of an AVI tells the times of its pictures wrong, and a GIF knows each picture by the one before.
_WITHOUT_TIMES = (".avi", ".gif")


@dataclass(frozen=True, eq=False)
class Resumption:
    """How a job that can be gone on with does so.

    Attributes:
        job: What must be the same, by name.
        checkpoint: Where it goes on; None: at the beginning.
    """

    job: dict[str, str]
    checkpoint: Checkpoint | None = None

    @property
    def done_count(self) -> int:
        """Frames that an earlier run made."""
        return 0 if self.checkpoint is None else self.checkpoint.index

    def placed(self, settings: SessionSettings) -> SessionSettings:
        """The settings of what is still to do."""
        if self.checkpoint is None:
            return settings
        from live_cam.sources.video import ResumePoint

        point = ResumePoint(self.checkpoint.index, self.checkpoint.time_seconds)
        return replace(settings, source=replace(settings.source, resume_at=point))

    def begin(self, sinks: Sequence[Sink], steady: SteadyPass) -> Checkpointer | None:
        """Puts all that remembers where the earlier run was, and notes from there on how far this one comes.

        Raises:
            SinkError: What the earlier run left cannot be used.
        """
        from live_cam.sinks.sidecar import SidecarSink
        from live_cam.sinks.video import VideoSink

        video = next((sink for sink in sinks if isinstance(sink, VideoSink)), None)
        sidecar = next((sink for sink in sinks if isinstance(sink, SidecarSink)), None)
        if video is None:
            return None
        if self.checkpoint is not None:
            steady.restore(self.checkpoint.state)
            if sidecar is not None:
                sidecar.go_on_from(self.checkpoint.sidecar_bytes)
            video.go_on_from(self.checkpoint.index, self.checkpoint.clock)
        else:
            remove_traces(video.path)
        return Checkpointer(self.job, video, None if sidecar is None else sidecar.partial_path, self.checkpoint)


def remove_traces(output: Path) -> None:
    """Removes what another run left to go on from; the unfinished output itself is written anew."""
    for path in (checkpoint_path(output), earlier_path(output)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def reason_against(settings: SessionSettings) -> str | None:
    """Why a job cannot be gone on with once it is killed; None if it can."""
    source, output = settings.source, settings.output
    if source.input_path is None or source.video is None or source.is_elsewhere or source.loop:
        return "it goes on with a video file; cameras, streams, pictures, loops and the demo begin anew"
    if output.output is None:
        return "it goes on with a video; give one as --output"
    if source.expected is not None:
        return "to draw again takes little; begin anew"
    if output.output.suffix.lower() in _WITHOUT_TIMES:
        return f"{output.output.suffix} cannot be gone on with; give another ending, as .mp4"
    if output.heatmaps is not None:
        return "heatmaps cannot be gone on with; leave out --heatmaps"
    return "in a window anything may be changed; leave out --show" if output.show else None


def is_finished(settings: SessionSettings) -> bool:
    """Whether ``--resume`` finds that all is done; gives its name to what lacks just that."""
    output = settings.output
    if not output.resume or output.output is None or not output.output.is_file():
        return False
    if partial_path(output.output).exists():
        return False
    lines = output.sidecar
    if lines is not None and checkpoint_path(output.output).exists() and partial_path(lines).exists():
        put_in_place(partial_path(lines), lines, overwrite=True)
    checkpoint_path(output.output).unlink(missing_ok=True)
    return True


def resumption_of(settings: SessionSettings, on_line: Callable[[str], None]) -> Resumption | None:
    """How a job begins or goes on; None where it could not be gone on with.

    Args:
        settings: The job.
        on_line: Called with where it begins, if ``--resume`` was asked for.

    Raises:
        SettingError: It is asked to go on, and cannot, or something has changed.
        SinkError: What the earlier run left is damaged.
    """
    reason = reason_against(settings)
    if reason is not None:
        if settings.output.resume:
            raise SettingError(f"--resume: {reason}")
        return None
    output = settings.output.output
    job = job_of(settings)
    if not settings.output.resume or output is None:
        return Resumption(job)
    checkpoint = _checkpoint(output, job)
    if checkpoint is None:
        on_line(f"nothing to go on with for {output}: begins at the start")
    else:
        on_line(f"goes on with {output} at frame {checkpoint.index} ({checkpoint.time_seconds:.2f} s)")
    return Resumption(job, checkpoint)


def _checkpoint(output: Path, job: dict[str, str]) -> Checkpoint | None:
    if not checkpoint_path(output).exists():
        return None
    from live_cam.sinks.video import saved_frame_count

    before, checkpoints = load_checkpoints(checkpoint_path(output))
    for name in sorted(before.keys() | job.keys()):
        if before.get(name) != job.get(name):
            raise SettingError(_changed(output, name, before.get(name), job.get(name)))
    saved_count = saved_frame_count(output)
    return next((one for one in reversed(checkpoints) if one.index <= saved_count), None)


def _changed(output: Path, name: str, before: str | None, now: str | None) -> str:
    change = "it is another file now" if name == _VIDEO else f"it was {before}, and is {now} now"
    return f"cannot go on with {output}: {name}: {change}; give what it was, or leave out --resume to begin anew"


def job_of(settings: SessionSettings) -> dict[str, str]:
    """All that makes a difference to what a job makes, by the options' names."""
    source, output = settings.source, settings.output
    values: dict[str, Any] = {
        "start": source.start_seconds,
        "end": source.end_seconds,
        "max_frames": source.max_frames,
        "target": settings.target,
        "smooth": settings.smooth_seconds,
        "codec": output.codec,
        "quality": output.quality,
        "audio": output.audio,
        "sidecar": None if output.sidecar is None else output.sidecar.name,
        **{name: value for name, value in settings.explainer.items() if name != "threads"},
        **asdict(settings.render),
    }
    job = {f"--{name.replace('_', '-')}": _text(value) for name, value in values.items()}
    # Another version's encoder might not go on with the same stream.
    return {**job, _VIDEO: _text(source.video), "version": f"livecam {__version__}, PyAV {version('av')}"}


def _text(value: Any) -> str:
    """A file's content, by its digest, in place of its name."""
    if isinstance(value, str | Path):
        try:
            path = Path(value)
            return f"the file {fingerprint(path)[:12]}" if path.is_file() else str(value)
        except (OSError, ValueError):
            return str(value)
    return json.dumps(value, default=str)
