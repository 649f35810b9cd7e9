"""Progress for programs: an object a line on stdout."""

from __future__ import annotations

import json
import time
from types import TracebackType

from live_cam.run.pipeline import Pipeline

_INTERVAL_SECONDS = 0.5


class JsonProgress:
    """Prints how far a run is about twice a second, and once at its end, however that comes.

    Each line holds ``frames_written``, ``frames_total_estimate`` (null if nothing tells), ``time_seconds`` of the last
    written frame (media time of a recording; null before the first) and ``fps`` (lately; in the last line, of the whole
    run; null where there are less than two frames).
    """

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._total: int | None = None
        self._next_seconds = 0.0

    def __enter__(self) -> JsonProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pipeline is not None:
            self._print(self._pipeline, self._pipeline.meter.fps)

    def frames(self, pipeline: Pipeline, total: int | None) -> None:
        """Takes notice of where the run is."""
        self._pipeline, self._total = pipeline, total
        if time.monotonic() >= self._next_seconds:
            self._next_seconds = time.monotonic() + _INTERVAL_SECONDS
            self._print(pipeline, pipeline.meter.recent_fps)

    def _print(self, pipeline: Pipeline, fps: float | None) -> None:
        state = {
            "frames_written": pipeline.meter.frames_written,
            "frames_total_estimate": self._total,
            "time_seconds": _rounded(pipeline.last_time_seconds),
            "fps": _rounded(fps),
        }
        print(json.dumps(state), flush=True)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
