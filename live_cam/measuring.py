"""Durations measured in turns, so that drift hits all alike, and what they were measured on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from live_cam import __version__

# Called with what is being measured, how many calls of it are done, and of how many.
Progress: TypeAlias = Callable[[str, int, int], None]

_WARM_UP_CALLS = 5
_LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "tensorflow", "keras")


@dataclass(frozen=True)
class Timings:
    """Durations of one action, measured in rounds that took turns with those of others.

    Attributes:
        rounds_ms: Milliseconds of each call, a tuple a round.
        cpu_ms: Milliseconds of CPU a call, all threads of this process, on average.
    """

    rounds_ms: tuple[tuple[float, ...], ...]
    cpu_ms: float

    def summary_ms(self) -> dict[str, float]:
        """The shortest durations that 50, 95 and 99 % of all calls stay at or under."""
        everything = np.concatenate(self.rounds_ms)
        return {
            f"p{percent}": round(float(np.percentile(everything, percent, method="inverted_cdf")), 3)
            for percent in (50, 95, 99)
        }

    @property
    def fps(self) -> float:
        """Calls a second."""
        return 1e3 / float(np.concatenate(self.rounds_ms).mean())

    def ratios_to(self, other: Timings) -> list[float]:
        """Median over median, a round: what drifts from round to round cancels out."""
        pairs = zip(self.rounds_ms, other.rounds_ms, strict=True)
        return [float(np.median(own) / np.median(others)) for own, others in pairs]


def timed(action: Callable[[int], object]) -> Callable[[int], float]:
    """The same action, giving the seconds it took."""

    def timed_action(index: int) -> float:
        started_seconds = time.perf_counter()
        action(index)
        return time.perf_counter() - started_seconds

    return timed_action


def interleaved(
    actions: Mapping[str, Callable[[int], float]],
    call_count: int,
    round_count: int,
    on_progress: Progress = lambda what, done, total: None,
) -> dict[str, Timings]:
    """Measures several actions in turns: what slows the machine for a while slows them all.

    Args:
        actions: Names to actions that take the call's index and give the seconds they took. Warmed up first.
        call_count: Calls of each, spread evenly over the rounds.
        round_count: Each round calls every action some times in a row, in alternating order, and once more before,
            uncounted: a run of frames finds its own weights in the processor's cache, the first after a turn does not.
        on_progress: See ``Progress``.
    """
    for action in actions.values():
        for index in range(_WARM_UP_CALLS):
            action(index)
    rounds_ms: dict[str, list[tuple[float, ...]]] = {name: [] for name in actions}
    cpu_seconds = dict.fromkeys(actions, 0.0)
    names = list(actions)
    for indices in np.array_split(np.arange(call_count), min(round_count, call_count)):
        for name in names:
            actions[name](int(indices[0]))
            started_seconds = time.process_time()
            rounds_ms[name].append(tuple(1e3 * actions[name](int(index)) for index in indices))
            cpu_seconds[name] += time.process_time() - started_seconds
        names.reverse()
        on_progress(" and ".join(actions), int(indices[-1]) + 1, call_count)
    return {name: Timings(tuple(rounds_ms[name]), 1e3 * cpu_seconds[name] / call_count) for name in actions}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of what the figures depend on; those that are not installed are left out."""
    found = {"livecam": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
