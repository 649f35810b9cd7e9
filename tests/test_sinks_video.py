"""Written videos have the frames, times, rate and colours that went in, play while they grow, and survive failures."""

from __future__ import annotations

import re
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
from media_clips import (
    SHARED_VIDEOS,
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
from live_cam.sinks.clock import PresentationClock
from live_cam.sinks.video import VideoSink, h264_encoder_name
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


def test_times_rounded_to_milliseconds_become_exact_again(tmp_path):
    write_clip(tmp_path / "in.mkv", frame_count=60, rate=Fraction(30000, 1001))
    with VideoSource(tmp_path / "in.mkv") as source, VideoSink(tmp_path / "out.mp4", (64, 48), source.rate) as sink:
        for frame in iter(source.read, None):
            sink.write(result_of(frame.image, frame.index, frame.time_seconds))
        sink.finish()
    assert probe(sink.path)["r_frame_rate"] == "30000/1001"
    assert packet_times(sink.path) == pytest.approx([n * 1001 / 30000 for n in range(60)], abs=1e-6)


@pytest.mark.parametrize("rate", [Fraction(25), None])
@pytest.mark.parametrize("first_seconds", [0.0, 81234.567])
def test_uneven_times_are_kept_from_the_first_frame_on(tmp_path, rate, first_seconds):
    times = [0, 0.04, 0.0813, 0.5, 0.517, 0.58, 1.7, 1.71, 2.9]
    sink = write_video(tmp_path / "out.mp4", [first_seconds + one for one in times], rate)
    assert packet_times(sink.path) == pytest.approx(times, abs=6e-4)


def test_times_that_run_backwards_lose_no_frame(tmp_path):
    sink = write_video(tmp_path / "out.mp4", [0.0, 0.04, 0.04, 0.0, 0.2], Fraction(25))
    assert numbers_in(sink.path) == [0, 1, 2, 3, 4]
    assert np.diff(packet_times(sink.path)).min() > 0


def test_a_clock_of_a_constant_rate_counts_whole_frames():
    clock = PresentationClock(Fraction(30000, 1001))
    assert clock.time_base == Fraction(1, 30000)
    assert [clock.next_pts(n * 1001 / 30000)[0] for n in range(4)] == [0, 1001, 2002, 3003]


def test_a_clock_asks_for_a_keyframe_each_second():
    clock = PresentationClock(Fraction(25))
    assert [n for n in range(100) if clock.next_pts(n / 25)[1]] == [0, 25, 50, 75]


def test_odd_sizes_grow_by_a_copy_of_the_last_line(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (65, 49), Fraction(25)) as sink:
        assert (sink.padded, sink.written_size_wh) == (True, (66, 50))
        image = np.full((49, 65, 3), 60, np.uint8)
        image[:, -1] = image[-1, :] = 200
        sink.write(result_of(image))
        sink.finish()
    read = decoded_by_ffmpeg(sink.path, (66, 50))
    assert read[10, 60].max() < 80  # inside
    assert min(read[:, 65].min(), read[49, :].min()) > 180  # the added column and row are as bright as the last ones
    with VideoSink(tmp_path / "even.mp4", (64, 48), None) as sink:
        assert (sink.padded, sink.written_size_wh) == (False, (64, 48))


PATCHES_BGR = [(40, 60, 200), (60, 190, 50), (200, 70, 50), (120, 120, 120), (20, 200, 220), (255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize("size_wh", [(112, 64), (112, 720)])
def test_players_show_the_colours_that_went_in(tmp_path, size_wh):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for number, colour in enumerate(PATCHES_BGR):
        image[:, number * 16 : number * 16 + 16] = colour
    with VideoSink(tmp_path / "out.mp4", size_wh, Fraction(25)) as sink:
        sink.write(result_of(image))
        sink.finish()
    stated = probe(sink.path)
    assert (stated["color_range"], stated["color_space"]) == ("tv", "smpte170m")
    shown = decoded_by_ffmpeg(sink.path, size_wh)
    with VideoSource(sink.path) as source:
        read = source.read().image
    for number, colour in enumerate(PATCHES_BGR):
        assert shown[30, number * 16 + 8].astype(int) == pytest.approx(colour, abs=4)
        assert read[30, number * 16 + 8].astype(int) == pytest.approx(colour, abs=4)


def test_real_texture_keeps_its_quality(tmp_path):
    photograph = cv2.GaussianBlur(noise_image(3), (0, 0), 3)
    with VideoSink(tmp_path / "out.mp4", (320, 240), Fraction(25)) as sink:
        for index in range(10):
            sink.write(result_of(np.roll(photograph, index, axis=1), index, index / 25))
        sink.finish()
    with VideoSource(sink.path) as source:
        frames = list(iter(source.read, None))
    assert min(cv2.PSNR(frame.image, np.roll(photograph, frame.index, axis=1)) for frame in frames) > 36


def test_write_neither_changes_nor_keeps_the_array(tmp_path):
    image = numbered_image(1)
    before = image.copy()
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(image))
        np.testing.assert_array_equal(image, before)
        image[:] = numbered_image(2)  # the caller may draw into it again
        sink.write(result_of(image, 1, 0.04))
        sink.finish()
    assert numbers_in(sink.path) == [1, 2]


def test_the_index_stands_at_the_beginning(tmp_path):
    data = write_video(tmp_path / "out.mp4", [0, 0.04], Fraction(25)).path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert b"moof" not in data


def test_a_frame_of_another_size_is_refused(tmp_path):
    message = re.escape(f"expected 640x360 frames, got 64x48: {tmp_path / 'out.mp4'}")
    sink = VideoSink(tmp_path / "out.mp4", (640, 360), Fraction(25))
    with sink, pytest.raises(SinkError, match=message):
        sink.write(result_of(numbered_image(0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.txt", "out.jpg", "out", "out.ogv"])
def test_an_unknown_ending_is_refused(tmp_path, name):
    with pytest.raises(SinkError, match=r"must end in \.mp4, \.m4v, \.mov, \.mkv"):
        VideoSink(tmp_path / name, (64, 48), Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_the_named_encoder_exists_and_writes_h264():
    codec = av.Codec(h264_encoder_name(), "w")
    assert (codec.id, codec.is_encoder) == (av.Codec("h264", "r").id, True)


def test_without_finish_a_playable_part_stays(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        for index in range(40):
            sink.write(result_of(numbered_image(index), index, index / 25))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.mp4"]
    assert numbers_in(sink.partial_path) == list(range(40))


def test_without_a_frame_nothing_stays(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.finish()
    assert list(tmp_path.iterdir()) == []


WRITE_AND_WAIT = """
import sys, time
from fractions import Fraction
from media_clips import noise_image, result_of
from live_cam.sinks.video import VideoSink
sink = VideoSink(sys.argv[1], (320, 240), Fraction(25))
for index in range(120):
    sink.write(result_of(noise_image(index), index, index / 25))
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_killed_run_leaves_all_but_the_last_second(tmp_path, name):
    command = [sys.executable, "-c", WRITE_AND_WAIT, str(tmp_path / name)]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    partial = tmp_path / f"out.partial{Path(name).suffix}"
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    assert int(probe(partial)["nb_read_packets"]) >= 75  # of 120: pieces of 25, and some wait in the encoder


WRITE_UNTIL_FULL = """
import resource, signal, sys
from fractions import Fraction
from media_clips import noise_image, result_of
from live_cam.errors import SinkError
from live_cam.sinks.video import VideoSink
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


def test_a_full_disk_is_told_in_one_line_and_what_was_written_stays(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", WRITE_UNTIL_FULL, str(tmp_path / "out.mp4"), "2000000"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    partial = tmp_path / "out.partial.mp4"
    expected = f"cannot write {tmp_path / 'out.mp4'}: File too large; what was written stays in {partial}\n"
    assert (done.stdout, done.stderr) == (expected, "")
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    assert int(probe(partial)["nb_read_packets"]) >= 25


def test_a_disk_that_was_full_before_leaves_nothing(tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", WRITE_UNTIL_FULL, str(tmp_path / "out.mp4"), "0"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {tmp_path / 'out.mp4'}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_removed_folder_is_told_in_one_line(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with VideoSink(folder / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(numbered_image(0)))
        sink.partial_path.unlink(missing_ok=True)
        folder.rmdir()
        with pytest.raises(SinkError, match=r"cannot write .*out.mp4: No such file or directory$"):
            sink.finish()


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25)) as sink:
        sink.write(result_of(numbered_image(0)))
        sink.path.write_text("someone else's")
        with pytest.raises(SinkError, match=r"made by someone else meanwhile; this output stays in .*out.partial.mp4"):
            sink.finish()
    assert sink.path.read_text() == "someone else's"
    assert numbers_in(sink.partial_path) == [0]


def test_overwrite_replaces_only_when_finished(tmp_path):
    (tmp_path / "out.mp4").write_text("before")
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25), overwrite=True) as sink:
        sink.write(result_of(numbered_image(7)))
        assert sink.path.read_text() == "before"
        sink.finish()
    assert numbers_in(sink.path) == [7]


def test_it_is_written_while_it_runs(tmp_path):
    with VideoSink(tmp_path / "out.mp4", (320, 240), None) as sink:
        begin = time.monotonic()
        for index in range(90):
            sink.write(result_of(noise_image(index), index, begin + index / 25))
        assert int(probe(sink.partial_path)["nb_read_packets"]) >= 50


@pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="shared videos are not here")
def test_a_real_video_keeps_count_and_rate(tmp_path):
    path = SHARED_VIDEOS / "bottle-detection.mp4"
    with VideoSource(path) as source, VideoSink(tmp_path / "out.mp4", source.size_wh, source.rate) as sink:
        for frame in iter(source.read, None):
            sink.write(result_of(frame.image, frame.index, frame.time_seconds))
        sink.finish()
    stated, before = probe(sink.path), probe(path)
    assert stated["nb_frames"] == before["nb_frames"] == "1189"
    assert stated["r_frame_rate"] == before["r_frame_rate"] == "179/6"
    assert float(stated["duration"]) == pytest.approx(float(before["duration"]), abs=1e-3)
