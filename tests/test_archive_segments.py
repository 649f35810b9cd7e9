"""Segments of videos of many formats: together, they have the frames, numbers and times of a run over the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import assert_same_rows, ignore, rows_of_sidecar, single_run, standin_index, standin_merge, table
from media_clips import write_clip
from recordings import ffmpeg
from standin import StandIn

from live_cam.archive.dataset import Dataset, file_name_of
from live_cam.archive.scenes import SceneCollector
from live_cam.archive.segment import Segment, explain_segment
from live_cam.archive.tasks import ProbeTask
from live_cam.frame import Explanation, Frame, Prediction
from live_cam.sources.address import fingerprint

# Six seconds at ten frames a second; the pattern changes from frame to frame.
PATTERN = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=6,format=yuv420p")
TONE = ("-f", "lavfi", "-i", "sine=d=6")
FORMATS = {
    "reordered.mp4": ("-c:v", "libx264", "-bf", "3", "-g", "17"),
    "stream.ts": ("-c:v", "libx264", "-bf", "2", "-g", "13"),
    "reordered.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "11"),
    "raw.264": ("-c:v", "libx264", "-g", "13"),
}
FURTHER_FORMATS = {
    "open-gop.mkv": ("-c:v", "libx264", "-bf", "3", "-g", "17", "-x264-params", "open-gop=1"),
    "fragments.mp4": ("-c:v", "libx264", "-g", "10", "-movflags", "+frag_keyframe+empty_moov"),
    "one-keyframe.mp4": ("-c:v", "libx264", "-bf", "2", "-g", "999"),
    "old.mpg": ("-r", "25", "-c:v", "mpeg2video", "-bf", "2", "-g", "12"),
    "interlaced.mpg": ("-r", "25", "-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-g", "12"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-g", "11"),
    "motion.mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "web.webm": ("-c:v", "libvpx", "-g", "15"),
    "flash.flv": ("-c:v", "flv1", "-g", "9"),
    "animation.gif": (),
    "raw.y4m": (),
}


@pytest.mark.parametrize("name", [*FORMATS, *(pytest.param(name, marks=pytest.mark.slow) for name in FURTHER_FORMATS)])
def test_segments_have_the_rows_of_a_single_run(tmp_path: Path, name: str):
    sound = TONE if name in ("reordered.mp4", "stream.ts", "mpeg4.avi") else ()
    ffmpeg(*PATTERN, *sound, *{**FORMATS, **FURTHER_FORMATS}[name], tmp_path / name)
    rows = rows_of_sidecar(single_run(tmp_path / name, tmp_path, StandIn()))
    assert len(rows) >= 60
    for segment_seconds in (1.5, 0.7):
        row, frames = standin_index(tmp_path / name, tmp_path / "index", segment_seconds)
        assert (row["state"], row["frame_count"], row["row_count"]) == ("done", len(rows), len(rows))
        assert_same_rows(frames, rows)


# Milliseconds; no frame for 1.9 seconds, so that one segment is empty.
UNEVEN_MS = [0, 40, 90, 300, 310, 700, 1000, 1001, 1500, 3400, 3440, 3900, 4000, 4500]


def test_frames_at_uneven_times_keep_their_times_and_stand_until_the_next_one(tmp_path: Path):
    clip = write_clip(tmp_path / "uneven.mkv", len(UNEVEN_MS), pts=UNEVEN_MS)
    _, frames = standin_index(clip, tmp_path / "index", segment_seconds=1.0)
    seconds = [ms / 1000 for ms in UNEVEN_MS]
    assert frames["index"].to_pylist() == list(range(len(seconds)))
    assert frames["time_seconds"].to_pylist() == pytest.approx(seconds)
    assert frames["duration_seconds"].to_pylist()[:-1] == pytest.approx(np.diff(seconds), abs=1e-6)


@pytest.mark.parametrize("segment_seconds", [1.0, 3.0, 60.0])
def test_one_frame_is_explained_in_each_slot_of_time(tmp_path: Path, segment_seconds: float):
    clip = write_clip(tmp_path / "uneven.mkv", len(UNEVEN_MS), pts=UNEVEN_MS)
    row, frames = standin_index(clip, tmp_path / "index", segment_seconds, every_seconds=0.5)
    # The first frame at or behind 0, 0.5, 1, 1.5, 3 (which is 3.4), 3.5, 4 and 4.5 seconds.
    assert frames["time_seconds"].to_pylist() == pytest.approx([0, 0.7, 1, 1.5, 3.4, 3.9, 4, 4.5])
    assert frames["index"].to_pylist() == [0, 5, 6, 8, 9, 11, 12, 13]
    assert (row["frame_count"], row["row_count"]) == (14, 8)
    assert sum(frames["duration_seconds"].to_pylist()[:-1]) == pytest.approx(4.5)


def test_maps_are_those_of_a_single_run(tmp_path: Path):
    ffmpeg(*PATTERN, "-c:v", "libx264", "-g", "17", tmp_path / "clip.mp4")
    single_run(tmp_path / "clip.mp4", tmp_path, StandIn(), heatmaps="maps.npz")
    standin_index(tmp_path / "clip.mp4", tmp_path / "index", segment_seconds=1.5)
    maps = table(tmp_path / "index", "maps", tmp_path / "clip.mp4").to_pylist()
    recorded = np.load(tmp_path / "maps.npz")
    assert [row["index"] for row in maps] == list(range(60))
    for row, expected, peak in zip(maps, recorded["maps"], recorded["peaks"], strict=True):
        assert (row["map_height"], row["map_width"]) == expected.shape
        np.testing.assert_array_equal(np.array(row["map"], np.float16), expected.ravel())
        assert row["peak"] == peak


def test_all_scenes_together_last_as_long_as_the_video(tmp_path: Path):
    ffmpeg(*PATTERN, "-c:v", "libx264", "-g", "17", tmp_path / "clip.mp4")
    standin_index(tmp_path / "clip.mp4", tmp_path / "index", segment_seconds=2.0)
    scenes = table(tmp_path / "index", "scenes", tmp_path / "clip.mp4").to_pylist()
    ends = [scene["to_seconds"] for scene in scenes]
    assert [scene["from_seconds"] for scene in scenes] == [0, *ends[:-1]]
    assert ends[-1] == pytest.approx(6)
    assert all(scene["from_seconds"] <= scene["time_seconds"] < scene["to_seconds"] for scene in scenes)


def test_a_scene_without_a_cut_ends_after_half_a_minute():
    collector = SceneCollector()
    prediction = Prediction(0, "zero", 0.5, 0.5)
    explanation = Explanation((prediction,), prediction, np.ones((7, 7), np.float32))
    image = np.full((48, 64, 3), 90, np.uint8)
    for second in range(71):
        collector.add(Frame(image, second, float(second)), explanation, image[np.newaxis])
    assert [scene.from_seconds for scene in collector.scenes] == [0, 30, 60]


def test_frames_before_a_segment_show_that_its_worker_does_not_hang(tmp_path: Path):
    ffmpeg(*PATTERN, *FURTHER_FORMATS["one-keyframe.mp4"], tmp_path / "clip.mp4")
    seconds: list[float] = []
    segment = segment_of(tmp_path / "clip.mp4", 4.0, 5.0)
    result = explain_segment(segment, Dataset(tmp_path / "index"), StandIn(), "probability", seconds.append)
    assert (result.frame_count, result.error) == (10, None)
    # Forty frames before it, ten of its own, and the one that tells its end.
    assert seconds == pytest.approx([*[0.0] * 40, *(number / 10 for number in range(11))], abs=1e-6)


def test_a_video_that_changes_while_it_is_explained_is_not_done(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", 5)
    segment = segment_of(clip, 0.0, 9.0)
    write_clip(clip, 6)
    result = explain_segment(segment, Dataset(tmp_path / "index"), StandIn(), "probability", ignore)
    assert result.error == f"{clip} changed while it was explained; run livecam archive again"


def test_tables_that_are_merged_once_more_are_the_same(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", 30)
    task, worker = standin_merge(clip, tmp_path / "index", 0.5)
    row = task.run(worker, ignore)
    frames = table(tmp_path / "index", "frames", clip)
    # Its worker may die before the row arrives: by then, the segments are gone.
    assert not worker.dataset.segments(task.file_name).exists()
    assert task.run(worker, ignore) == row
    assert table(tmp_path / "index", "frames", clip) == frames


def test_segments_that_a_killed_worker_left_beside_a_finished_video_are_removed(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", 30)
    task, worker = standin_merge(clip, tmp_path / "index", 0.5)
    row = task.run(worker, ignore)
    left = worker.dataset.segments(task.file_name)
    left.mkdir(parents=True)
    assert ProbeTask(str(clip), task.file_name).run(worker, ignore).finished == row
    assert not left.exists()


def segment_of(clip: Path, start_seconds: float, end_seconds: float) -> Segment:
    number = 1 if start_seconds else 0
    name = file_name_of(str(clip))
    return Segment(str(clip), name, fingerprint(clip), number, start_seconds, end_seconds, None, None, False)
