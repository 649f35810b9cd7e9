"""``livecam search`` as a user runs it, and summaries beside a brute-force evaluation."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
import typer
from archive_index import LABELS, Row, write_index, write_states
from conftest import RunLivecam
from hypothesis import given, settings
from hypothesis import strategies as st
from media_clips import write_clip
from test_search import rows_of_a_video

from live_cam.archive.search import Index
from live_cam.archive.summary import summarize
from live_cam.cli import options
from live_cam.cli.search import clock, columns
from live_cam.sources.address import fingerprint

ZEBRA = [Row(0.0, {0: 0.75}), Row(0.5, {0: 0.875}), Row(3.0, {0: 0.625}, centroid=None)]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_index(
        tmp_path / "index", {str(tmp_path / "zoo" / "a.mp4"): ZEBRA, "/elsewhere/b\x1b[2J.mp4": ZEBRA[:1]}
    )


def test_a_table_shows_the_best_intervals(run_livecam: RunLivecam, index: Path, tmp_path: Path):
    done = run_livecam("search", "index", "zebra > 0.5", "--gap", "0.5s", "--top", 2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "score  class  video                 from    to      best at  evidence at",
        "0.875  zebra  zoo/a.mp4             0:00.0  0:01.0  0:00.5   0.25, 0.75",
        "0.750  zebra  /elsewhere/b?[2J.mp4  0:00.0  0:00.5  0:00.0   0.25, 0.75",
        "",
        "the best 2 of 3 intervals in 2 videos",
    ]


def test_json_has_everything(run_livecam: RunLivecam, index: Path, tmp_path: Path):
    done = run_livecam("search", index, "zebra > 0.5", "--for", "0:01", "--json")
    assert json.loads(done.stdout) == {
        "condition": "zebra > 0.5",
        "videos_searched": 2,
        "hits": [
            {
                "video": str(tmp_path / "zoo" / "a.mp4"), "from_seconds": 0.0, "to_seconds": 1.0, "label": "zebra",
                "peak": 0.875, "peak_seconds": 0.5, "centroid_xy": [0.25, 0.75],
            }
        ],
        "count": 1,
    }  # fmt: skip


def test_nothing_found_is_no_error(run_livecam: RunLivecam, index: Path):
    done = run_livecam("search", index, "zebra > 0.9")
    assert (done.returncode, done.stdout) == (0, "nothing found in 2 videos\n")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["zebrra > 0.5"], 1, "livecam: unknown class 'zebrra'; did you mean zebra?"),
        (["zebra"], 1, "livecam: cannot read the condition: expected"),
        ([], 2, "give a condition"),
        (["zebra > 0.5", "--for", "soon"], 2, "'soon' is no duration; give seconds, 0.5s, 2m, 1h or 1:30"),
        (["zebra > 0.5", "--summary", "--clips", "x"], 2, "a summary has none; leave them out"),
        (["--summary", "--for", "2s"], 2, "--for and --gap are about intervals, and a summary has none"),
        (["--summary", "--gap", "2s"], 2, "--for and --gap are about intervals, and a summary has none"),
        (["zebra > 0.5", "--html", "no/page.html"], 1, "livecam: cannot write no/page.html: there is no directory no"),
    ],
)
def test_errors_are_one_line(run_livecam: RunLivecam, index: Path, arguments: list[str], code: int, line: str):
    done = run_livecam("search", index, *arguments, cwd=index.parent, env={"COLUMNS": "200"})
    assert done.returncode == code
    assert line in done.stderr
    assert code == 2 or len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_no_index_is_one_line(run_livecam: RunLivecam, tmp_path: Path):
    done = run_livecam("search", tmp_path, "zebra > 0.5")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"livecam: {tmp_path} is no index: it has no index.json; make one with livecam archive\n"


def test_a_missing_package_is_one_line(run_livecam: RunLivecam, index: Path, tmp_path: Path):
    for package in ("duckdb", "pyarrow"):
        (tmp_path / "missing").mkdir(exist_ok=True)
        # As if it were not installed.
        (tmp_path / "missing" / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
        path = ":".join([str(tmp_path / "missing"), *filter(None, sys.path)])
        done = run_livecam("search", index, "zebra > 0.5", env={"PYTHONPATH": path})
        assert done.returncode == 1
        assert f'needs the package {package}: pip install ".[archive]"' in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_clips_of_videos_that_are_there_are_cut(run_livecam: RunLivecam, tmp_path: Path):
    (tmp_path / "zoo").mkdir()
    video = write_clip(tmp_path / "zoo" / "a.mp4", 100)
    digests = {str(video): fingerprint(video), "/gone.mp4": "0"}
    index = write_index(tmp_path / "index", {str(video): ZEBRA, "/gone.mp4": ZEBRA[:1]}, digests=digests)
    done = run_livecam("search", index, "zebra > 0.5", "--clips", tmp_path / "clips")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["livecam: no such file: /gone.mp4", "livecam: 1 of 3 clips could not be cut"]
    assert {path.name for path in (tmp_path / "clips").iterdir()} == {"a-0s.mp4", "a-3s.mp4"}
    done = run_livecam("search", index, "zebra > 0.5", "--top", 1, "--clips", tmp_path / "clips")
    assert "a-0s.mp4 exists; give another name, or replace it with --overwrite" in done.stderr
    done = run_livecam("search", index, "zebra > 0.5", "--top", 1, "--clips", tmp_path / "clips", "--overwrite")
    assert (done.returncode, done.stderr) == (0, "")


def test_no_clip_is_cut_from_a_video_that_has_changed(run_livecam: RunLivecam, tmp_path: Path):
    video = write_clip(tmp_path / "a.mp4", 100)
    index = write_index(tmp_path / "index", {str(video): ZEBRA[:1]}, digests={str(video): fingerprint(video)})
    write_clip(video, 90)
    done = run_livecam("search", index, "zebra > 0.5", "--clips", tmp_path / "clips")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"livecam: {video} changed since it was indexed; run livecam archive again",
        "livecam: 1 of 1 clip could not be cut",
    ]
    assert not list((tmp_path / "clips").iterdir())


def test_no_hits_make_no_folder_of_clips(run_livecam: RunLivecam, index: Path, tmp_path: Path):
    done = run_livecam("search", index, "zebra > 0.95", "--clips", tmp_path / "clips")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "clips").exists()


def test_a_summary_lists_classes_videos_and_moments(run_livecam: RunLivecam, index: Path, tmp_path: Path):
    done = run_livecam("search", "index", "--summary", "--html", "page.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "class  time    share    videos",
        "zebra  0:02.0  100.0 %  2",
        "",
        "video                 time    classes",
        "zoo/a.mp4             0:01.5  zebra 0:01.5",
        "/elsewhere/b?[2J.mp4  0:00.5  zebra 0:00.5",
        "",
        "least certain: lowest top probability, at most one per 10 s",
        "score  video                 at      class",
        "0.625  zoo/a.mp4             0:03.0  zebra",
        "0.750  /elsewhere/b?[2J.mp4  0:00.0  zebra",
        "",
        "1 class in 2 videos, 0:02.0 in total",
    ]
    assert (tmp_path / "page.html").is_file()
    done = run_livecam("search", index, "zebra > 0.7", "--summary", "--json")
    summary = json.loads(done.stdout)
    assert summary["seconds"] == 1.5
    assert summary["classes"] == [{"label": "zebra", "seconds": 1.5, "video_count": 2}]
    assert [moment["probability"] for moment in summary["least_certain"]] == [0.75, 0.75]


def test_a_summary_counts_what_it_leaves_out(run_livecam: RunLivecam, tmp_path: Path):
    videos = {f"/{number}.mp4": [Row(0.0, {number: 0.9})] for number in range(3)}
    done = run_livecam("search", write_index(tmp_path, videos), "--summary", "--top", 1)
    assert done.stdout.splitlines()[-1] == "3 classes (2 left out) in 3 videos (2 left out), 0:01.5 in total"


def test_an_unfinished_index_is_reported_beside_the_result(run_livecam: RunLivecam, index: Path):
    write_states(index, "done", "pending", "failed")
    done = run_livecam("search", index, "zebra > 0.5", "--json")
    assert (done.returncode, json.loads(done.stdout)["count"]) == (0, 3)
    assert done.stderr == "livecam: 1 of 3 videos is not explained yet, 1 failed; run livecam archive again\n"


@settings(max_examples=50, deadline=None)
@given(st.lists(rows_of_a_video(), min_size=1, max_size=3), st.integers(1, 4))
def test_a_summary_counts_what_brute_force_counts(tables: list[list[Row]], top: int):
    videos = {f"/videos/{number}.mp4": rows for number, rows in enumerate(tables)}
    by_class: dict[str, float] = defaultdict(float)
    for row in (row for rows in tables for row in rows):
        by_class[LABELS[next(iter(row.scores))]] += row.duration
    with tempfile.TemporaryDirectory() as folder, Index(write_index(Path(folder), videos)) as index:
        summary = summarize(index, None, top)
    assert {time.label: time.seconds for time in summary.classes} == dict(by_class)
    assert {time.video: time.seconds for time in summary.videos} == {
        video: sum(row.duration for row in rows) for video, rows in videos.items() if rows
    }
    assert summary.seconds == sum(by_class.values())
    firsts = [next(iter(row.scores.values())) for rows in tables for row in rows]
    moments = summary.least_certain
    assert len(moments) <= top
    assert [moment.probability for moment in moments[:1]] == pytest.approx(sorted(firsts)[:1])
    for moment in moments:
        others = [other for other in moments if other.video == moment.video and other is not moment]
        assert all(abs(other.time_seconds - moment.time_seconds) >= 10 for other in others)


def test_numbers_of_a_regression_have_no_least_certain_moment(tmp_path: Path):
    folder = write_index(tmp_path, {"/a.mp4": [Row(0.0, {0: 3.0})]}, score="value")
    with Index(folder) as index:
        assert summarize(index, None, 5).least_certain == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("0.5s", 0.5), ("2m", 120), ("1h", 3600), ("1:30", 90), (" 1s ", 1), ("0", 0)]
)
def test_durations(text: str, seconds: float):
    assert options.duration_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1x", "-1s", "1:30m", "1 s s"])
def test_other_texts_are_no_durations(text: str):
    with pytest.raises(typer.BadParameter, match="is no duration; give seconds, 0.5s, 2m, 1h or 1:30"):
        options.duration_of(text)


def test_times_and_columns():
    assert [clock(seconds) for seconds in (0, 59.96, 61.04, 3723.4)] == ["0:00.0", "1:00.0", "1:01.0", "1:02:03.4"]
    assert columns([("a", "bb"), ("ccc", "\n")]) == "a    bb\nccc  ?"
