"""How often to explain where not every frame can be, or shall be."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# What was used too little is not made up for later: that would be a burst.
_MOST_CREDIT_SECONDS = 0.1
# However busy the process is with other things, the heat never stands for longer.
_LONGEST_PAUSE_SECONDS = 2.0


class Governor:
    """Says how long to wait before the next explanation.

    The CPU's share is kept by an account: all CPU time of this process is a debt that is paid off at the allowed rate
    as time goes by; the next explanation waits until nothing is owed. On average that is the share, whatever else the
    process does, as long as that alone does not take more.

    Args:
        max_cpu_percent: Of all cores of this machine together; None for no limit.
        explanations_per_second: At most; None for no limit.
        core_count: How many cores there are.
        wall_clock: Gives seconds.
        cpu_clock: Gives this process's CPU seconds, of all threads.
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
    def limits(self) -> bool:
        """Whether anything is limited."""
        return self._allowed_rate is not None or self._interval_seconds > 0

    def pause_seconds(self) -> float:
        """How long to wait before asking again; 0: explain now. The first explanation is free."""
        now = self._wall_clock()
        if self._last_start is None:
            return 0.0
        # Too long a pause for the CPU's sake ends here; one for the rate's sake does not.
        longest = max(0.0, self._last_start + _LONGEST_PAUSE_SECONDS - now)
        return max(self._due - now, min(self._debt_seconds(now), longest), 0.0)

    def begins(self) -> None:
        """Notes that an explanation begins now."""
        now = self._wall_clock()
        if self._last_start is None:
            # What loading took is not paid for.
            self._looked_wall, self._looked_cpu = now, self._cpu_clock()
        self._last_start = now
        # On time, the next is due an interval after this one was due: the rate then is the one that was asked for.
        is_on_time = now - self._due < self._interval_seconds
        self._due = (self._due if is_on_time else now) + self._interval_seconds

    def _debt_seconds(self, now: float) -> float:
        """How long it takes until the CPU time that was used is paid off."""
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
