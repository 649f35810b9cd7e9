"""Limits how often frames are explained: by a rate, or by the CPU time of this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# Unused CPU time is not saved up for longer: spending it would be a burst.
_MOST_CREDIT_SECONDS = 0.1
# However busy the process is with other things, the heat is never older than this.
_LONGEST_PAUSE_SECONDS = 2.0


class RateLimiter:
    """Tells how long to wait before the next explanation.

    All CPU time of this process counts as a debt, which shrinks at the allowed rate as time passes. The next
    explanation waits until the debt is paid. The average is the allowed share, as long as the rest of the process does
    not use more.

    Args:
        max_cpu_percent: Share of all cores of this machine together, in percent; None for no limit.
        explanations_per_second: Most explanations per second; None for no limit.
        core_count: Number of cores.
        wall_clock: Returns seconds.
        cpu_clock: Returns the CPU seconds of all threads of this process.
    """

    def __init__(
        self,
        max_cpu_percent: float | None = None,
        explanations_per_second: float | None = None,
        core_count: int = os.cpu_count() or 1,
        wall_clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._allowed_rate = None if max_cpu_percent is None else max_cpu_percent / 100 * core_count
        self._interval_seconds = 0.0 if explanations_per_second is None else 1 / explanations_per_second
        self._wall_clock, self._cpu_clock = wall_clock, cpu_clock
        self._looked_wall = self._looked_cpu = self._owed_cpu_seconds = 0.0
        self._last_start: float | None = None
        self._due = 0.0

    @property
    def has_limit(self) -> bool:
        """Whether anything is limited."""
        return self._allowed_rate is not None or self._interval_seconds > 0

    def pause_seconds(self) -> float:
        """Returns how long to wait before asking again; 0: explain now. The first explanation never waits."""
        now = self._wall_clock()
        if self._last_start is None:
            return 0.0
        # A pause for the CPU limit has a maximum; a pause for the rate has none.
        longest = max(0.0, self._last_start + _LONGEST_PAUSE_SECONDS - now)
        return max(self._due - now, min(self._debt_seconds(now), longest), 0.0)

    def start(self) -> None:
        """Notes that an explanation starts now."""
        now = self._wall_clock()
        if self._last_start is None:
            # Loading the model is not charged.
            self._looked_wall, self._looked_cpu = now, self._cpu_clock()
        self._last_start = now
        # If this one is on time, the next is due one interval after this one was due: that keeps the exact rate.
        is_on_time = now - self._due < self._interval_seconds
        self._due = (self._due if is_on_time else now) + self._interval_seconds

    def _debt_seconds(self, now: float) -> float:
        """Returns how long it takes to pay off the CPU time that was used."""
        if self._allowed_rate is None:
            return 0.0
        cpu = self._cpu_clock()
        earned = self._allowed_rate * (now - self._looked_wall)
        owed = self._owed_cpu_seconds + cpu - self._looked_cpu - earned
        self._owed_cpu_seconds = min(
            max(owed, -_MOST_CREDIT_SECONDS * self._allowed_rate), _LONGEST_PAUSE_SECONDS * self._allowed_rate
        )
        self._looked_wall, self._looked_cpu = now, cpu
        return self._owed_cpu_seconds / self._allowed_rate
