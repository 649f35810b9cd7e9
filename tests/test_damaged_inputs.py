"""Randomly damaged videos: none makes livecam hang, crash, use too much memory or print a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import RunLivecam, environment_with
from damaged import damaged_clips
from recordings import ffmpeg, frames_of

MAX_SECONDS, MAX_MB = 20.0, 1200
TESTS = Path(__file__).parent


def results_of(paths: list[Path]) -> list[list[str]]:
    """Returns the lines of ``damaged.outcomes`` from a separate process, because ffmpeg could crash it."""
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


def assert_handled(results: list[list[str]]) -> None:
    for name, code, seconds, peak_mb, message in results:
        assert code in ("0", "1"), f"{name}: {message}"
        assert bool(message) == (code == "1")
        assert "\\n" not in message
        assert float(seconds) < MAX_SECONDS, name
        assert int(peak_mb) < MAX_MB, name
    assert {code for _, code, *_ in results} == {"0", "1"}


@pytest.mark.slow
def test_fifty_damaged_videos(tmp_path: Path):
    assert_handled(results_of(damaged_clips(tmp_path, 50, seed=5)))


@pytest.mark.slow
def test_two_hundred_damaged_videos(tmp_path: Path):
    assert_handled(results_of(damaged_clips(tmp_path, 200, seed=11)))


@pytest.mark.slow
def test_a_dozen_damaged_videos_on_the_command_line(run_livecam: RunLivecam, warm_cache: None, tmp_path: Path):
    for path in damaged_clips(tmp_path, 50, seed=12)[::4][:12]:
        done = run_livecam("--video", path, "--output", tmp_path / "out.mp4", "--overwrite", "--quiet", timeout=60)
        assert done.returncode in (0, 1), path
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == done.returncode, (path, done.stderr)


def test_the_command_line_keeps_what_libpng_prints_from_the_user(run_livecam: RunLivecam, tmp_path: Path):
    image = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.png").write_bytes(image[: len(image) // 2])  # libpng: "PNG input buffer is incomplete"
    done = run_livecam("--image", tmp_path / "cut.png", "--output", tmp_path / "out.png")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cut.png is not an image that OpenCV can read" in done.stderr


def test_a_track_that_begins_in_the_middle_of_a_file_is_left_out(tmp_path: Path):
    """As in a recorded broadcast: all frames are read, although PyAV does not know the other track."""
    # Longer than the parts at the beginning and end in which ffmpeg looks for tracks.
    frames = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=15,format=yuv420p")
    sound = ("-f", "lavfi", "-i", "sine=d=15", "-c:a", "mp2")
    both = tmp_path / "both.ts"
    for number, inputs in enumerate([frames, (*frames, *sound), frames]):
        part = tmp_path / f"{number}.ts"
        ffmpeg(*inputs, "-g", "12", "-muxrate", "4M", "-output_ts_offset", 15 * number, part)
        with both.open("ab") as file:
            file.write(part.read_bytes())
    with av.open(str(both)) as container:
        assert len(container.streams) == 1
        with pytest.raises(IndexError, match="out of range"):  # PyAV still raises here
            list(container.demux())
    assert len(frames_of(both)) == 450
