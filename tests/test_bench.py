"""``livecam bench`` and the benchmark programs report the right figures; no test checks how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from conftest import RunLivecam as Run
from media_clips import probe, write_clip

from live_cam.bench import BenchResult, record_demo, run_bench
from live_cam.cli.bench import parsed_size, table
from live_cam.errors import SettingError, SourceError
from live_cam.settings import BenchSettings, SourceSettings
from live_cam.sources.demo import DemoSource
from live_cam.sources.open import open_source
from live_cam.timing_harness import Timings

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
KEYS = {
    "machine",
    "versions",
    "model",
    "engine",
    "precision",
    "int8",
    "threads",
    "size_wh",
    "forward_ms",
    "explain_ms",
    "end_to_end",
    "live",
    "first_frame_seconds",
    "peak_rss_mb",
    "tensorflow_imported",
}


@pytest.fixture(scope="module")
def warm_bench_cache(warm_cache: None, run_livecam: Run) -> None:
    """The cache also has the default model without heatmap."""
    done = run_livecam("bench", "--frames", "2", "--quiet", timeout=300)
    assert done.returncode == 0, done.stderr


def run_program(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a benchmark program to its end."""
    command = [sys.executable, BENCHMARKS / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_the_demo_is_recorded_at_the_given_size_and_shows_the_demo(tmp_path: Path):
    path = record_demo(tmp_path, (160, 120))
    with open_source(SourceSettings(video=str(path))) as recording, DemoSource() as demo:
        shown, expected = recording.read(), demo.read()
        assert recording.size_wh == (160, 120)
    assert probe(path)["nb_read_packets"] == str(demo.frame_count_estimate)
    difference = cv2.absdiff(shown.image, cv2.resize(expected.image, (160, 120)))
    assert difference.mean() < 8  # H.264 loses a little


def test_the_demo_is_recorded_several_times_in_a_row(tmp_path: Path):
    assert probe(record_demo(tmp_path, (64, 48), rounds=2))["nb_read_packets"] == "500"  # the demo has 250 frames


def test_a_recording_of_odd_size_grows_by_a_pixel_because_h264_needs_even_sides(tmp_path: Path):
    stream = probe(record_demo(tmp_path, (65, 49)))
    assert (stream["width"], stream["height"]) == (66, 50)


@pytest.mark.parametrize(
    ("make_settings", "message"),
    [
        (lambda: BenchSettings(SourceSettings(webcam=0, video="a.mp4")), "only one source"),
        (lambda: BenchSettings(frame_count=1), "give 2 or more"),
        (lambda: BenchSettings(size_wh=(0, 480)), "16 to 8192"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(make_settings: Callable[[], BenchSettings], message: str):
    with pytest.raises(SettingError, match=message):
        make_settings()


def test_a_missing_video_is_named_in_the_error():
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        run_bench(BenchSettings(SourceSettings(video="nowhere.mp4")))


def test_a_size_is_width_by_height():
    assert parsed_size("640x480") == (640, 480)
    with pytest.raises(typer.BadParameter, match="640by480"):
        parsed_size("640by480")


@pytest.fixture(scope="module")
def bench_run(warm_bench_cache: None, run_livecam: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """Returns what a run with a warm cache prints, and its JSON."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    done = run_livecam("bench", "--frames", "12", "--size", "320x240", "--threads", "1", "--json", path)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text(encoding="utf-8"))


def test_the_json_has_the_documented_figures(bench_run: tuple[str, dict]):
    _, report = bench_run
    assert set(report) == KEYS
    assert set(report["end_to_end"]) == {"fps", "latency_ms", "stage_ms", "cpu_ms_per_frame"}
    assert set(report["live"]) == {"camera_fps", *report["end_to_end"]}
    latencies_ms = (report["end_to_end"]["latency_ms"], report["live"]["latency_ms"])
    for times_ms in (report["forward_ms"], report["explain_ms"], *latencies_ms):
        assert 0 < times_ms["p50"] <= times_ms["p95"] <= times_ms["p99"]
    assert (report["model"], report["engine"], report["threads"]) == ("efficientnet-lite0", "litert", 1)
    assert report["size_wh"] == [320, 240]
    assert {"capture", "preprocess", "explain", "render"} <= set(report["end_to_end"]["stage_ms"])


def test_a_warm_run_loads_no_tensorflow(bench_run: tuple[str, dict]):
    assert bench_run[1]["tensorflow_imported"] is False


def test_the_time_to_the_first_frame_counts_from_the_creation_of_the_process(bench_run: tuple[str, dict]):
    # Starting Python and loading OpenCV alone take longer than this.
    assert bench_run[1]["first_frame_seconds"] > 0.1


def test_the_live_row_has_the_pace_of_a_camera(bench_run: tuple[str, dict]):
    live = bench_run[1]["live"]
    assert live["camera_fps"] == 30
    assert 0 < live["fps"] < 40  # 12 frames at 30 per second; a file is explained as fast as possible
    assert live["stage_ms"]["capture"]["p50"] > 10  # it waits for the camera


def test_the_table_shows_the_figures_of_the_json(bench_run: tuple[str, dict]):
    printed, report = bench_run
    rows = rows_of(printed)
    assert rows["plain forward"][:3] == [f"{ms:.1f}" for ms in report["forward_ms"].values()]
    assert rows["forward + heatmap"][:3] == [f"{ms:.1f}" for ms in report["explain_ms"].values()]
    assert rows["file"][:4] == ["-", "-", "-", f"{report['end_to_end']['fps']:.1f}"]
    latency_ms = [f"{ms:.1f}" for ms in report["live"]["latency_ms"].values()]
    assert rows["live"][:4] == [*latency_ms, f"{report['live']['fps']:.1f}"]
    assert "320x240" in printed.splitlines()[0]
    assert report["machine"]["cpu"] in printed.splitlines()[0]


def test_each_row_is_explained_in_the_output(bench_run: tuple[str, dict]):
    printed = bench_run[0]
    for title in rows_of(printed):
        assert f"\n{title}: " in printed
    assert all(len(line) <= 120 for line in printed.splitlines())


def rows_of(printed: str) -> dict[str, list[str]]:
    """Returns the table: a row's title to its cells."""
    lines = printed.partition("\n\n")[0].splitlines()[2:]
    return {line[:20].strip(): line[20:].split() for line in lines}


def test_a_camera_has_a_live_row_and_no_file_row():
    times_ms = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    end_to_end = {"fps": 25.0, "latency_ms": times_ms, "stage_ms": {"explain": times_ms}, "cpu_ms_per_frame": 5.0}
    report = {
        "model": "m", "engine": "litert", "precision": "float", "threads": None, "size_wh": [640, 480],
        "machine": {"cpu": "c", "cores": 2},
        "forward_ms": times_ms, "explain_ms": times_ms, "end_to_end": end_to_end,
        "live": {"camera_fps": None, **end_to_end}, "first_frame_seconds": 1.0, "peak_rss_mb": None,
        "tensorflow_imported": False,
    }  # fmt: skip
    timings = Timings(((1.0, 2.0),), 1.0)
    printed = table(BenchResult(report, timings, timings))
    assert list(rows_of(printed)) == ["plain forward", "forward + heatmap", "live"]
    assert "the camera's own pace" in printed
    assert "file" not in printed


def test_the_help_does_not_promise_several_videos(run_livecam: Run):
    assert "several files" not in run_livecam("bench", "--help", env={"COLUMNS": "200"}).stdout


def test_an_existing_json_is_replaced_only_with_overwrite(run_livecam: Run, tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text("mine", encoding="utf-8")
    done = run_livecam("bench", "--frames", "2", "--json", path)
    assert done.returncode == 1
    assert done.stderr == f"livecam: {path} exists; give another name, or replace it with --overwrite\n"
    assert path.read_text(encoding="utf-8") == "mine"


def test_two_sources_are_a_usage_error(run_livecam: Run):
    done = run_livecam("bench", "--webcam", "0", "--video", "a.mp4")
    assert done.returncode == 2
    assert "only one of" in done.stderr


def test_a_video_is_measured_at_its_own_size_and_repeated_if_it_is_short(
    warm_bench_cache: None, run_livecam: Run, tmp_path: Path
):
    video = write_clip(tmp_path / "clip.mp4", frame_count=10, size_wh=(176, 144))
    path = tmp_path / "bench.json"
    done = run_livecam("bench", "--video", video, "--frames", "26", "--json", path)
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text(encoding="utf-8"))["size_wh"] == [176, 144]


def test_writing_a_section_keeps_those_of_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measuring import write_section

    path = tmp_path / "RESULTS.md"
    write_section("a", "one", path)
    write_section("b", "two", path)
    write_section("a", r"new \1", path)
    assert path.read_text(encoding="utf-8").split("\n\n", 2)[2] == (
        "<!-- a -->\nnew \\1\n<!-- end of a -->\n\n<!-- b -->\ntwo\n<!-- end of b -->\n"
    )


def test_a_numbered_image_keeps_its_number_through_jpeg(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from camera import number_of, numbered

    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", numbered(image, 40321))[1]
    assert number_of(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == 40321


@pytest.mark.slow
@pytest.mark.parametrize("part", ["start", "end-to-end", "camera", "rtsp", "drawing"])
def test_each_part_of_the_pipeline_benchmark_fills_its_table(warm_bench_cache: None, part: str):
    done = run_program("pipeline.py", part, "--rounds", "1", "--frames", "45", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "| figure | measured | goal | detail |" in done.stdout


@pytest.mark.slow
def test_the_benchmarks_of_files_and_archives_fill_their_tables(warm_bench_cache: None):
    done = run_program("file_to_file.py", "--rounds", "1", "--frames", "60", "--sizes", "640x480", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "| 640x480 |" in done.stdout
    done = run_program("archive.py", "--rounds", "1", "--seconds", "4", "--no-ray", "--no-write")
    assert done.returncode == 0, done.stderr
    assert "| one film on 2 workers over 1 |" in done.stdout


@pytest.mark.slow
def test_the_soak_benchmark_runs(warm_bench_cache: None):
    arguments = ("--frames", "40", "--tensorflow-frames", "0", "--no-write")
    done = run_program("soak.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "| LiteRT | 40," in done.stdout


@pytest.mark.slow
def test_peers_that_are_not_installed_are_marked_so(warm_bench_cache: None, tmp_path: Path):
    arguments = ("--folder", tmp_path, "--rounds", "1", "--frames-per-round", "1", "--no-install", "--no-write")
    done = run_program("compare.py", *arguments, "--only", "xplique", "torchcam")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert sum("livecam, LiteRT" in row for row in rows) == 2
    assert [row.split(" | ")[-1] for row in rows if "xplique" in row or "torchcam" in row] == ["not installed |"] * 2
