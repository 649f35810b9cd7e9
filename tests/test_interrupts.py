"""Signals: two in a row are one request, a later one stops at once; what was recorded has its name and its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import environment_with, line_count, livecam_command, wait_until
from media_clips import packet_times, probe, write_clip
from stream_servers import MjpegServer

SIGNALS = [signal.SIGINT, signal.SIGTERM]
GAPS_MS = [0, *(pytest.param(gap_ms, marks=pytest.mark.slow) for gap_ms in (1, 2, 5, 100)), 20, 400]
STANDIN = Path(__file__).with_name("standin.py")


def start_job(video: str | Path, folder: Path, pause_seconds: float = 0.0) -> subprocess.Popen[str]:
    """A job as a program of its own, with an explainer that needs no network."""
    arguments = [video, folder / "o.mp4", folder / "s.jsonl", pause_seconds, folder / "r.json"]
    return subprocess.Popen(
        [sys.executable, str(STANDIN), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_with({"DISPLAY": None}),
    )


def send_twice(process: subprocess.Popen[str], number: signal.Signals, gap_ms: float) -> tuple[str, str]:
    """Sends a signal, and the same again after a gap; returns what was printed to stdout and stderr."""
    process.send_signal(number)
    time.sleep(gap_ms / 1000)  # the gap is what is tested
    if process.poll() is None:
        process.send_signal(number)
    return process.communicate(timeout=60)


@pytest.mark.parametrize("gap_ms", GAPS_MS)
@pytest.mark.parametrize("number", SIGNALS)
def test_two_signals_in_a_row_complete_a_live_recording(tmp_path: Path, number: signal.Signals, gap_ms: float):
    with MjpegServer(fps=30) as server, start_job(server.url, tmp_path) as process:
        wait_until(lambda: line_count(tmp_path / "s.partial.jsonl") > 15, process=process)
        printed, errors = send_twice(process, number, gap_ms)
    assert process.returncode == 130, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mp4", "r.json", "s.jsonl"]
    frame_count = int(probe(tmp_path / "o.mp4")["nb_read_packets"])
    summary = printed.splitlines()[-1]
    assert summary.startswith(f"{frame_count} frames, ")
    assert str(tmp_path / "o.mp4") in summary
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames_written"] == frame_count > 15


@pytest.mark.parametrize("gap_ms", GAPS_MS)
@pytest.mark.parametrize("number", SIGNALS)
def test_two_signals_in_a_row_leave_a_file_job_that_can_be_resumed(
    tmp_path: Path, number: signal.Signals, gap_ms: float
):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=500)
    with start_job(clip, tmp_path, pause_seconds=0.01) as process:
        wait_until(lambda: line_count(tmp_path / "s.partial.jsonl") > 60, process=process)
        printed, errors = send_twice(process, number, gap_ms)
    assert process.returncode == 130, errors
    left = {path.name for path in tmp_path.iterdir()} - {"clip.mp4"}
    assert left == {"o.partial.mp4", "s.partial.jsonl", "o.mp4.livecam-checkpoint.npz", "r.json"}
    frame_count = int(probe(tmp_path / "o.partial.mp4")["nb_read_packets"])
    summary = printed.splitlines()[-1]
    assert summary.startswith(f"{frame_count} frames, ")
    assert "--resume" in summary
    assert json.loads((tmp_path / "r.json").read_text())["frames_written"] == frame_count > 60
    # And --resume continues it.
    resumed = subprocess.run(
        [
            sys.executable, "-c",
            "import sys; from pathlib import Path; from standin import run_standin; "
            "run_standin(*map(Path, sys.argv[1:4]), resume=True)",
            str(clip), str(tmp_path / "o.mp4"), str(tmp_path / "s.jsonl"),
        ],
        env=environment_with({"PYTHONPATH": os.pathsep.join([str(STANDIN.parent), *sys.path])}), check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert packet_times(tmp_path / "o.mp4") == pytest.approx([index / 25 for index in range(500)], abs=1e-3)


def test_a_signal_while_the_files_are_completed_changes_nothing(tmp_path: Path):
    """The process signals itself when the last frame is written: all files are complete, so the job was done."""
    clip = write_clip(tmp_path / "clip.mp4", frame_count=20)
    program = (
        "import os, signal, sys, time, standin; from live_cam.sinks.video import sink\n"
        "copy = sink.copy_for_fast_start\n"
        "def copy_after_signal(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(0.3)\n"  # for the main loop to see it before the file is complete
        "    copy(*arguments)\n"
        "sink.copy_for_fast_start = copy_after_signal\n"
        "standin.main(*sys.argv[1:])"
    )
    arguments = [clip, tmp_path / "o.mp4", tmp_path / "s.jsonl", 0]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=STANDIN.parent, check=False,
        capture_output=True, text=True, env=environment_with({"DISPLAY": None}), timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "20 frames" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "o.mp4", "s.jsonl"]


def test_a_signal_more_than_a_second_later_stops_at_once(tmp_path: Path):
    """The explainer hangs: only the second request can end the process."""
    clip = write_clip(tmp_path / "clip.mp4", frame_count=50)
    with start_job(clip, tmp_path, pause_seconds=60) as process:
        # The lock is taken after the signals are handled, and before the first frame is explained.
        wait_until((tmp_path / "o.partial.mp4.lock").exists, process=process)
        process.send_signal(signal.SIGTERM)
        time.sleep(1.1)  # longer than two signals count as one
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert not (tmp_path / "o.mp4").exists()
    assert "Traceback" not in errors


def test_timeout_which_sends_its_signal_twice_leaves_a_whole_recording(warm_cache: None, tmp_path: Path):
    """The measured case: coreutils' timeout signals the process and its group, also when it is itself terminated."""
    with MjpegServer(fps=30) as server:
        command = livecam_command(
            "--video", server.url, "--no-show", "--output", tmp_path / "o.mp4", "--report", tmp_path / "r.json",
            "--sidecar", tmp_path / "s.jsonl",
        )  # fmt: skip
        process = subprocess.Popen(
            ["timeout", "300", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment_with({"DISPLAY": None}),
        )  # fmt: skip
        try:
            wait_until(lambda: line_count(tmp_path / "s.partial.jsonl") > 20, process=process, seconds=120)
        finally:
            process.terminate()
        printed, errors = process.communicate(timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mp4", "r.json", "s.jsonl"], errors
    frame_count = int(probe(tmp_path / "o.mp4")["nb_read_packets"])
    assert frame_count > 20
    assert printed.splitlines()[-1].startswith(f"{frame_count} frames, ")
    assert json.loads((tmp_path / "r.json").read_text())["frames_written"] == frame_count
