"""Where a run over a recording stands, kept beside its unfinished output about every second."""

from __future__ import annotations

import contextlib
import json
import time
import zipfile
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.errors import SinkError
from live_cam.sinks.clock import ClockState
from live_cam.steady.steady_pass import SteadyState, state_arrays, state_of

if TYPE_CHECKING:
    from live_cam.frame import Frame
    from live_cam.sinks.video import VideoSink

# A container may hold back pictures while it waits for sound: an older checkpoint then serves.
_KEPT_COUNT = 4
_SAVED_EVERY_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to go on with a frame as if it had never stopped.

    Attributes:
        index: Of that frame; so many are in the output before it.
        time_seconds: Its media time.
        state: What is remembered of the explanations before.
        sidecar_bytes: How long the sidecar was; 0 without one.
        clock: Where the output's clock was.
    """

    index: int
    time_seconds: float
    state: SteadyState
    sidecar_bytes: int
    clock: ClockState


def checkpoint_path(output: Path) -> Path:
    """``out.mp4`` -> ``out.mp4.resume.npz``."""
    return output.with_name(f"{output.name}.resume.npz")


def save_checkpoints(path: Path, job: Mapping[str, str], checkpoints: Iterable[Checkpoint]) -> None:
    """Writes them in one step: who reads finds these or those before.

    Args:
        path: From ``checkpoint_path``.
        job: What must be the same when it goes on, by name.
        checkpoints: Oldest first.

    Raises:
        OSError: The disk takes no more.
    """
    checkpoints = list(checkpoints)
    arrays: dict[str, Any] = {"job": json.dumps(dict(job)), "count": len(checkpoints)}
    arrays |= {f"{at}/{name}": array for at, one in enumerate(checkpoints) for name, array in _arrays_of(one)}
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_checkpoints(path: Path) -> tuple[dict[str, str], list[Checkpoint]]:
    """What ``save_checkpoints`` wrote.

    Raises:
        SinkError: It is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        job = json.loads(str(arrays["job"]))
        return job, [_checkpoint_of(arrays, f"{at}/") for at in range(int(arrays["count"]))]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        raise SinkError(f"{path} is damaged; leave out --resume to begin anew") from None


def _arrays_of(one: Checkpoint) -> Iterable[tuple[str, np.ndarray]]:
    figures = {"index": one.index, "time_seconds": one.time_seconds, "sidecar_bytes": one.sidecar_bytes}
    yield "figures", np.array(json.dumps({**figures, "clock": asdict(one.clock)}))
    yield from state_arrays(one.state).items()


def _checkpoint_of(arrays: Mapping[str, np.ndarray], prefix: str) -> Checkpoint:
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    figures: dict[str, Any] = json.loads(str(own.pop("figures")))
    clock = ClockState(**figures.pop("clock"))
    return Checkpoint(state=state_of(own), clock=clock, **figures)


class Checkpointer:
    """Keeps the checkpoints of one run.

    Args:
        job: See ``save_checkpoints``.
        video: The output, written before the sidecar.
        sidecar: Its unfinished file; None without one.
        resumed: The checkpoint that the run goes on from; None for one that begins.
    """

    def __init__(
        self, job: Mapping[str, str], video: VideoSink, sidecar: Path | None, resumed: Checkpoint | None = None
    ) -> None:
        self._path, self._job, self._video, self._sidecar = checkpoint_path(video.path), job, video, sidecar
        self._waiting: deque[Checkpoint] = deque()
        self._complete: deque[Checkpoint] = deque([] if resumed is None else [resumed], maxlen=_KEPT_COUNT)
        self._before: tuple[SteadyState, int, ClockState] | None = None
        self._saved_seconds = -_SAVED_EVERY_SECONDS
        self._has_unsaved = False

    def wrote(self, frame: Frame, state: SteadyState) -> None:
        """Notices that all outputs got a frame.

        Args:
            frame: The frame.
            state: What is remembered after it.
        """
        if self._video.began_piece and self._before is not None:
            self._waiting.append(Checkpoint(frame.index, frame.time_seconds, *self._before))
        while self._waiting and self._waiting[0].index <= self._video.safe_count:
            self._complete.append(self._waiting.popleft())
            self._has_unsaved = True
        if time.monotonic() - self._saved_seconds >= _SAVED_EVERY_SECONDS:
            self.save()
        self._before = (state, self._sidecar_bytes(), self._video.clock_state)

    def save(self) -> None:
        """Writes what is not written yet."""
        if self._has_unsaved:
            # A full disk is the video's to tell.
            with contextlib.suppress(OSError):
                save_checkpoints(self._path, self._job, self._complete)
            self._has_unsaved = False
            self._saved_seconds = time.monotonic()

    def remove(self) -> None:
        """Removes what was written: there is nothing to go on with."""
        self._has_unsaved = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _sidecar_bytes(self) -> int:
        if self._sidecar is None:
            return 0
        try:
            return self._sidecar.stat().st_size
        except OSError:
            return 0
