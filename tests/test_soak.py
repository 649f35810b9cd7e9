"""The long live run of ``benchmarks/soak.py``, shortened: nothing grows that must not."""

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

    seen, ages_ms, pipeline = soak.soaked_live(load_explainer(), 20.0)
    early, late = seen[4], seen[-1]
    assert (late.threads, late.files) == (early.threads, early.files)
    assert late.memory_mb < 1.03 * early.memory_mb
    # Frames that wait anywhere would make each later one older, by seconds in the end.
    assert max(ages_ms[4:]) < ages_ms[4] + 300
    assert pipeline.meter.reconnects == 0
    assert pipeline.meter.frames_explained > 100
