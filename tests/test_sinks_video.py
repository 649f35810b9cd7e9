"""Written videos have the frames, times, rate and colors of their input, play while they grow, survive kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import SHARED_DATA, needs_shared_data
from media_clips import (
    decoded_by_ffmpeg,
    noise_image,
    number_of,
    numbered_image,
    packet_times,
    probe,
    result_of,
    write_clip,
)

from live_cam.errors import SinkError
from live_cam.sinks.video.encoder import h264_encoder_name
from live_cam.sinks.video.sink import VideoSink, saved_frame_count
from live_cam.sinks.video.timestamps import PresentationClock
from live_cam.sources.video import VideoSource


def write_video(path: Path, times_seconds, rate, size_wh=(64, 48), **options) -> VideoSink:
    with VideoSink(path, size_wh, rate, **options) as sink:
        for index, time_seconds in enumerate(times_seconds):
            sink.write(result_of(numbered_image(index, size_wh), index, time_seconds))
        sink.finish()
    return sink


def numbers_in(path: Path) -> list[int]:
    with VideoSource(path) as source:
        return [number_of(frame.image) for frame in iter(source.read, None)]


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25), Fraction(179, 6), Fraction(24000, 1001)])
def test_frame_count_and_rate_are_exact(tmp_path, rate):
    sink = write_video(tmp_path / "out.mp4", [float(n / rate) for n in range(75)], rate)
    stated = probe(sink.path)
    assert (stated["codec_name"], stated["pix_fmt"]) == ("h264", "yuv420p")
    assert (stated["width"], stated["height"]) == (64, 48)
    assert stated["nb_frames"] == stated["nb_read_packets"] == "75"
    assert Fraction(stated["r_frame_rate"]) == Fraction(stated["avg_frame_rate"]) == rate
    assert float(stated["start_time"]) == 0
    assert numbers_in(sink.path) == list(range(75))


@pytest.mark.parametrize("name", ["out.mp4", "out.m4v", "out.mov", "out.mkv"])
def test_each_container_keeps_rate_and_frames(tmp_path, name):
    sink = write_video(tmp_path / name, [n * 1001 / 30000 for n in range(40)], Fraction(30000, 1001))
    stated = probe(sink.path)
    assert (stated["r_frame_rate"], stated["nb_read_packets"]) == ("30000/1001", "40")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_times_rounded_to_milliseconds_become_exact_at_a_constant_rate(tmp_path):
    write_clip(tmp_path / "in.mkv", frame_count=60, rate=Fraction(30000, 1001))
    with VideoSource(tmp_path / "in.mkv") as source, VideoSink(tmp_path / "out.mp4", (64, 48), source.rate) as sink:
        for frame in iter(source.read, None):
            sink.write(result_of(frame.image, frame.index, frame.time_seconds))
        sink.finish()
    assert probe(sink.path)["r_frame_rate"] == "30000/1001"
    assert packet_times(sink.path) == pytest.approx([n * 1001 / 30000 for n in range(60)], abs=1e-6)


@pytest.mark.parametrize("rate", [Fraction(25), None])
@pytest.mark.parametrize("first_seconds", [0.0, 81234.567])
def test_uneven_times_are_kept_relative_to_the_first_frame(tmp_path, rate, first_seconds):
    times = [0, 0.04, 0.0813, 0.5, 0.517, 0.58, 1.7, 1.71, 2.9]
    sink = write_video(tmp_path / "out.mp4", [first_seconds + time for time in times], rate)
    assert packet_times(sink.path) == pytest.approx(times, abs=6e-4)


def test_times_that_do_not_increase_lose_no_frame(tmp_path):
    sink = write_video(tmp_path / "out.mp4", [0.0, 0.04, 0.04, 0.0, 0.2], Fraction(25))
    assert numbers_in(sink.path) == [0, 1, 2, 3, 4]
    assert np.diff(packet_times(sink.path)).min() > 0


def test_clock_counts_whole_frames_at_a_constant_rate():
    clock = PresentationClock(Fraction(30000, 1001))
    assert clock.time_base == Fraction(1, 30000)
    assert [clock.next_pts(n * 1001 / 30000)[0] for n in range(4)] == [0, 1001, 2002, 3003]


def test_clock_asks_for_a_keyframe_every_second():
    clock = PresentationClock(Fraction(25))
    assert [n for n in range(100) if clock.next_pts(n / 25)[1]] == [0, 25, 50, 75]


def test_odd_sizes_grow_by_a_copy_of_the_last_row_and_column(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (65, 49), Fraction(25)) as sink:
        assert sink.written_size_wh == (66, 50)
        assert sink.notices == ("H.264 needs even sides: out.mp4 is 66x50, the last row or column is repeated",)
        image = np.full((49, 65, 3), 60, np.uint8)
        image[:, -1] = image[-1, :] = 200
        sink.write(result_of(image))
        sink.finish()
    read = decoded_by_ffmpeg(sink.path, (66, 50))
    assert read[10, 60].max() < 80  # inside
    assert min(read[:, 65].min(), read[49, :].min()) > 180  # the added column and row are as bright as the last ones
    with VideoSink(tmp_path / "even.mp4", (64, 48), None) as sink:
        assert (sink.written_size_wh, sink.notices) == ((64, 48), ())


PATCHES_BGR = [(40, 60, 200), (60, 190, 50), (200, 70, 50), (120, 120, 120), (20, 200, 220), (255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize("size_wh", [(112, 64), (112, 720)])
def test_players_show_the_input_colors(tmp_path, size_wh):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for number, color in enumerate(PATCHES_BGR):
        image[:, number * 16 : number * 16 + 16] = color
    with VideoSink(tmp_path / "out.mp4", size_wh, Fraction(25)) as sink:
        sink.write(result_of(image))
        sink.finish()
    stated = probe(sink.path)
    assert (stated["color_range"], stated["color_space"]) == ("tv", "smpte170m")
    shown = decoded_by_ffmpeg(sink.path, size_wh)
    with VideoSource(sink.path) as source:
        read = source.read().image
    for number, color in enumerate(PATCHES_BGR):
        assert shown[30, number * 16 + 8].astype(int) == pytest.approx(color, abs=4)
        assert read[30, number * 16 + 8].astype(int) == pytest.approx(color, abs=4)


def test_texture_keeps_its_quality(tmp_path):
    photograph = cv2.GaussianBlur(noise_image(3), (0, 0), 3)
    with VideoSink(tmp_path / "out.mp4", (320, 240), Fraction(25)) as sink:
        for index in range(10):
            sink.write(result_of(np.roll(photograph, index, axis=1), index, index / 25))
        sink.finish()
    with VideoSource(sink.path) as source:
        frames = list(iter(source.read, None))
    assert min(cv2.PSNR(frame.image, np.roll(photograph, frame.index, axis=1)) for frame in frames) > 36


def test_write_neither_changes_nor_keeps_the_image(tmp_path):
    image = numbered_image(1)
    before = image.copy()
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(image))
        np.testing.assert_array_equal(image, before)
        image[:] = numbered_image(2)  # the caller may reuse the array
        sink.write(result_of(image, 1, 0.04))
        sink.finish()
    assert numbers_in(sink.path) == [1, 2]


def test_index_is_at_the_beginning(tmp_path):
    data = write_video(tmp_path / "out.mp4", [0, 0.04], Fraction(25)).path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


@pytest.mark.parametrize("rate", [Fraction(25), None])
def test_frame_of_another_size_is_letterboxed(tmp_path, rate):
    with VideoSink(tmp_path / "out.mp4", (64, 48), rate) as sink:
        for index, size_wh in enumerate([(64, 48), (128, 48), (16, 48)]):
            sink.write(result_of(np.full((size_wh[1], size_wh[0], 3), 200, np.uint8), index, index / 25))
        sink.finish()
    with VideoSource(sink.path) as source:
        same, wide, high = (frame.image for frame in iter(source.read, None))
    assert same.min() > 190
    assert wide[24, 32].min() > 190  # 64x24 in the middle
    assert max(wide[4, 32].max(), wide[44, 32].max()) < 10
    assert high[24, 32].min() > 190  # 16x48 in the middle
    assert max(high[24, 4].max(), high[24, 60].max()) < 10


@pytest.mark.parametrize("name", ["out.txt", "out.jpg", "out", "out.ogv"])
def test_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(SinkError, match=r"must end in \.mp4, \.m4v, \.mov, \.mkv"):
        VideoSink(tmp_path / name, (64, 48), Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_named_encoder_exists_and_writes_h264():
    codec = av.Codec(h264_encoder_name(), "w")
    assert (codec.id, codec.is_encoder) == (av.Codec("h264", "r").id, True)


def test_without_finish_a_playable_video_stays_under_the_partial_name(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        for index in range(40):
            sink.write(result_of(numbered_image(index), index, index / 25))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.mp4"]
    assert numbers_in(sink.partial_path) == list(range(40))


def test_without_a_frame_no_file_stays(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.finish()
    assert list(tmp_path.iterdir()) == []


WRITE_AND_WAIT = """
import sys, time
from fractions import Fraction
from media_clips import noise_image, result_of
from live_cam.sinks.video.sink import VideoSink
sink = VideoSink(sys.argv[1], (320, 240), Fraction(25))
for index in range(120):
    sink.write(result_of(noise_image(index), index, index / 25))
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_killed_process_loses_only_the_last_second(tmp_path, name):
    command = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path / name)]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    partial = tmp_path / f"out.partial{Path(name).suffix}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [partial.name, f"{partial.name}.lock"]
    assert int(probe(partial)["nb_read_packets"]) >= 75  # of 120: fragments of 25, and some frames wait in the encoder


