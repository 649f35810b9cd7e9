"""An index holds what single runs over its videos say, whatever divides the work, and grows with the videos."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from archives import archive, assert_same_rows, rows_of_sidecar, single_run, table, tables_of, videos_in
from conftest import RunLivecam
from recordings import assert_same, ffmpeg

from live_cam.archive.dataset import frame_schema
from live_cam.explain.explainer import Explainer
from live_cam.explain.load import build_explainer
from live_cam.settings import ExplainerSettings

NAMES = ("two scenes.mp4", "joined ü.ts", "line\nbreak.webm", "raw.264")
PATTERN = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=5:d=3,format=yuv420p")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, photograph_path: Path) -> dict[str, Path]:
    """A film of two photographs with a tone, and a few formats that are read in different ways."""
    folder = tmp_path_factory.mktemp("archive") / "my videos"
    (folder / "sub").mkdir(parents=True)
    paths = {name: folder / ("sub" if name.endswith("ts") else "") / name for name in NAMES}
    pictures = [photograph_path, photograph_path.with_name("coffee.png")]
    shown = [argument for picture in pictures for argument in ("-loop", 1, "-r", 5, "-t", 3, "-i", picture)]
    fitted = "[0]scale=160:120,setsar=1[a];[1]scale=160:120,setsar=1[b];[a][b]concat=n=2,format=yuv420p"
    ffmpeg(*shown, "-f", "lavfi", "-i", "sine=d=6", "-filter_complex", fitted, "-map", "2:a", paths[NAMES[0]])
    ffmpeg(*PATTERN, "-c:v", "libx264", "-g", 7, folder / "half.ts")
    paths[NAMES[1]].write_bytes((folder / "half.ts").read_bytes() * 2)
    (folder / "half.ts").unlink()
    ffmpeg(*PATTERN, "-c:v", "libvpx", paths[NAMES[2]])
    ffmpeg(*PATTERN, "-c:v", "libx264", "-g", 7, paths[NAMES[3]])
    return paths


@pytest.fixture(scope="session")
def index(videos: dict[str, Path], warm_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of these videos with all maps, by two workers, in segments of one and a half seconds."""
    folder = tmp_path_factory.mktemp("index") / "INDEX"
    lines: list[str] = []
    words = [videos[NAMES[0]].parent, videos["raw.264"]]
    outcome = archive(folder, *words, lines=lines, maps=True, segment_minutes=0.025, workers=2)
    assert (outcome.done, outcome.failures, outcome.was_interrupted, lines) == (4, (), False, [])
    assert outcome.row_count == 30 + 30 + 15 + 15
    return folder


@pytest.fixture(scope="session")
def explainer(warm_cache: None) -> Explainer:
    return build_explainer(ExplainerSettings(threads=1, top_k=5))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_a_single_run(
    name: str, index: Path, videos: dict[str, Path], explainer: Explainer, tmp_path: Path
):
    rows = rows_of_sidecar(single_run(videos[name], tmp_path, explainer))
    assert_same_rows(table(index, "frames", videos[name]), rows)


def test_rows_are_those_of_the_command_line(
    index: Path, videos: dict[str, Path], run_livecam: RunLivecam, tmp_path: Path
):
    options = ("--smooth", 0, "--threads", 1, "--top-k", 5, "--sidecar", tmp_path / "rows.csv")
    done = run_livecam(videos["two scenes.mp4"], *options, "--no-show")
    assert done.returncode == 0, done.stderr
    assert_same_rows(table(index, "frames", videos["two scenes.mp4"]), rows_of_sidecar(tmp_path / "rows.csv"))


def test_maps_are_those_of_a_single_run(index: Path, videos: dict[str, Path], explainer: Explainer, tmp_path: Path):
    video = videos["two scenes.mp4"]
    single_run(video, tmp_path, explainer, heatmaps="maps.npz")
    recorded = np.load(tmp_path / "maps.npz")
    maps = table(index, "maps", video).to_pylist()
    assert [row["index"] for row in maps] == recorded["frame_indexes"].tolist()
    for row, expected, peak in zip(maps, recorded["maps"], recorded["peaks"], strict=True):
        assert (row["map_height"], row["map_width"]) == expected.shape
        np.testing.assert_array_equal(np.array(row["map"], np.float16), expected.ravel())
        assert row["peak"] == peak


