"""Short runs of ``benchmarks/soak.py --live`` and ``serve.py soak``: memory, threads, files and latency do not grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_cam import load_explainer

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what a process holds")
def test_a_live_run_holds_no_more_at_its_end(warm_cache: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import soak

    usages, _, feed = soak.run_camera(load_explainer(), 20.0, camera_fps=8)
    # The first fifth is the warm-up. A machine that stands still for seconds loses the camera, and then there are two
    # readers for a moment; they must not add up.
    early, late = usages[4:8], usages[-4:]
    assert min(usage.threads for usage in late) <= max(usage.threads for usage in early)
    assert min(usage.files for usage in late) <= max(usage.files for usage in early)
    assert min(usage.memory_mb for usage in late) < 1.03 * max(usage.memory_mb for usage in early)
    # From the capture on: a busy machine leaves frames behind in the connection. One is drawn while the next one waits;
    # more that wait would make each later one older, by seconds in the end.
    assert feed.stats.report()["latency_ms"]["p50"] < 3e3 / feed.stats.fps
    assert feed.stats.frames_explained > 10


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what a process holds")
def test_a_server_holds_no_more_after_viewers_came_and_went(warm_cache: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import serve

    usages = serve.usages_with_changing_viewers(load_explainer(), 40.0)
    # The first fifth is the warm-up.
    early, late = usages[4:8], usages[-4:]
    assert min(usage.memory_mb for usage in late) < 1.05 * max(usage.memory_mb for usage in early)
    assert min(usage.threads for usage in late) <= max(usage.threads for usage in early)
    assert min(usage.files for usage in late) <= max(usage.files for usage in early)
