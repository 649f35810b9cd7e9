"""A recording of a live source: its times, its end in every case, and no password in any message or file."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import RunLivecam, StartLivecam, environment_with, line_count, livecam_command, wait_until
from media_clips import packet_times, probe, result_of
from stream_servers import MjpegServer, count_in, counted_image

from live_cam.sinks.video.sink import VideoSink

MOST_LOST_SECONDS = 2.0


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as running:
        yield running


def counts_in(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [count_in(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


Recorded = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def recording(start_livecam: StartLivecam, warm_cache: None, tmp_path: Path) -> Recorded:
    """Starts ``livecam --no-show`` into ``out.mp4`` and returns when some frames are written."""

    def start(server: MjpegServer, *arguments: object, name: str = "out.mp4") -> subprocess.Popen[str]:
        address = server.url.replace("http://", "http://anna:s%40cret@") + "?tok%65n=hidden&size=2"
        process = start_livecam(
            "--video", address, "--no-show", "--view", "original", "--output", tmp_path / name,
            "--sidecar", tmp_path / "s.jsonl", "--report", tmp_path / "r.json", *arguments,
        )  # fmt: skip
        wait_for_lines(tmp_path / "s.partial.jsonl", 10, process)
        return process

    return start


def wait_for_lines(sidecar: Path, count: int, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: line_count(sidecar) > count, 60, process=process)


def times_in(sidecar: Path) -> list[float]:
    return [json.loads(line)["time_seconds"] for line in sidecar.read_text().splitlines()]


def test_a_recording_keeps_time_over_an_outage_and_no_message_or_file_has_the_password(
    server: MjpegServer, recording: Recorded, tmp_path: Path
):
    process = recording(server)
    server.go_offline()
    time.sleep(2.0)  # how long it is away
    before = line_count(tmp_path / "s.partial.jsonl")
    server.go_online()
    wait_for_lines(tmp_path / "s.partial.jsonl", before + 10, process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    lost, back = errors.splitlines()
    assert lost.endswith("trying again")
    assert "is back after" in back
    report = (tmp_path / "r.json").read_text()
    assert json.loads(report)["reconnects"] == 1
    for text in (printed, errors, report, (tmp_path / "s.jsonl").read_text()):
        assert not any(secret in text for secret in ("anna", "cret", "hidden"))
    counts = counts_in(tmp_path / "out.mp4")
    assert counts == sorted(set(counts))
    # Each frame has the time that the server's clock gave it, also after the outage.
    sent, written = np.array([server.sent_seconds[count] for count in counts]), packet_times(tmp_path / "out.mp4")
    apart_seconds = np.subtract(written, sent)
    apart_seconds = np.abs(apart_seconds - np.median(apart_seconds))
    assert np.median(apart_seconds) < 0.1
    assert apart_seconds.max() < 1.5  # on a busy machine
    assert 2.0 < np.diff(written).max() < 10.0


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_killed_recording_can_be_played_and_has_lost_at_most_two_seconds(
    server: MjpegServer, recording: Recorded, tmp_path: Path, name: str
):
    process = recording(server, name=name)
    sidecar, partial = tmp_path / "s.partial.jsonl", tmp_path / name.replace("out", "out.partial")
    wait_for_lines(sidecar, line_count(sidecar) + 60, process)
    process.kill()
    process.wait()
    taken = times_in(sidecar)
    counts = counts_in(partial)
    assert counts == sorted(set(counts))
    assert taken[-1] - taken[0] - packet_times(partial)[-1] < MOST_LOST_SECONDS


@pytest.mark.parametrize("frame_seconds", [0.04, 0.2, 0.8])
def test_at_any_frame_rate_at_most_two_seconds_are_not_on_the_disk(tmp_path: Path, frame_seconds: float):
    path = tmp_path / "out.mp4"
    with VideoSink(path, (320, 240), None) as sink:
        for index in range(round(4 / frame_seconds)):
            sink.write(result_of(counted_image(index), index, index * frame_seconds))
        # A killed process leaves what is on the disk now.
        on_disk = packet_times(sink.partial_path)
        assert index * frame_seconds - on_disk[-1] < MOST_LOST_SECONDS


def test_frames_whose_size_changes_are_fitted_into_the_recording(
    server: MjpegServer, recording: Recorded, tmp_path: Path
):
    process = recording(server)
    server.size_wh = (256, 480)
    wait_for_lines(tmp_path / "s.partial.jsonl", line_count(tmp_path / "s.partial.jsonl") + 20, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    facts = probe(tmp_path / "out.mp4")
    assert (facts["width"], facts["height"]) == (320, 240)
    with av.open(str(tmp_path / "out.mp4")) as container:
        *_, last = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
    # 256x480 into 320x240: 128x240 in the middle, black beside it.
    assert last[:, :92].max() < 40
    assert last[:, -92:].max() < 40
    assert last[:, 100:220].mean() > 100


@contextlib.contextmanager
def small_disk(folder: Path, is_wanted: bool) -> Iterator[bool]:
    """Makes a folder and, if wanted, mounts a file system of one megabyte there; yields whether that worked."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "livecam-test", str(folder)]
    is_mounted = is_wanted and os.geteuid() == 0
    is_mounted = is_mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def limit_files_to_a_megabyte() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.parametrize("limit", ["tmpfs", "RLIMIT_FSIZE"])
