"""Clocks, percentiles and what the operating system says this process used."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np

_IMPORTED_AT_SECONDS = time.monotonic()


class Durations:
    """Durations as a histogram of fixed size, so that a run of days needs no more memory than one of a second.

    Bins grow by 1 % from a microsecond to twenty minutes: a percentile is exact to 0.5 %.
    """

    _SHORTEST_SECONDS = 1e-6
    _GROWTH = 1.01
    _BIN_COUNT = 2110

    def __init__(self) -> None:
        self._counts = np.zeros(self._BIN_COUNT, np.int64)

    def add(self, seconds: float) -> None:
        """Counts one duration."""
        position = np.log(max(seconds, self._SHORTEST_SECONDS) / self._SHORTEST_SECONDS) / np.log(self._GROWTH)
        self._counts[min(int(position), self._BIN_COUNT - 1)] += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The duration in milliseconds that ``percent`` of all stay at or under; None if none was added."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        bin_index = int(np.searchsorted(np.cumsum(self._counts), max(1, np.ceil(total * percent / 100))))
        return float(1e3 * self._SHORTEST_SECONDS * self._GROWTH ** (bin_index + 0.5))

    def summary_ms(self) -> dict[str, float | None]:
        """The median and the two tails that matter to a viewer, in milliseconds."""
        return {f"p{percent}": rounded(self.percentile_ms(percent)) for percent in (50, 95, 99)}


class RateMeter:
    """Events a second over the last ``window`` events."""

    def __init__(self, window: int = 30) -> None:
        self._times_seconds: deque[float] = deque(maxlen=window)

    def tick(self, now_seconds: float) -> None:
        """Notes one event."""
        self._times_seconds.append(now_seconds)

    @property
    def per_second(self) -> float | None:
        """None until two events at different times are known."""
        if len(self._times_seconds) < 2 or self._times_seconds[-1] <= self._times_seconds[0]:
            return None
        return (len(self._times_seconds) - 1) / (self._times_seconds[-1] - self._times_seconds[0])


def rounded(value: float | None, digits: int = 3) -> float | None:
    """Rounds for a report; None stays None."""
    return None if value is None else round(value, digits)


def seconds_since_process_creation() -> float:
    """Age of this process in seconds.

    Linux tells to 10 ms when it created the process; elsewhere the clock starts when this module is imported.
    """
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        # The second field, the name, may hold blanks and brackets: count from the last bracket.
        start_ticks = int(stat.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED_AT_SECONDS


def peak_rss_mb() -> float | None:
    """The most memory this process ever held, in MB (10^6 bytes); None where the system does not tell."""
    try:
        # Linux's getrusage begins with what the parent held when it started this process; this line does not.
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
