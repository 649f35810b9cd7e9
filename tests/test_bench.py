"""The figures of ``livecam bench`` and the benchmark scripts: what they say, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from conftest import RunLivecam as Run

from live_cam.bench import BenchSettings, recorded_demo, run_bench
from live_cam.cli.bench import parsed_size
from live_cam.errors import LiveCamError, SettingError
from live_cam.measuring import Timings, interleaved, timed
from live_cam.sources import open_source

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
KEYS = {
    "machine",
    "versions",
    "model",
    "engine",
    "threads",
    "size_wh",
    "forward_ms",
    "explain_ms",
    "end_to_end",
    "first_frame_seconds",
    "peak_rss_mb",
    "tensorflow_imported",
}


@pytest.fixture(scope="module")
def bare_too(warm_cache: None, run_livecam: Run) -> None:
    """The bare network is in the cache, too."""
    ended = run_livecam("bench", "--frames", "2", "--quiet", timeout=300)
    assert ended.returncode == 0, ended.stderr


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A benchmark script run to its end."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=600)


def test_percentiles_are_the_durations_that_so_many_stay_at_or_under():
    timings = Timings(rounds_ms=(tuple(range(1, 51)), tuple(range(51, 101))), cpu_ms=0.0)
    assert timings.summary_ms() == {"p50": 50, "p95": 95, "p99": 99}


def test_two_calls_of_ten_and_thirty_ms_are_fifty_a_second():
    assert Timings(((10.0,), (30.0,)), 0.0).fps == pytest.approx(50)


def test_ratios_compare_medians_round_by_round():
    slow, fast = Timings(((4.0, 6.0, 100.0), (8.0,)), 0.0), Timings(((2.0, 3.0, 4.0), (2.0,)), 0.0)
    assert slow.ratios_to(fast) == [2.0, 4.0]


def test_actions_take_turns_and_change_who_is_first():
    calls: list[tuple[str, int]] = []

    def action(name: str):
        def note(index: int) -> float:
            calls.append((name, index))
            # The first of a turn is not counted.
            return 0.001 if len(calls) > 1 and calls[-2][0] == name else 0.5

        return note

    timings = interleaved({"a": action("a"), "b": action("b")}, call_count=5, round_count=2)
    warm_up = 2 * 5
    assert [name for name, _ in calls[warm_up:]] == ["a"] * 4 + ["b"] * 4 + ["b"] * 3 + ["a"] * 3
    assert [index for name, index in calls[warm_up:] if name == "a"] == [0, 0, 1, 2, 3, 3, 4]
    # The calls of the warm-up are not among the figures.
    assert timings["a"].rounds_ms == ((1.0, 1.0, 1.0), (1.0, 1.0))


def test_cpu_of_a_busy_action_is_counted_and_that_of_a_sleeping_one_is_not():
    import time

    def busy(index: int) -> None:
        until_seconds = time.process_time() + 0.02
        while time.process_time() < until_seconds:
            pass

    timings = interleaved({"busy": timed(busy), "asleep": timed(lambda index: time.sleep(0.02))}, 5, 1)
    assert timings["busy"].cpu_ms >= 20
    assert timings["asleep"].cpu_ms < 10


def test_the_demo_is_recorded_at_the_asked_size_and_shows_the_demo(tmp_path: Path):
    with open_source(video=recorded_demo(tmp_path, (160, 120))) as recording, open_source() as demo:
        shown, expected = recording.read(), demo.read()
        assert recording.size_wh == (160, 120)
        assert recording.frame_count_estimate == demo.frame_count_estimate
    difference = cv2.absdiff(shown.image, cv2.resize(expected.image, (160, 120)))
    assert difference.mean() < 8  # H.264 loses a little


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"webcam": 0, "video": "a.mp4"}, "two sources"),
        ({"frame_count": 1}, "give 2 or more"),
        ({"size_wh": (0, 480)}, "16 to 8192"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(arguments: dict, message: str):
    with pytest.raises(SettingError, match=message):
        BenchSettings(**arguments)


def test_a_missing_video_is_a_users_error():
    with pytest.raises(LiveCamError, match=r"nowhere\.mp4"):
        run_bench(BenchSettings(video="nowhere.mp4"))


def test_a_size_is_width_by_height():
    assert parsed_size("640x480") == (640, 480)
    with pytest.raises(typer.BadParameter, match="640by480"):
        parsed_size("640by480")


@pytest.fixture(scope="module")
def bench_run(bare_too: None, run_livecam: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """What a warm run prints, and its JSON."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    ended = run_livecam("bench", "--frames", "12", "--size", "320x240", "--threads", "1", "--json", path)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads(path.read_text(encoding="utf-8"))


