"""The rate limiter on clocks of its own: over a minute, it allows what was asked for."""

from __future__ import annotations

import pytest

from live_cam.pipeline.rate_limiter import RateLimiter


class Machine:
    """Two cores on which time passes only when something is done or waited for."""

    def __init__(self, background_share: float = 0.0) -> None:
        self.wall_seconds, self.cpu_seconds = 100.0, 50.0
        self._background_share = background_share

    def limiter(
        self, max_cpu_percent: float | None = None, explanations_per_second: float | None = None
    ) -> RateLimiter:
        return RateLimiter(
            max_cpu_percent, explanations_per_second, 2, lambda: self.wall_seconds, lambda: self.cpu_seconds
        )

    def pass_time(self, wall_seconds: float, cpu_seconds: float = 0.0) -> None:
        self.wall_seconds += wall_seconds
        self.cpu_seconds += cpu_seconds + self._background_share * wall_seconds

    def explain_for(self, limiter: RateLimiter, seconds: float, wall_each: float, cpu_each: float) -> list[float]:
        """Explains for that long; returns when each explanation started."""
        end_seconds, started = self.wall_seconds + seconds, []
        while self.wall_seconds < end_seconds:
            while (pause_seconds := limiter.pause_seconds()) > 0:
                self.pass_time(max(pause_seconds, 0.002))
            limiter.start()
            started.append(self.wall_seconds)
            self.pass_time(wall_each, cpu_each)
        return started


def test_without_limits_nothing_waits():
    machine = Machine()
    limiter = machine.limiter()
    assert not limiter.has_limit
    assert len(machine.explain_for(limiter, 10, wall_each=0.01, cpu_each=0.02)) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize("background_share", [0.0, 0.3])
def test_the_cpu_share_is_kept_whatever_else_the_process_does(background_share: float):
    machine = Machine(background_share)
    limiter = machine.limiter(max_cpu_percent=30)
    assert limiter.has_limit
    started = machine.explain_for(limiter, 60, wall_each=0.02, cpu_each=0.04)
    # 30 % of two cores is 36 CPU seconds per minute.
    assert machine.cpu_seconds - 50 == pytest.approx(36, rel=0.03)
    assert len(started) == pytest.approx((36 - 60 * background_share) / 0.04, rel=0.05)


def test_a_share_that_is_not_used_up_makes_nothing_wait():
    machine = Machine()
    started = machine.explain_for(machine.limiter(max_cpu_percent=90), 10, wall_each=0.05, cpu_each=0.02)
    assert len(started) == pytest.approx(200, abs=2)


def test_unused_cpu_time_is_not_spent_in_a_burst_later():
    machine = Machine()
    limiter = machine.limiter(max_cpu_percent=10)
    limiter.start()
    machine.pass_time(600)
    before = machine.cpu_seconds
    machine.explain_for(limiter, 10, wall_each=0.01, cpu_each=0.02)
    assert machine.cpu_seconds - before == pytest.approx(2, rel=0.05)


def test_a_process_that_is_too_busy_anyway_still_explains_every_two_seconds():
    machine = Machine(background_share=1.0)
    started = machine.explain_for(machine.limiter(max_cpu_percent=30), 20, wall_each=0.01, cpu_each=0.02)
    pauses = [after - before for before, after in zip(started, started[1:], strict=False)]
    assert max(pauses) == pytest.approx(2, abs=0.1)


def test_the_cpu_time_of_loading_is_not_charged():
    machine = Machine()
    limiter = machine.limiter(max_cpu_percent=10)
    machine.pass_time(5, cpu_seconds=10)
    limiter.start()
    machine.pass_time(0.1, cpu_seconds=0.02)
    assert limiter.pause_seconds() == pytest.approx(0, abs=0.001)


@pytest.mark.parametrize("wall_each", [0.01, 0.09])
def test_the_rate_is_kept_however_long_each_explanation_takes(wall_each: float):
    machine = Machine()
    started = machine.explain_for(machine.limiter(explanations_per_second=10), 10, wall_each, 0.0)
    assert len(started) == pytest.approx(100, abs=1)


def test_a_rate_below_one_in_two_seconds_is_kept_too():
    for max_cpu_percent in (None, 50):
        machine = Machine()
        started = machine.explain_for(machine.limiter(max_cpu_percent, 0.1), 45, 0.01, 0.02)
        assert started == pytest.approx([100, 110, 120, 130, 140, 150])


def test_explanations_missed_in_a_long_pause_are_not_made_up_for():
    machine = Machine()
    limiter = machine.limiter(explanations_per_second=10)
    limiter.start()
    machine.pass_time(60)
    assert len(machine.explain_for(limiter, 1, 0.01, 0.0)) == pytest.approx(10, abs=1)
