"""Whole runs from a source to files, checked with ffprobe and the JSON files."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import (
    SHARED_DATA,
    RunLivecam,
    environment_with,
    line_count,
    livecam_command,
    needs_shared_data,
    wait_until,
)
from media_clips import packet_times, probe, write_clip, write_heavy_clip
from stream_servers import MjpegServer

pytestmark = pytest.mark.usefixtures("warm_cache")

REPORT_NAMES = [
    "source", "model", "engine", "engine_reason", "precision", "layer", "method", "frames_read",
    "frames_explained", "frames_written", "frames_dropped", "reconnects", "fps", "fps_drawn", "wall_seconds",
    "cpu_seconds", "first_frame_seconds", "peak_rss_mb", "tensorflow_imported", "stage_ms", "latency_ms",
]  # fmt: skip
STAGES = ["capture", "preprocess", "explain", "render", "write"]
PERCENTILES = ["p50", "p95", "p99"]


def sidecar_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_counts_frames_of(printed: str, output: Path) -> None:
    """Checks that the closing line counts the frames that are in the file, and names the file."""
    closing_line = printed.splitlines()[-1]
    assert closing_line.startswith(f"{probe(output)['nb_read_packets']} frames, ")
    assert str(output) in closing_line


def assert_done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_image_is_annotated_at_its_size_and_the_cat_is_hot(
    run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path
):
    output, sidecar = tmp_path / "cat.png", tmp_path / "cat.jsonl"
    done = run_livecam("--image", photograph_path, "--output", output, "--sidecar", sidecar)
    assert_done(done)
    assert done.stdout.startswith("1 frame, Egyptian cat ")
    assert done.stdout.count("\n") == 1
    assert str(output) in done.stdout
    photograph, drawn = cv2.imread(str(photograph_path)), cv2.imread(str(output))
    assert drawn.shape == photograph.shape
    assert np.abs(drawn.astype(int) - photograph).max() > 50
    (line,) = sidecar_lines(sidecar)
    assert line["index"] == 0
    assert line["explained"]["label"] == "Egyptian cat"
    # The cat's face fills the middle of the photograph.
    assert line["heatmap"]["centroid_xy"] == pytest.approx([0.5, 0.5], abs=0.15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.jsonl", "cat.png"]


def test_the_view_original_without_heat_is_the_photograph_but_for_the_caption(
    run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path
):
    assert_done(run_livecam("--image", photograph_path, "--view", "original", "--output", tmp_path / "cat.png"))
    same = (cv2.imread(str(tmp_path / "cat.png")) == cv2.imread(str(photograph_path))).all(axis=2)
    assert 0.8 < same.mean() < 1
    assert same[100:200, 150:300].all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tiff"])
def test_other_image_formats(run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path, suffix: str):
    output = tmp_path / f"cat{suffix}"
    assert_done(run_livecam("--image", photograph_path, "--output", output))
    assert cv2.imread(str(output)).shape == cv2.imread(str(photograph_path)).shape


def test_the_demo_is_written_without_a_screen(run_livecam: RunLivecam, tmp_path: Path):
    output = tmp_path / "demo.mp4"
    done = run_livecam("--demo", "--output", output, "--max-frames", 12)
    assert_done(done)
    assert done.stdout.startswith("12 frames, ")
    stream = probe(output)
    assert (stream["codec_name"], stream["pix_fmt"], stream["avg_frame_rate"]) == ("h264", "yuv420p", "25/1")
    assert (stream["width"], stream["height"], stream["nb_read_packets"]) == (640, 360, "12")


def test_a_video_keeps_its_frames_rate_size_and_times(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=20, rate=Fraction(30000, 1001), size_wh=(128, 96))
    output, sidecar, report = tmp_path / "out.mp4", tmp_path / "out.jsonl", tmp_path / "out.json"
    done = run_livecam("--video", clip, "--output", output, "--sidecar", sidecar, "--report", report)
    assert_done(done)
    assert_counts_frames_of(done.stdout, output)
    stream = probe(output)
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"], stream["nb_read_packets"]) == (128, 96, "20")
    assert stream["r_frame_rate"] == stream["avg_frame_rate"] == "30000/1001"
    times_seconds = [index * 1001 / 30000 for index in range(20)]
    assert packet_times(output) == pytest.approx(times_seconds, abs=1e-4)
    lines = sidecar_lines(sidecar)
    assert [line["index"] for line in lines] == list(range(20))
    assert [line["time_seconds"] for line in lines] == pytest.approx(times_seconds, abs=1e-4)
    reported = json.loads(report.read_text())
    assert list(reported) == REPORT_NAMES
    assert list(reported["stage_ms"]) == STAGES
    for percentiles in [*reported["stage_ms"].values(), reported["latency_ms"]]:
        assert list(percentiles) == PERCENTILES
        assert 0 <= percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"]
    assert (reported["source"], reported["model"], reported["engine"]) == (str(clip), "efficientnet-lite0", "litert")
    assert (reported["layer"], reported["method"]) == ("top_activation", "grad-cam")
    assert [reported[f"frames_{name}"] for name in ("read", "explained", "written", "dropped")] == [20, 20, 20, 0]
    assert (reported["reconnects"], reported["tensorflow_imported"]) == (0, False)
    assert reported["first_frame_seconds"] > 0
    assert reported["fps"] > 0
    assert reported["fps_drawn"] > 0


def test_a_video_of_odd_size_is_padded_to_an_even_one_and_a_line_says_so(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "odd.mkv", frame_count=5, size_wh=(65, 49), codec="ffv1")
    assert (probe(clip)["width"], probe(clip)["height"]) == (65, 49)
    done = run_livecam("--video", clip, "--output", tmp_path / "even.mp4")
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "66x50" in done.stderr
    stream = probe(tmp_path / "even.mp4")
    assert (stream["width"], stream["height"], stream["nb_read_packets"]) == (66, 50, "5")


def test_start_and_end_choose_the_frames_between_them(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=25)
    sidecar = tmp_path / "s.jsonl"
    assert_done(run_livecam("--video", clip, "--start", "0.2", "--end", "0.4", "--sidecar", sidecar))
    # 25 frames a second: the frames at 0.20, 0.24, 0.28, 0.32 and 0.36 s.
    times_seconds = [line["time_seconds"] for line in sidecar_lines(sidecar)]
    assert times_seconds == pytest.approx([0.2, 0.24, 0.28, 0.32, 0.36])


def test_a_loop_repeats_the_video_up_to_max_frames(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=5)
    output = tmp_path / "out.mp4"
    assert_done(run_livecam("--video", clip, "--loop", "--max-frames", 12, "--output", output))
    assert probe(output)["nb_read_packets"] == "12"
    assert packet_times(output) == pytest.approx([index / 25 for index in range(12)], abs=1e-3)


def test_the_split_view_is_twice_as_wide(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=3)
    assert_done(run_livecam("--video", clip, "--view", "split", "--output", tmp_path / "out.mp4"))
    assert (probe(tmp_path / "out.mp4")["width"], probe(tmp_path / "out.mp4")["height"]) == (128, 48)


def test_the_grid_is_as_large_as_the_frame(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=3)
    assert_done(run_livecam("--video", clip, "--view", "grid", "--output", tmp_path / "out.mp4"))
    assert (probe(tmp_path / "out.mp4")["width"], probe(tmp_path / "out.mp4")["height"]) == (64, 48)


def test_the_panel_is_drawn_into_an_image(run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path):
    pictures = []
    for name, options in (("caption.png", ()), ("panel.png", ("--panel",))):
        assert_done(run_livecam("--image", photograph_path, "--output", tmp_path / name, *options))
        pictures.append(cv2.imread(str(tmp_path / name)))
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=2))
    height, width = pictures[0].shape[:2]
    # Three rows with bars, bottom left: higher than a caption, and narrower than the image.
    assert 0.6 * height < rows.min() < 0.85 * height
    assert columns.max() < 0.9 * width


def test_quiet_prints_nothing(run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path):
    done = run_livecam("--image", photograph_path, "--output", tmp_path / "cat.png", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_output_of_a_truncated_video_is_kept_and_the_error_names_the_frame(run_livecam: RunLivecam, tmp_path: Path):
    whole = write_heavy_clip(tmp_path / "whole.mp4", frame_count=40).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    output, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    done = run_livecam("--video", cut, "--output", output, "--sidecar", tmp_path / "s.jsonl")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"livecam: {cut}")
    assert str(partial) in line
    assert not output.exists()
    kept = int(probe(partial)["nb_read_packets"])
    assert 20 <= kept < 30  # 60 % of 40 frames of about the same size
    assert f"frame {kept}" in line
    assert len(sidecar_lines(tmp_path / "s.partial.jsonl")) == kept


@needs_shared_data
def test_a_real_video_with_its_real_rate(run_livecam: RunLivecam, tmp_path: Path):
    video = SHARED_DATA / "videos" / "car-detection.mp4"
    output = tmp_path / "out.mp4"
    assert_done(run_livecam("--video", video, "--max-frames", 30, "--output", output))
    before, after = probe(video), probe(output)
    assert after["nb_read_packets"] == "30"
    for fact in ("width", "height", "r_frame_rate"):
        assert after[fact] == before[fact]


# --- a live stream: Motion JPEG over HTTP on loopback


@pytest.fixture
def camera_server() -> Iterator[MjpegServer]:
    """A network camera with more frames per second than can be explained."""
    with MjpegServer(fps=50, size_wh=(160, 120)) as server:
        yield server


def test_a_live_stream_is_recorded(run_livecam: RunLivecam, camera_server: MjpegServer, tmp_path: Path):
    address = camera_server.url
    output, sidecar, report = tmp_path / "out.mp4", tmp_path / "s.jsonl", tmp_path / "r.json"
    done = run_livecam(
        "--video", address, "--no-show", "--output", output, "--sidecar", sidecar, "--report", report,
        "--max-frames", 20,
    )  # fmt: skip
    assert_done(done)
    assert_counts_frames_of(done.stdout, output)
    stream = probe(output)
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 160, 120)
    indexes = [line["index"] for line in sidecar_lines(sidecar)]
    assert indexes == sorted(set(indexes))
    reported = json.loads(report.read_text())
    assert reported["source"] == address
    assert reported["frames_explained"] == 20
    assert int(stream["nb_read_packets"]) == reported["frames_written"]
    # A machine too slow for its camera also draws frames between the explained ones, some of them too late.
    assert 10 <= len(indexes) <= min(20, reported["frames_written"])
    # Every frame that was left out is counted.
    assert reported["frames_dropped"] >= indexes[-1] + 1 - reported["frames_written"]


def test_a_live_stream_opens_a_window_unless_told_not_to(
    run_livecam: RunLivecam, camera_server: MjpegServer, tmp_path: Path
):
    done = run_livecam("--video", camera_server.url, "--output", tmp_path / "out.mp4")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no screen" in line
    assert "--no-show" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_on_a_live_job_completes_the_video(
    camera_server: MjpegServer, tmp_path: Path, signal_number: signal.Signals
):
    output, partial_sidecar = tmp_path / "out.mp4", tmp_path / "s.partial.jsonl"
    command = livecam_command(
        "--video", camera_server.url, "--no-show", "--output", output,
        "--sidecar", tmp_path / "s.jsonl",
    )  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with({"DISPLAY": None})
    ) as process:
        wait_until(lambda: line_count(partial_sidecar) > 10, 60, process=process)
        process.send_signal(signal_number)
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == ""
    assert_counts_frames_of(printed, output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "s.jsonl"]
    assert int(probe(output)["nb_read_packets"]) >= len(sidecar_lines(tmp_path / "s.jsonl")) > 10


def test_a_limit_of_explanations_does_not_limit_the_frames_of_a_live_stream(
    run_livecam: RunLivecam, camera_server: MjpegServer, tmp_path: Path
):
    output, sidecar, report = tmp_path / "out.mp4", tmp_path / "s.jsonl", tmp_path / "r.json"
    done = run_livecam(
        "--video", camera_server.url, "--no-show", "--output", output, "--sidecar", sidecar, "--report", report,
        "--fps", 5, "--max-frames", 8,
    )  # fmt: skip
    assert_done(done)
    assert_counts_frames_of(done.stdout, output)
    reported, lines = json.loads(report.read_text()), sidecar_lines(sidecar)
    assert reported["frames_explained"] == 8
    # The camera gives up to fifty frames per second.
    assert reported["frames_written"] >= 16
    assert reported["fps"] <= 6
    assert reported["fps_drawn"] >= 1.5 * reported["fps"]
    assert int(probe(output)["nb_read_packets"]) == reported["frames_written"]
    times_seconds = [line["time_seconds"] for line in lines]
    assert 6 <= len(lines) <= 8
    assert (times_seconds[-1] - times_seconds[0]) / (len(lines) - 1) >= 0.19


def test_every_frame_of_a_file_is_explained_whatever_the_limits(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=12)
    report = tmp_path / "r.json"
    done = run_livecam("--video", clip, "--no-show", "--report", report, "--fps", 1, "--max-cpu", 50)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert "a limit of explanations per second is for live sources" in done.stderr
    assert json.loads(report.read_text())["frames_explained"] == 12


def test_smoothing_changes_what_is_drawn_and_can_be_switched_off(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=6)
    videos = {}
    for seconds in (0, 0.15):
        output = tmp_path / f"{seconds}.mp4"
        assert_done(run_livecam("--video", clip, "--smooth", seconds, "--view", "heatmap", "--output", output))
        videos[seconds] = output.read_bytes()
    assert videos[0] != videos[0.15]
