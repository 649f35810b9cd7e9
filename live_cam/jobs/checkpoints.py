"""Checkpoints of a file job, saved about once per second beside its unfinished output, and what stays of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.errors import SinkError
from live_cam.explain.model_cache import Cache
from live_cam.sinks.heatmaps import HeatmapState
from live_cam.sinks.video.timestamps import ClockState
from live_cam.temporal.explainer import TemporalState, state_arrays, state_from

if TYPE_CHECKING:
    from live_cam.frame import Result
    from live_cam.jobs.outputs import Outputs

# A container may hold back frames while it waits for sound: then an older checkpoint is used.
_KEPT_COUNT = 4
_SAVED_EVERY_SECONDS = 1.0
# Of each kind. A record of a finished job has about 20 kB, one of a folder with 1000 pictures 60 kB.
_KEPT_RECORDS = 200


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a job before one of its frames, from which it continues as if it had never stopped.

    Attributes:
        index: Index of that frame, and the number of frames in the output before it.
        time_seconds: The frame's media time.
        state: What is remembered of earlier frames.
        is_end: Whether the run ended before this frame: perhaps there is none, and its time is only later than that of
            the last one.
        clock: State of the video's clock.
        sidecar_bytes: Length of the sidecar; 0 without one.
        heatmaps: What the heatmaps hold.
    """

    index: int
    time_seconds: float
    state: TemporalState
    is_end: bool = False
    clock: ClockState = ClockState()
    sidecar_bytes: int = 0
    heatmaps: HeatmapState = field(default_factory=HeatmapState)


def checkpoint_path(output: Path) -> Path:
    """Returns ``out.mp4.livecam-checkpoint.npz`` for ``out.mp4``, the first file of a job."""
    return output.with_name(f"{output.name}.livecam-checkpoint.npz")


def finished_folder() -> Path:
    """Returns the folder in the user's cache where it is recorded how finished files were made."""
    return Cache().root / "finished"


def finished_path(files: Sequence[Path]) -> Path:
    """Returns the file that records how finished files were made, under a digest of what they are.

    Raises:
        OSError: One of the files does not exist.
    """
    known = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return finished_folder() / f"{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]}.npz"