def test_one_worker_makes_the_same_tables(index: Path, videos: dict[str, Path], tmp_path: Path):
    words = [videos[NAMES[0]].parent, videos["raw.264"]]
    archive(tmp_path / "INDEX", *words, maps=True, segment_minutes=0.025, workers=1)
    assert tables_of(tmp_path / "INDEX") == tables_of(index)


def test_an_index_holds_its_files_and_nothing_else(index: Path):
    files = {path.relative_to(index).parts[0] for path in index.rglob("*") if path.is_file()}
    assert files == {"README.md", "index.json", "videos.parquet", "frames", "scenes", "maps"}
    assert len(list(index.glob("frames/*"))) == 4
    info = json.loads((index / "index.json").read_text(encoding="utf-8"))
    assert (info["model"], info["method"], len(info["labels"])) == ("efficientnet-lite0", "grad-cam", 1000)


def test_the_table_of_videos_says_what_each_one_is(index: Path, videos: dict[str, Path]):
    rows = videos_in(index)
    assert set(rows) == set(NAMES)
    for name, row in rows.items():
        count = 30 if name in NAMES[:2] else 15
        assert (row["state"], row["error"], row["video"]) == ("done", None, str(videos[name]))
        assert (row["frame_count"], row["row_count"]) == (count, count)
        assert row["size_bytes"] == videos[name].stat().st_size
        assert (row["width"], row["height"]) == ((160, 120) if name == NAMES[0] else (96, 64))
        assert (index / "frames" / f"{row['file_name']}.parquet").is_file()
    assert rows["raw.264"]["duration_seconds"] is None  # it says nothing about its end, and is one segment
    assert rows["two scenes.mp4"]["duration_seconds"] == pytest.approx(6, abs=0.1)


def test_frames_have_the_columns_that_are_promised(index: Path):
    for path in index.glob("frames/*.parquet"):
        schema = pq.read_schema(path)
        assert schema.remove_metadata() == frame_schema("probability")
        assert schema.names[:7] == [
            "video", "index", "time_seconds", "duration_seconds", "explained_index", "explained_label",
            "explained_probability",
        ]  # fmt: skip


def test_pandas_polars_and_duckdb_read_the_same_rows(index: Path, videos: dict[str, Path]):
    with_pandas = pd.read_parquet(index / "frames").sort_values(["video", "index"])
    with_polars = pl.read_parquet(index / "frames/*.parquet").sort("video", "index")
    with_duckdb = duckdb.sql(f"SELECT * FROM '{index}/frames/*.parquet' ORDER BY video, index").fetchall()
    assert len(with_pandas) == len(with_polars) == len(with_duckdb) == 90
    for column in ("time_seconds", "explained_index", "probability_1", "peak"):
        position = with_polars.columns.index(column)
        values = [row[position] for row in sorted(with_duckdb)]
        assert sorted(with_pandas[column]) == sorted(with_polars[column]) == sorted(values)
    assert set(with_pandas["video"]) == set(with_polars["video"]) == {str(path) for path in videos.values()}