WRITE_UNTIL_FULL = """
import resource, signal, sys
from fractions import Fraction
from media_clips import noise_image, result_of
from live_cam.errors import SinkError
from live_cam.sinks.video.sink import VideoSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    with VideoSink(sys.argv[1], (320, 240), Fraction(25)) as sink:
        for index in range(400):
            sink.write(result_of(noise_image(index), index, index / 25))
        sink.finish()
except SinkError as error:
    print(error)
"""


def test_full_disk_is_reported_in_one_line_and_the_written_part_stays(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", WRITE_UNTIL_FULL, str(tmp_path / "out.mp4"), "2000000"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    partial = tmp_path / "out.partial.mp4"
    expected = f"cannot write {tmp_path / 'out.mp4'}: File too large; what was written stays in {partial}\n"
    assert (done.stdout, done.stderr) == (expected, "")
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    assert int(probe(partial)["nb_read_packets"]) >= 25


def test_disk_that_was_full_from_the_start_leaves_no_file(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", WRITE_UNTIL_FULL, str(tmp_path / "out.mp4"), "0"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {tmp_path / 'out.mp4'}: File too large\n"
    assert list(tmp_path.iterdir()) == []


FINISH_AND_DIE = """
import os, signal, sys
from fractions import Fraction
from media_clips import noise_image, result_of
from live_cam.sinks.video.sink import VideoSink
sink = VideoSink(sys.argv[1], (320, 240), Fraction(25), overwrite=True)
for index in range(30):
    sink.write(result_of(noise_image(index), index, index / 25))
steps_left = int(sys.argv[2])
def die_before_a_step(event, arguments):
    global steps_left
    if event in ("os.rename", "os.remove"):
        if steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps_left -= 1
sys.addaudithook(die_before_a_step)
sink.finish()
"""


def test_process_killed_at_any_step_of_finishing_leaves_a_complete_video(tmp_path):
    path, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    for step in range(10):
        path.write_text("before")
        command = [sys.executable, "-c", FINISH_AND_DIE, str(path), str(step)]
        done = subprocess.run(command, cwd=Path(__file__).parent, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        kept = {path.name, partial.name, "out.partial.finishing.mp4", "out.partial.mp4.lock"}
        assert {file.name for file in tmp_path.iterdir()} <= kept
        assert probe(partial if path.read_bytes() == b"before" else path)["nb_read_packets"] == "30"
    assert step >= 2  # the complete file gets the partial name, then the final one
    assert probe(path)["nb_read_packets"] == "30"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_resumed_video_counts_the_earlier_frames(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as killed:
        for index in range(60):
            killed.write(result_of(numbered_image(index), index, index / 25))
            if index == 49:
                state = killed.clock_state
    assert saved_frame_count(tmp_path / "out.mp4") == killed.frame_count == 60
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as resumed:
        resumed.resume_from(50, state)
        assert resumed.frame_count == 50
        for index in range(50, 70):
            resumed.write(result_of(numbered_image(index), index, index / 25))
        resumed.finish()
    assert resumed.frame_count == 70
    assert numbers_in(resumed.path) == list(range(70))
    assert packet_times(resumed.path) == pytest.approx([index / 25 for index in range(70)])
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_removed_folder_is_reported_in_one_line(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with VideoSink(folder / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(numbered_image(0)))
        shutil.rmtree(folder)
        with pytest.raises(SinkError, match=r"cannot write .*out.mp4: No such file or directory$"):
            sink.finish()


def test_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(numbered_image(0)))
        sink.path.write_text("another program's")
        with pytest.raises(
            SinkError, match=r"created by another program meanwhile; this output stays in .*out.partial.mp4"
        ):
            sink.finish()
    assert sink.path.read_text() == "another program's"
    assert numbers_in(sink.partial_path) == [0]


def test_overwrite_replaces_the_file_only_when_finished(tmp_path):
    (tmp_path / "out.mp4").write_text("before")
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25), overwrite=True) as sink:
        sink.write(result_of(numbered_image(7)))
        assert sink.path.read_text() == "before"
        sink.finish()
    assert numbers_in(sink.path) == [7]


def test_video_grows_while_frames_come(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (320, 240), None) as sink:
        begin = time.monotonic()
        for index in range(90):
            sink.write(result_of(noise_image(index), index, begin + index / 25))
        assert int(probe(sink.partial_path)["nb_read_packets"]) >= 50


@needs_shared_data
def test_a_real_video_keeps_count_and_rate(tmp_path):
    path = SHARED_DATA / "videos" / "bottle-detection.mp4"
    with VideoSource(path) as source, VideoSink(tmp_path / "out.mp4", source.size_wh, source.rate) as sink:
        for frame in iter(source.read, None):
            sink.write(result_of(frame.image, frame.index, frame.time_seconds))
        sink.finish()
    stated, before = probe(sink.path), probe(path)
    assert stated["nb_frames"] == before["nb_frames"] == "1189"
    assert stated["r_frame_rate"] == before["r_frame_rate"] == "179/6"
    assert float(stated["duration"]) == pytest.approx(float(before["duration"]), abs=1e-3)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells how threads are scheduled")
def test_an_encoder_has_no_real_time_priority(tmp_path: Path):
    # SVT-AV1 takes it if root lets it, also for the thread that opened it.
    with VideoSink(tmp_path / "a.webm", (64, 48), Fraction(25), codec="av1") as sink:
        sink.write(result_of(numbered_image(0), 0))
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
