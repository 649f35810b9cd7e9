"""What is counted and timed while a run goes on, and the account of it at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from live_cam.timing import Durations, RateMeter, peak_rss_mb, rounded, seconds_since_process_creation

STAGES = ("capture", "preprocess", "explain", "render", "write")


class RunMeter:
    """Counts and clocks of one run; each stage writes its own, anyone may read them.

    Attributes:
        frames_read: Taken from the source.
        frames_explained: Through the network.
        frames_written: Drawn and handed to all sinks.
        frames_dropped: Of a live source, captured and never drawn because newer ones had come.
        reconnects: Times frames of a live source came again after it was lost.
        first_frame_seconds: From the creation of this process to the first drawn frame; None before it.
    """

    def __init__(self) -> None:
        self.frames_read = 0
        self.frames_explained = 0
        self.frames_written = 0
        self.frames_dropped = 0
        self.reconnects = 0
        self.first_frame_seconds: float | None = None
        self._stages = {stage: Durations() for stage in STAGES}
        self._latency = Durations()
        self._recent_rate = RateMeter()
        self._recent_latency_seconds: float | None = None
        self._started_seconds = time.monotonic()
        self._started_cpu_seconds = time.process_time()
        self._drawn_count = 0
        self._first_drawn_seconds: float | None = None
        self._last_drawn_seconds: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is done inside as one frame's share of that stage."""
        started_seconds = time.perf_counter()
        yield
        self.took(name, time.perf_counter() - started_seconds)

    def took(self, name: str, seconds: float) -> None:
        """Notes what one frame's share of a stage took; a stage is noted by one thread."""
        self._stages[name].add(seconds)

    def drawn(self, latency_seconds: float) -> None:
        """Notes that a frame was drawn, that long after it was captured."""
        now_seconds = time.monotonic()
        with self._lock:
            if self._first_drawn_seconds is None:
                self._first_drawn_seconds = now_seconds
                self.first_frame_seconds = seconds_since_process_creation()
            self._drawn_count += 1
            self._last_drawn_seconds = now_seconds
            self._recent_rate.tick(now_seconds)
            self._recent_latency_seconds = latency_seconds
            self._latency.add(latency_seconds)

    def stage_medians_ms(self) -> dict[str, float | None]:
        """Each stage's median duration so far."""
        return {name: durations.percentile_ms(50) for name, durations in self._stages.items()}

    @property
    def recent_fps(self) -> float | None:
        """Drawn frames a second, lately."""
        with self._lock:
            return self._recent_rate.per_second

    @property
    def recent_latency_ms(self) -> float | None:
        """From the capture of the last drawn frame to its picture."""
        return None if self._recent_latency_seconds is None else 1e3 * self._recent_latency_seconds

    @property
    def wall_seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._started_seconds

    @property
    def fps(self) -> float | None:
        """Drawn frames a second from the first drawn frame to the last: what came before is loading."""
        if self._first_drawn_seconds is None or self._last_drawn_seconds is None:
            return None
        if self._last_drawn_seconds == self._first_drawn_seconds:
            return None
        return (self._drawn_count - 1) / (self._last_drawn_seconds - self._first_drawn_seconds)

    def report(self) -> dict[str, Any]:
        """The counts and figures of ``--report``; durations in the unit of their names."""
        return {
            "frames_read": self.frames_read,
            "frames_explained": self.frames_explained,
            "frames_written": self.frames_written,
            "frames_dropped": self.frames_dropped,
            "reconnects": self.reconnects,
            "fps": rounded(self.fps, 2),
            "wall_seconds": rounded(self.wall_seconds),
            "cpu_seconds": rounded(time.process_time() - self._started_cpu_seconds),
            "first_frame_seconds": rounded(self.first_frame_seconds),
            "peak_rss_mb": rounded(peak_rss_mb(), 1),
            "tensorflow_imported": "tensorflow" in sys.modules,
            "stage_ms": {name: durations.summary_ms() for name, durations in self._stages.items()},
            "latency_ms": self._latency.summary_ms(),
        }