def test_the_json_has_the_promised_figures(bench_run: tuple[str, dict]):
    _, report = bench_run
    assert set(report) == KEYS
    assert set(report["end_to_end"]) == {"fps", "latency_ms", "stage_ms", "cpu_ms_per_frame"}
    for times_ms in (report["forward_ms"], report["explain_ms"], report["end_to_end"]["latency_ms"]):
        assert 0 < times_ms["p50"] <= times_ms["p95"] <= times_ms["p99"]
    assert (report["model"], report["engine"], report["threads"]) == ("efficientnet-lite0", "litert", 1)
    assert report["size_wh"] == [320, 240]
    assert {"capture", "preprocess", "explain", "render"} <= set(report["end_to_end"]["stage_ms"])


def test_a_warm_run_loads_no_tensorflow(bench_run: tuple[str, dict]):
    assert bench_run[1]["tensorflow_imported"] is False


def test_the_first_frame_is_counted_from_the_creation_of_the_process(bench_run: tuple[str, dict]):
    # Starting Python and loading OpenCV alone take longer than this.
    assert bench_run[1]["first_frame_seconds"] > 0.1


def test_the_table_says_what_the_json_says(bench_run: tuple[str, dict]):
    printed, report = bench_run
    rows = {line[:20].strip(): line[20:].split() for line in printed.splitlines()}
    assert rows["plain forward"][:3] == [f"{ms:.1f}" for ms in report["forward_ms"].values()]
    assert rows["forward + heatmap"][:3] == [f"{ms:.1f}" for ms in report["explain_ms"].values()]
    assert rows["end to end (latency)"][3] == f"{report['end_to_end']['fps']:.1f}"
    assert "320x240" in printed.splitlines()[0]


def test_an_existing_json_is_not_replaced_unasked(run_livecam: Run, tmp_path: Path):
    path = tmp_path / "bench.json"
    path.write_text("mine", encoding="utf-8")
    ended = run_livecam("bench", "--frames", "2", "--json", path)
    assert ended.returncode == 1
    assert "--overwrite" in ended.stderr
    assert path.read_text(encoding="utf-8") == "mine"


def test_two_sources_are_wrong_usage(run_livecam: Run):
    ended = run_livecam("bench", "--webcam", "0", "--video", "a.mp4")
    assert ended.returncode == 2
    assert "only one of" in ended.stderr


def test_a_video_is_measured_at_its_own_size_and_played_again_where_it_is_short(
    bare_too: None, run_livecam: Run, tmp_path: Path
):
    video = recorded_demo(tmp_path, (176, 144))
    path = tmp_path / "bench.json"
    # The demo has 250 frames.
    ended = run_livecam("bench", "--video", video, "--frames", "260", "--json", path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(path.read_text(encoding="utf-8"))["size_wh"] == [176, 144]


def test_results_keep_the_sections_of_other_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from measuring import write_section

    path = tmp_path / "RESULTS.md"
    write_section("a", "one", path)
    write_section("b", "two", path)
    write_section("a", r"new \1", path)
    assert path.read_text(encoding="utf-8").split("\n\n", 2)[2] == (
        "<!-- a -->\nnew \\1\n<!-- end of a -->\n\n<!-- b -->\ntwo\n<!-- end of b -->\n"
    )


def test_a_numbered_picture_keeps_its_number_through_jpeg(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from camera import number_of, numbered

    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", numbered(picture, 40321))[1]
    assert number_of(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) == 40321


@pytest.mark.parametrize("part", ["start", "file-to-file", "end-to-end", "camera", "drawing"])
def test_each_part_of_the_pipeline_benchmark_runs(bare_too: None, part: str):
    ended = script(BENCHMARKS / "pipeline.py", part, "--rounds", "1", "--frames", "45", "--no-write")
    assert ended.returncode == 0, ended.stderr
    assert "| figure | measured | goal | detail |" in ended.stdout


def test_the_soak_benchmark_runs(bare_too: None):
    arguments = ("--frames", "40", "--tensorflow-frames", "0", "--no-write")
    ended = script(BENCHMARKS / "soak.py", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "| LiteRT | 40," in ended.stdout


def test_peers_that_are_not_there_are_named_as_such(bare_too: None, tmp_path: Path):
    arguments = ("--folder", tmp_path, "--rounds", "1", "--frames-per-round", "1", "--no-install", "--no-write")
    ended = script(BENCHMARKS / "compare.py", *arguments, "--only", "xplique", "torchcam")
    assert ended.returncode == 0, ended.stderr
    rows = [line for line in ended.stdout.splitlines() if line.startswith("| ")]
    assert sum("livecam, LiteRT" in row for row in rows) == 2
    assert [row.split(" | ")[-1] for row in rows if "xplique" in row or "torchcam" in row] == ["not installed |"] * 2
