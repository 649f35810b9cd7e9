"""Measures how long actions take, in alternation so that drift affects all alike; and names the machine."""

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

from live_cam.version import __version__

# Called with what is being done, how many steps of it are done, and how many there are.
Progress: TypeAlias = Callable[[str, int, int], None]

_WARM_UP_CALLS = 5
_LIBRARIES = ("numpy", "opencv-python", "av", "ai-edge-litert", "tensorflow", "keras")


@dataclass(frozen=True)
class Timings:
    """Durations of one action, measured in rounds that alternate with those of other actions.

    Attributes:
        rounds_ms: Milliseconds of each call, one tuple per round.
        cpu_ms: Mean CPU time per call in milliseconds, over all threads of this process.
    """

    rounds_ms: tuple[tuple[float, ...], ...]
    cpu_ms: float

    def summary_ms(self) -> dict[str, float]:
        """Returns the durations that 50, 95 and 99 % of all calls do not exceed."""
        durations_ms = np.concatenate(self.rounds_ms)
        return {
            f"p{percent}": round(float(np.percentile(durations_ms, percent, method="inverted_cdf")), 3)
            for percent in (50, 95, 99)
        }

    @property
    def fps(self) -> float:
        """Calls per second."""
        return 1e3 / float(np.concatenate(self.rounds_ms).mean())

    def ratios_to(self, other: Timings) -> list[float]:
        """Returns the ratio of the medians of each round; drift between rounds cancels out."""
        pairs = zip(self.rounds_ms, other.rounds_ms, strict=True)
        return [float(np.median(own) / np.median(others)) for own, others in pairs]


def timed(action: Callable[[int], object]) -> Callable[[int], float]:
    """Wraps an action so that it returns its duration in seconds."""

    def timed_action(index: int) -> float:
        started_seconds = time.perf_counter()
        action(index)
        return time.perf_counter() - started_seconds

    return timed_action


def interleaved(
    actions: Mapping[str, Callable[[int], float]],
    call_count: int,
    round_count: int,
    on_progress: Progress = lambda action, done, total: None,
) -> dict[str, Timings]:
    """Measures several actions in alternation, so that a slow phase of the machine affects all of them.

    In each round, every action is called several times in a row, after one call that is not counted: while frames are
    processed in a row, the weights of the network stay in the processor's cache. The order of the actions is reversed
    after each round.

    Args:
        actions: Names to actions, which take the index of the call and return their duration in seconds. Each is
            called a few times before the measurement.
        call_count: Counted calls of each action, spread evenly over the rounds.
        round_count: Number of rounds.
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
    """Returns the CPU, the number of its cores and the system, for reports."""
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Returns the versions of livecam, Python and the installed libraries that measurements depend on."""
    found = {"livecam": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