def test_a_full_disk_ends_with_one_line_and_a_video_that_can_be_played(
    server: MjpegServer, warm_cache: None, tmp_path: Path, limit: str
):
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    server.make_image = lambda number, size_wh: np.roll(noise, number, axis=1)
    with small_disk(tmp_path / "disk", limit == "tmpfs") as is_mounted:
        if limit == "tmpfs" and not is_mounted:
            warnings.warn("no file system can be mounted here; a limit on the size of files stands in", stacklevel=1)
        command = livecam_command(
            "--video", server.url, "--no-show", "--output", tmp_path / "disk" / "out.mp4", "--view", "original"
        )
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment_with({"DISPLAY": None}),
            preexec_fn=None if is_mounted else limit_files_to_a_megabyte,
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"livecam: cannot write {tmp_path / 'disk' / 'out.mp4'}: ")
        assert "stays in" in line
        (kept,) = (tmp_path / "disk").iterdir()
        assert int(probe(kept)["nb_read_packets"]) > 5


def test_a_missing_stream_is_an_error_at_once_or_after_the_allowed_tries(
    server: MjpegServer, warm_cache: None, run_livecam: RunLivecam, recording: Recorded, tmp_path: Path
):
    server.go_offline()
    done = run_livecam("--video", server.url, "--no-show", "--report", tmp_path / "none.json")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot reach" in line
    done = run_livecam("--video", server.url, "--no-show", "--report", tmp_path / "none.json", "--retry", 1)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot reach" in line
    server.go_online()
    process = recording(server, "--retry", 0)
    server.go_offline()
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert len([line for line in errors.splitlines() if line.startswith("livecam: ")]) == 1
    assert "cret" not in errors + printed
    assert int(probe(tmp_path / "out.partial.mp4")["nb_read_packets"]) > 5


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--retry", "often", "retry is a number, 0 or more, or the word forever, not 'often'"),
        ("--camera-size", "big", "the camera size is width x height, such as 1280x720, not 'big'"),
        ("--camera-fps", "0", "the camera's frame rate must be a number above 0, not 0.0"),
    ],
)
def test_options_are_checked_before_anything_is_opened(
    run_livecam: RunLivecam, tmp_path: Path, option: str, value: str, message: str
):
    done = run_livecam("--webcam", 61, "--no-show", "--report", tmp_path / "r.json", option, value)
    assert (done.returncode, done.stderr) == (1, f"livecam: {message}\n")