def save_checkpoints(path: Path, identity: Mapping[str, str], checkpoints: Iterable[Checkpoint]) -> None:
    """Writes checkpoints in one step: a reader finds these or the ones before.

    Args:
        path: From ``checkpoint_path`` or ``finished_path``.
        identity: What must be the same when the job is resumed, by name.
        checkpoints: Oldest first.

    Raises:
        OSError: The disk is full.
    """
    checkpoints = list(checkpoints)
    arrays: dict[str, Any] = {"job": json.dumps(dict(identity)), "count": len(checkpoints)}
    for position, checkpoint in enumerate(checkpoints):
        arrays |= {f"{position}/{name}": array for name, array in _arrays_of(checkpoint)}
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoints(path: Path) -> tuple[dict[str, str], list[Checkpoint]]:
    """Reads what ``save_checkpoints`` wrote.

    Raises:
        SinkError: The file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        identity = json.loads(str(arrays["job"]))
        return identity, [_checkpoint_from(arrays, f"{position}/") for position in range(int(arrays["count"]))]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        raise SinkError(f"{path} is damaged; give overwrite=True instead of resume=True to start again") from None


def _arrays_of(checkpoint: Checkpoint) -> Iterable[tuple[str, np.ndarray]]:
    figures = {
        "index": checkpoint.index,
        "time_seconds": checkpoint.time_seconds,
        "is_end": checkpoint.is_end,
        "clock": asdict(checkpoint.clock),
        "sidecar_bytes": checkpoint.sidecar_bytes,
        "heatmap_count": checkpoint.heatmaps.count,
        "heatmap_labels": list(checkpoint.heatmaps.labels.items()),
    }
    yield "figures", np.array(json.dumps(figures))
    yield from state_arrays(checkpoint.state).items()


def _checkpoint_from(arrays: Mapping[str, np.ndarray], prefix: str) -> Checkpoint:
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    figures: dict[str, Any] = json.loads(str(own.pop("figures")))
    clock = ClockState(**figures.pop("clock"))
    heatmaps = HeatmapState(figures.pop("heatmap_count"), dict(figures.pop("heatmap_labels")))
    return Checkpoint(state=state_from(own), clock=clock, heatmaps=heatmaps, **figures)


class Checkpointer:
    """Keeps the checkpoints of one job. Used from the writer's thread, and after its end from the job's.

    Args:
        identity: See ``save_checkpoints``.
        outputs: The files of the job. The video is written first.
        resumed: The checkpoint that the job continues from; None for a job that starts.
    """

    def __init__(self, identity: Mapping[str, str], outputs: Outputs, resumed: Checkpoint | None = None) -> None:
        self._identity, self._outputs = identity, outputs
        self._path = checkpoint_path(outputs.sinks[0].path)
        # Frames that begin a piece of the video wait until the pieces before them are on the disk.
        self._waiting: deque[Checkpoint] = deque()
        self._complete: deque[Checkpoint] = deque([] if resumed is None else [resumed], maxlen=_KEPT_COUNT)
        self._after: Checkpoint | None = None
        self._saved_seconds = -_SAVED_EVERY_SECONDS
        self._has_unsaved = False
        if resumed is not None:
            self._save()

    @property
    def has_checkpoint(self) -> bool:
        """Whether a later run can resume the job."""
        return bool(self._complete)

    def add(self, result: Result) -> None:
        """Notes that all outputs got a result."""
        frame, video = result.frame, self._outputs.video
        is_due = time.monotonic() - self._saved_seconds >= _SAVED_EVERY_SECONDS
        if self._after is not None and (is_due if video is None else video.began_fragment):
            before = replace(self._after, index=frame.index, time_seconds=frame.time_seconds, is_end=False)
            self._waiting.append(before)
        while self._waiting and (video is None or self._waiting[0].index <= video.safe_count):
            self._complete.append(self._waiting.popleft())
            self._has_unsaved = True
        if self._after is None:
            self._save()  # without a checkpoint yet: it tells that the unfinished files are this job's
        if is_due:
            self.save()
        self._after = self._checkpoint_after(result)

    def _checkpoint_after(self, result: Result) -> Checkpoint:
        video, sidecar, heatmaps = self._outputs.video, self._outputs.sidecar, self._outputs.heatmaps
        return Checkpoint(
            result.frame.index + 1,
            math.nextafter(result.frame.time_seconds, math.inf),
            result.state,
            is_end=True,
            clock=ClockState() if video is None else video.clock_state,
            sidecar_bytes=0 if sidecar is None else _size_of(sidecar.partial_path),
            heatmaps=HeatmapState() if heatmaps is None else heatmaps.state,
        )

    def save(self) -> None:
        """Writes what has not been written yet."""
        if self._has_unsaved:
            self._save()
            self._saved_seconds = time.monotonic()

    def end(self) -> None:
        """Saves a checkpoint after the last frame; the unfinished files are closed and hold all frames."""
        if self._after is not None:
            self._complete.append(self._after)
            self._has_unsaved = True
        self.save()

    def finish(self) -> None:
        """Removes the file, and records how the finished files were made, so that a later run can continue them."""
        if self._after is not None:
            with contextlib.suppress(OSError):
                path = finished_path([sink.path for sink in self._outputs.sinks])
                path.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoints(path, self._identity, [self._after])
                remove_oldest(path.parent, path.suffix)
        self.remove()

    def remove(self) -> None:
        """Removes the file: there is nothing to resume."""
        self._has_unsaved = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _save(self) -> None:
        # A full disk is reported by the video.
        with contextlib.suppress(OSError):
            save_checkpoints(self._path, self._identity, self._complete)
        self._has_unsaved = False


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def remove_oldest(folder: Path, suffix: str) -> None:
    """Removes the oldest records with that suffix, so that their number has a limit.

    Raises:
        OSError: That failed; another process may have done it.
    """
    records = sorted(folder.glob(f"*{suffix}"), key=lambda path: path.stat().st_mtime)
    for path in records[:-_KEPT_RECORDS]:
        path.unlink(missing_ok=True)
