"""Films damaged at random: none hangs, crashes, fills the memory or ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from conftest import RunLivecam, environment_with
from damaged import damaged_clips
from recordings import ffmpeg, frames_of

MOST_SECONDS, MOST_MB = 20.0, 1200
TESTS = Path(__file__).parent


def results_of(paths: list[Path]) -> list[list[str]]:
    """The lines of ``damaged.outcomes`` from a process of its own, which a crash in ffmpeg would end."""
    command = [sys.executable, str(TESTS / "damaged.py"), *map(str, paths)]
    python_path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_with({"PYTHONPATH": python_path}),
    ) as process:
        printed, errors = process.communicate(timeout=60 + len(paths))
    results = [line.split("\t") for line in printed.splitlines()]
    assert (process.returncode, len(results), errors) == (0, len(paths), ""), (results[-1:], errors)
    return results


def assert_tidy(results: list[list[str]]) -> None:
    for name, code, seconds, most_mb, said in results:
        assert code in ("0", "1"), f"{name}: {said}"
        assert bool(said) == (code == "1")
        assert "\\n" not in said
        assert float(seconds) < MOST_SECONDS, name
        assert int(most_mb) < MOST_MB, name
    assert {code for _, code, *_ in results} == {"0", "1"}


def test_fifty_damaged_films(tmp_path: Path):
    assert_tidy(results_of(damaged_clips(tmp_path, 50, seed=5)))


@pytest.mark.slow
def test_two_hundred_damaged_films(tmp_path: Path):
    assert_tidy(results_of(damaged_clips(tmp_path, 200, seed=11)))


@pytest.mark.slow
def test_a_dozen_damaged_films_on_the_command_line(run_livecam: RunLivecam, warm_cache: None, tmp_path: Path):
    for path in damaged_clips(tmp_path, 50, seed=12)[::4][:12]:
        done = run_livecam("--video", path, "--output", tmp_path / "out.mp4", "--overwrite", "--quiet", timeout=60)
        assert done.returncode in (0, 1), path
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == done.returncode, (path, done.stderr)


def test_a_track_that_begins_in_mid_file_does_no_harm(tmp_path: Path):
    """As in a recorded broadcast: the pictures stay, the other track is not known and left out."""
    # Longer than what ffmpeg looks at, at the beginning and at the end, before it says which tracks there are.
    pictures = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=15,format=yuv420p")
    sound = ("-f", "lavfi", "-i", "sine=d=15", "-c:a", "mp2")
    both = tmp_path / "both.ts"
    for number, inputs in enumerate([pictures, (*pictures, *sound), pictures]):
        part = tmp_path / f"{number}.ts"
        ffmpeg(*inputs, "-g", "12", "-muxrate", "4M", "-output_ts_offset", 15 * number, part)
        with both.open("ab") as file:
            file.write(part.read_bytes())
    with av.open(str(both)) as container:
        assert len(container.streams) == 1
        with pytest.raises(IndexError, match="out of range"):  # that PyAV still stumbles here
            list(container.demux())
    assert len(frames_of(both)) == 450