def test_the_python_of_the_readme_in_the_index_works(index: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(index)
    (code,) = re.findall(r"```python\n(.*?)```", (index / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(code, names)  # noqa: S102
    assert len(names["frames"]) == 90
    assert names["certain"].filter(pl.col("probability_1") <= 0.9).is_empty()
    label, seconds = names["seconds"].fetchall()[0]
    assert label in set(names["frames"]["explained_label"])
    assert 0 < seconds < 15


def test_the_readme_names_all_columns(index: Path):
    text = (index / "README.md").read_text(encoding="utf-8")
    for path in index.rglob("*.parquet"):
        for name in pq.read_schema(path).names:
            assert f"`{name}`" in text or re.fullmatch(r"(class_index|label|probability)_[2-5]", name), name
    assert "{{" not in text


def test_an_index_by_the_command_line(
    videos: dict[str, Path], explainer: Explainer, warm_cache: None, run_livecam: RunLivecam, tmp_path: Path
):
    """One run with a target, an annotated video, progress for programs, and the whole video as one segment."""
    video, folder = videos["two scenes.mp4"], tmp_path / "INDEX"
    options = ("--target", "tabby", "--annotate", "--json-progress", "--workers", 1)
    done = run_livecam("archive", video, "--output", folder, *options)
    assert done.returncode == 0, done.stderr
    summary = r"1 video explained; 30 rows, [\d.]+ h of video per hour\n"
    assert re.fullmatch(re.escape(f"{folder}: ") + summary, done.stderr), done.stderr
    progress = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(before["videos_done"] <= after["videos_done"] for before, after in pairwise(progress))
    assert progress[0]["videos_total"] == 1
    last = progress[-1]
    assert (last["videos_done"], last["segments_done"], last["segments_total"], last["failed"]) == (1, 1, 1, 0)
    assert last["media_seconds_done"] == pytest.approx(6, abs=0.1)
    # The rows are those of a single run with this target, and the scenes are the two photographs.
    rows = rows_of_sidecar(single_run(video, tmp_path, explainer, target="tabby"))
    frames = table(folder, "frames", video)
    assert set(frames["explained_label"].to_pylist()) == {"tabby"}
    assert_same_rows(frames, rows)
    assert_photographs(table(folder, "scenes", video).to_pylist(), video)
    # The annotated video is the one that the same options make without an archive.
    single = run_livecam(video, "--output", tmp_path / "single.mp4", "--target", "tabby")
    assert single.returncode == 0, single.stderr
    (annotated,) = (folder / "annotated").iterdir()
    assert_same(annotated, tmp_path / "single.mp4")


def assert_photographs(scenes: list[dict], video: Path) -> None:
    """There are two scenes, and their thumbnails look like the video's frames with a little heat."""
    assert [(scene["from_seconds"], scene["to_seconds"]) for scene in scenes] == [(0, 3), (3, pytest.approx(6))]
    capture = cv2.VideoCapture(str(video))
    for scene in scenes:
        capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * scene["time_seconds"])
        frame = capture.read()[1]
        assert scene["jpeg"][:2] == b"\xff\xd8"  # start of image
        thumbnail = cv2.imdecode(np.frombuffer(scene["jpeg"], np.uint8), cv2.IMREAD_COLOR)
        assert thumbnail.shape == frame.shape
        likeness = np.corrcoef(cv2.cvtColor(thumbnail, cv2.COLOR_BGR2GRAY).ravel(), frame.mean(2).ravel())[0, 1]
        assert likeness > 0.5
        assert not np.allclose(thumbnail, frame, atol=40)


@pytest.mark.slow
def test_a_model_that_returns_numbers_has_values_in_place_of_probabilities(videos: dict[str, Path], tmp_path: Path):
    import keras
    from any_networks import HEADS, functional

    keras.utils.set_random_seed(3)
    functional(HEADS["regression"]()).save(tmp_path / "age.keras")
    settings = ExplainerSettings(model=str(tmp_path / "age.keras"))
    video = videos["line\nbreak.webm"]
    archive(tmp_path / "INDEX", video, explainer=settings, workers=1, segment_minutes=0.025)
    frames = table(tmp_path / "INDEX", "frames", video)
    assert frames.schema.remove_metadata() == frame_schema("value")
    one_threaded = build_explainer(replace(settings, threads=1, top_k=5))
    assert_same_rows(frames, rows_of_sidecar(single_run(video, tmp_path, one_threaded)))
    assert frames["value_2"].null_count == 15  # there is one number
    assert "`explained_value`" in (tmp_path / "INDEX" / "README.md").read_text(encoding="utf-8")
