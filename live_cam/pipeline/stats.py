"""Counters and timings of one source's frames, and what the operating system says about this process."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("capture", "preprocess", "explain", "render", "write")

_IMPORTED_AT_SECONDS = time.monotonic()


class Durations:
    """A histogram of durations with a fixed size, so that a job of days needs no more memory than one of a second.

    Bins grow by 1 % from a microsecond to twenty minutes: a percentile is exact to 0.5 %.
    """

    _SHORTEST_SECONDS = 1e-6
    _GROWTH = 1.01
    _BIN_COUNT = 2110

    def __init__(self) -> None:
        self._counts = np.zeros(self._BIN_COUNT, np.int64)

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        position = math.log(max(seconds, self._SHORTEST_SECONDS) / self._SHORTEST_SECONDS, self._GROWTH)
        self._counts[min(int(position), self._BIN_COUNT - 1)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Returns the duration in milliseconds that ``percent`` of all durations do not exceed; None without any."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        bin_index = int(np.searchsorted(np.cumsum(self._counts), max(1, np.ceil(total * percent / 100))))
        return float(1e3 * self._SHORTEST_SECONDS * self._GROWTH ** (bin_index + 0.5))

    def summary_ms(self) -> dict[str, float | None]:
        """Returns the median and two upper percentiles in milliseconds: p50, p95, p99."""
        return {f"p{percent}": rounded(self.percentile_ms(percent)) for percent in (50, 95, 99)}


class EventRate:
    """Events per second: over the last 30 events, and from the first event to the last."""

    def __init__(self) -> None:
        self.count = 0
        self._first_seconds = 0.0
        self._recent_seconds: deque[float] = deque(maxlen=30)

    def add(self, now_seconds: float) -> None:
        """Counts one event."""
        if self.count == 0:
            self._first_seconds = now_seconds
        self.count += 1
        self._recent_seconds.append(now_seconds)

    @property
    def recent_per_second(self) -> float | None:
        """Rate over the last 30 events; None before two events at different times."""
        return (
            _rate(len(self._recent_seconds), self._recent_seconds[0], self._recent_seconds[-1]) if self.count else None
        )

    @property
    def per_second(self) -> float | None:
        """Rate from the first event to the last; None before two events at different times."""
        return _rate(self.count, self._first_seconds, self._recent_seconds[-1]) if self.count else None


def _rate(count: int, first_seconds: float, last_seconds: float) -> float | None:
    return (count - 1) / (last_seconds - first_seconds) if last_seconds > first_seconds else None


class FeedStats:
    """Counters and timings of one source's frames. Written by its threads, read by any.

    Args:
        clock: Returns seconds.

    Attributes:
        frames_read: Frames taken from the source.
        frames_explained: Frames explained by the network.
        frames_written: Frames written to all sinks.
        frames_dropped: Frames of a live source that were captured but never drawn or not written, because newer ones
            had come.
        reconnects: How often a live source gave frames again after an outage.
        first_frame_seconds: Time from the creation of this process to the first drawn frame; None before it.
        last_time_seconds: Time of the last frame that was drawn or, with sinks, written; None before it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.frames_read = 0
        self.frames_written = 0
        self.frames_dropped = 0
        self.reconnects = 0
        self.first_frame_seconds: float | None = None
        self.last_time_seconds: float | None = None
        self._stages = {stage: Durations() for stage in STAGES}
        self._latency = Durations()
        self._explained, self._drawn = EventRate(), EventRate()
        self._last_latency_seconds: float | None = None
        self._started_seconds = clock()
        self._started_cpu_seconds = time.process_time()
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a block as one frame's share of that stage."""
        started_seconds = time.perf_counter()
        yield
        self.add_duration(name, time.perf_counter() - started_seconds)

    def add_duration(self, stage: str, seconds: float) -> None:
        """Counts how long one frame took in a stage."""
        with self._lock:
            self._stages[stage].add(seconds)

    def add_explained(self) -> None:
        """Counts an explained frame."""
        with self._lock:
            self._explained.add(self._clock())

    def add_drawn(self, latency_seconds: float) -> None:
        """Counts a drawn frame, that long after its capture."""
        with self._lock:
            if self.first_frame_seconds is None:
                self.first_frame_seconds = seconds_since_process_creation()
            self._drawn.add(self._clock())
            self._last_latency_seconds = latency_seconds
            self._latency.add(latency_seconds)

    def add_written(self, time_seconds: float, write_seconds: float) -> None:
        """Counts a frame with that time that was written to all sinks."""
        with self._lock:
            self.frames_written += 1
            self.last_time_seconds = time_seconds
            self._stages["write"].add(write_seconds)

    @property
    def frames_explained(self) -> int:
        """Number of explained frames."""
        return self._explained.count

    @property
    def fps(self) -> float | None:
        """Explained frames per second, from the first to the last: loading does not count."""
        with self._lock:
            return self._explained.per_second

    @property
    def recent_fps(self) -> float | None:
        """Explained frames per second over the last 30."""
        with self._lock:
            return self._explained.recent_per_second

    @property
    def recent_latency_ms(self) -> float | None:
        """Time from the capture of the last drawn frame to its image."""
        return None if self._last_latency_seconds is None else 1e3 * self._last_latency_seconds

    @property
    def wall_seconds(self) -> float:
        """Time since these stats were made."""
        return self._clock() - self._started_seconds

    def stage_medians_ms(self) -> dict[str, float | None]:
        """Returns each stage's median duration in milliseconds."""
        with self._lock:
            return {name: durations.percentile_ms(50) for name, durations in self._stages.items()}

    def report(self) -> dict[str, Any]:
        """Returns the counters and timings of ``--report``."""
        with self._lock:
            fps, fps_drawn = self._explained.per_second, self._drawn.per_second
            stage_ms = {name: durations.summary_ms() for name, durations in self._stages.items()}
        return {
            "frames_read": self.frames_read,
            "frames_explained": self.frames_explained,
            "frames_written": self.frames_written,
            "frames_dropped": self.frames_dropped,
            "reconnects": self.reconnects,
            "fps": rounded(fps, 2),
            "fps_drawn": rounded(fps_drawn, 2),
            "wall_seconds": rounded(self.wall_seconds),
            "cpu_seconds": rounded(time.process_time() - self._started_cpu_seconds),
            "first_frame_seconds": rounded(self.first_frame_seconds),
            "peak_rss_mb": rounded(peak_rss_mb(), 1),
            "tensorflow_imported": "tensorflow" in sys.modules,
            "stage_ms": stage_ms,
            "latency_ms": self._latency.summary_ms(),
        }


def rounded(value: float | None, digits: int = 3) -> float | None:
    """Returns the number rounded for a report; None stays None."""
    return None if value is None else round(value, digits)


def seconds_since_process_creation() -> float:
    """Returns the age of this process in seconds.

    Linux tells to 10 ms when it created the process; elsewhere the clock starts when this module is imported.
    """
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        # The second field, the name, may hold spaces and brackets: count from the last bracket.
        start_ticks = int(stat.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED_AT_SECONDS


def peak_rss_mb() -> float | None:
    """Returns the most memory this process ever held, in MB (10^6 bytes); None if the system does not tell."""
    try:
        # Linux's getrusage starts with what the parent held when it started this process; this line does not.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6
