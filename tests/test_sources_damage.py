"""Damaged videos are read up to the damage and then say where it is; intact ones are never called damaged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, write_clip, write_heavy_clip
from recordings import ffmpeg

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.sources.damage import declared_matroska_bytes
from live_cam.sources.video import VideoSource


def all_frames(path: Path) -> list[Frame]:
    with VideoSource(path) as source:
        return list(iter(source.read, None))


def frames_and_error(path: Path) -> tuple[list[Frame], str]:
    frames = []
    with VideoSource(path) as source, pytest.raises(SourceError, match="damaged after frame") as raised:  # noqa: PT012
        while (frame := source.read()) is not None:
            frames.append(frame)
    return frames, str(raised.value)


def cut(path: Path, fraction: float) -> Path:
    whole = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(whole[: int(len(whole) * fraction)])
    return shorter


@pytest.mark.parametrize("name", ["heavy.mp4", "heavy.mkv", "heavy.avi"])
@pytest.mark.parametrize("fraction", [0.5, 0.85])
def test_a_cut_off_file_gives_its_readable_frames_and_then_says_where_it_is_cut(tmp_path, name, fraction):
    path = write_heavy_clip(tmp_path / name)
    intact = all_frames(path)
    frames, message = frames_and_error(cut(path, fraction))
    assert abs(len(frames) - 40 * fraction) <= 2  # all frames have about the same number of bytes
    assert f"cut_{name}: damaged after frame {len(frames)} ({frames[-1].time_seconds:.2f} s)" in message
    assert "\n" not in message
    for cut_frame, whole_frame in zip(frames, intact, strict=False):
        np.testing.assert_array_equal(cut_frame.image, whole_frame.image)


@pytest.mark.parametrize("filling", [b"\x00", b"\xa5"])
@pytest.mark.parametrize("name", ["heavy.mp4", "heavy.mkv"])
def test_garbage_in_the_middle_ends_the_video_there(tmp_path, name, filling):
    path = write_heavy_clip(tmp_path / name)
    data = bytearray(path.read_bytes())
    half, tenth = len(data) // 2, len(data) // 5
    data[half : half + tenth] = filling * tenth
    path.write_bytes(data)
    frames, _ = frames_and_error(path)
    assert 17 <= len(frames) <= 22


def write_over_packets(path: Path, numbers: range, part: slice) -> None:
    """Fills a part of some encoded frames with zeros."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        spans = [range(packet.pos, packet.pos + packet.size) for packet in packets]
    data = bytearray(path.read_bytes())
    for number in numbers:
        for position in spans[number][part]:
            data[position] = 0
    path.write_bytes(data)


@pytest.mark.parametrize(("part", "frame_count"), [(slice(5000, 5200), 40), (slice(None), 39)])
def test_one_damaged_or_lost_frame_does_not_end_the_video(tmp_path, part, frame_count):
    path = write_heavy_clip(tmp_path / "heavy.mp4")
    write_over_packets(path, range(15, 16), part)
    assert len(all_frames(path)) == frame_count


@pytest.mark.parametrize("name", ["heavy.mp4", "heavy.mkv", "heavy.ts", "heavy.flv", "heavy.h264", "heavy.mov"])
def test_intact_files_are_not_called_damaged(tmp_path, name):
    path = write_heavy_clip(tmp_path / name, options={"bf": "3", "b-pyramid": "normal"})
    assert len(all_frames(path)) == 40


def test_an_edit_list_is_not_damage(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=100, options={"g": "50"})
    trimmed = tmp_path / "trimmed.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-ss", "1", "-i", str(path), "-c", "copy", str(trimmed)], check=True)
    frames = all_frames(trimmed)
    assert [number_of(frame.image) for frame in frames] == list(range(25, 100))
    assert frames[0].time_seconds == 0.0


def test_sound_that_is_shorter_or_longer_is_not_damage(tmp_path):
    silent = write_clip(tmp_path / "clip.mp4", frame_count=50)
    for name, seconds in (("short.mkv", 1), ("long.mkv", 6), ("long.mp4", 6)):
        tone = ["-f", "lavfi", "-i", f"sine=duration={seconds}"]
        command = ["ffmpeg", "-v", "error", "-i", str(silent), *tone, "-c:v", "copy", str(tmp_path / name)]
        subprocess.run(command, check=True)
        assert len(all_frames(tmp_path / name)) == 50


def test_a_video_without_one_decodable_frame_fails_when_it_is_opened(tmp_path):
    path = write_heavy_clip(tmp_path / "heavy.mp4")
    write_over_packets(path, range(40), slice(None))
    with pytest.raises(SourceError, match="heavy.mp4 has no frame that can be decoded"):
        VideoSource(path)


def test_ffmpeg_prints_nothing(tmp_path):
    broken = cut(write_heavy_clip(tmp_path / "heavy.mp4"), 0.5)
    program = (
        "import sys\nfrom live_cam.sources.video import VideoSource\nfrom live_cam.errors import SourceError\n"
        "try:\n    source = VideoSource(sys.argv[1])\n    while source.read(): pass\n"
        "except SourceError: print('damaged')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(broken)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("damaged\n", "")


def test_a_matroska_file_declares_its_size(tmp_path):
    path = write_clip(tmp_path / "clip.mkv")
    assert declared_matroska_bytes(path) == path.stat().st_size
    # A header of 3 bytes, then a segment of 0x105 bytes behind the 4 + 2 bytes of its ID and size.
    path.write_bytes(b"\x1a\x45\xdf\xa3\x83abc" + b"\x18\x53\x80\x67\x41\x05")
    assert declared_matroska_bytes(path) == 5 + 3 + 6 + 0x105
    path.write_bytes(b"\x1a\x45\xdf\xa3\x83abc" + b"\x18\x53\x80\x67\x01" + b"\xff" * 7)  # an unknown size
    assert declared_matroska_bytes(path) is None
    path.write_bytes(b"no video")
    assert declared_matroska_bytes(path) is None


def test_the_place_of_the_damage_counts_the_frames_that_were_read(tmp_path):
    """Also those that the deinterlacer held back when the damage was found."""
    path = tmp_path / "interlaced.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2,noise=alls=60:allf=t,tinterlace=interleave_top")
    ffmpeg(*source, "-c:v", "libx264", "-x264opts", "interlaced=1:keyint=5", "-qp", 20, "-movflags", "faststart", path)
    frames, message = frames_and_error(cut(path, 0.6))
    assert f"damaged after frame {len(frames)} ({frames[-1].time_seconds:.2f} s)" in message
