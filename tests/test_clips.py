"""Clips of a search: which frames and sounds they have, and that none was encoded again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import pytest
from media_clips import number_of, packet_times, probe, write_clip
from recordings import ffmpeg

from live_cam.archive.clips import ClipFolder
from live_cam.archive.search import Hit
from live_cam.errors import SinkError, SourceError

# 8 s with a keyframe every 2 s, and frames that are stored in another order than they are shown.
REORDERED = {"g": "50", "keyint_min": "50", "bf": "2", "sc_threshold": "0"}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 numbered frames, 25 a second, with sound."""
    folder = tmp_path_factory.mktemp("video")
    write_clip(folder / "silent.mp4", 200, options=REORDERED)
    sine = ["-f", "lavfi", "-i", "sine=440:d=8:r=48000"]
    ffmpeg("-i", folder / "silent.mp4", *sine, "-c:v", "copy", "-c:a", "aac", folder / "zoo.mp4")
    return folder / "zoo.mp4"


def hit_in(video: Path, from_seconds: float, to_seconds: float) -> Hit:
    return Hit(str(video), from_seconds, to_seconds, "zebra", 0.9, from_seconds, None, "zoo")


def frame_numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def packet_contents(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(getattr(container.streams, kind)) if packet.size]


def sound_seconds(path: Path) -> tuple[str, float]:
    command = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=codec_name:packet=pts_time"]
    done = subprocess.run([*command, "-of", "json", str(path)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    times = [float(packet["pts_time"]) for packet in found["packets"]]
    return found["streams"][0]["codec_name"], times[-1] - times[0]


def test_a_clip_begins_at_the_keyframe_before_and_ends_in_time(video: Path, tmp_path: Path):
    path = ClipFolder(tmp_path / "new" / "clips").cut(hit_in(video, 5.0, 6.0))
    assert path == tmp_path / "new" / "clips" / "zoo-5s.mp4"
    numbers = frame_numbers(path)
    # The keyframe is at 4 s. What is behind 6 s, frame 150, is there for the frames that depend on it.
    assert numbers[:50] == list(range(100, 150))
    assert len(numbers) <= 53
    assert min(packet_times(path)) == 0
    codec, seconds = sound_seconds(path)
    assert codec == "aac"
    assert seconds == pytest.approx(2.0, abs=0.05)
    assert not list(path.parent.glob("*.partial*"))


def test_packets_are_copied(video: Path, tmp_path: Path):
    path = ClipFolder(tmp_path).cut(hit_in(video, 2.0, 4.0))
    for kind in ("video", "audio"):
        source, clip = packet_contents(video, kind), packet_contents(path, kind)
        begin = source.index(clip[0])
        assert clip == source[begin : begin + len(clip)]
    assert probe(path)["codec_name"] == "h264"


@pytest.mark.parametrize(("begin", "first"), [(0.0, 0), (1.99, 0), (2.0, 50), (7.96, 150), (100.0, 150)])
def test_the_keyframe_is_the_last_one_that_is_not_later(video: Path, tmp_path: Path, begin: float, first: int):
    path = ClipFolder(tmp_path).cut(hit_in(video, begin, begin + 0.04))
    assert frame_numbers(path)[0] == first


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        (".mkv", ["-c", "copy"]),
        (".mov", ["-c", "copy"]),
        (".ts", ["-c", "copy", "-output_ts_offset", "100"]),
        (".webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"]),
        (".avi", ["-c:v", "mpeg4", "-g", "50", "-sc_threshold", "1000000000", "-bf", "0", "-c:a", "libmp3lame"]),
    ],
)
def test_each_container_keeps_its_kind(video: Path, tmp_path: Path, suffix: str, codecs: list[str]):
    source = tmp_path / f"zoo{suffix}"
    ffmpeg("-i", video, *codecs, source)
    path = ClipFolder(tmp_path / "clips").cut(hit_in(source, 5.0, 6.0))
    assert path.name == f"zoo-5s{suffix}"
    # ffmpeg delays all but the first frame of an AVI by one.
    count = 49 if suffix == ".avi" else 50
    assert frame_numbers(path)[:count] == list(range(100, 100 + count))
    assert probe(path)["codec_name"] == probe(source)["codec_name"]
    assert sound_seconds(path)[1] == pytest.approx(2.0, abs=0.1)
    # A transport stream cannot hold the negative decoding times of the first frames.
    assert min(packet_times(path)) == pytest.approx(0.0, abs=0.1 if suffix == ".ts" else 0)


@pytest.mark.parametrize("name", ["zoo.unknown", "zoo", "zoo.mp3"])
def test_what_the_suffix_cannot_hold_becomes_mkv(video: Path, tmp_path: Path, name: str):
    source = tmp_path / name
    ffmpeg("-i", video, "-c", "copy", "-f", "matroska", source)
    path = ClipFolder(tmp_path / "clips").cut(hit_in(source, 5.0, 6.0))
    assert path.name == "zoo-5s.mkv"
    assert frame_numbers(path)[:50] == list(range(100, 150))
    assert [clip.name for clip in path.parent.iterdir()] == ["zoo-5s.mkv"]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path):
    times_ms = [0, 40, 80, 1000, 1040, 3000, 3010, 3500]
    source = write_clip(tmp_path / "zoo.mkv", len(times_ms), pts=times_ms, options={"g": "3", "bf": "0"})
    path = ClipFolder(tmp_path / "clips").cut(hit_in(source, 1.02, 3.2))
    assert frame_numbers(path) == [3, 4, 5, 6]
    assert packet_times(path) == [0, 0.04, 2.0, 2.01]


def test_names_are_unique(video: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / video.name
    other.symlink_to(video)
    clips = ClipFolder(tmp_path / "clips")
    hits = [hit_in(video, 1.25, 2), hit_in(other, 1.25, 2), hit_in(video, 1.254, 2), hit_in(video, 1.5, 2)]
    assert [clips.cut(hit).name for hit in hits] == [
        "zoo-1.25s.mp4", "zoo-1.25s-2.mp4", "zoo-1.25s-3.mp4", "zoo-1.5s.mp4",
    ]  # fmt: skip


def test_a_clip_that_exists_is_kept_unless_it_may_be_replaced(video: Path, tmp_path: Path):
    hit = hit_in(video, 1.0, 2.0)
    (tmp_path / "zoo-1s.mp4").write_bytes(b"mine")
    with pytest.raises(SinkError, match=r"zoo-1s\.mp4 exists; give another name, or replace it"):
        ClipFolder(tmp_path).cut(hit)
    assert (tmp_path / "zoo-1s.mp4").read_bytes() == b"mine"
    assert frame_numbers(ClipFolder(tmp_path, overwrite=True).cut(hit))[0] == 0


def test_control_characters_get_into_no_name_of_a_clip(video: Path, tmp_path: Path):
    odd = tmp_path / "two\nlines\x1b.mp4"
    odd.symlink_to(video)
    assert ClipFolder(tmp_path / "clips").cut(hit_in(odd, 1.0, 2.0)).name == "two_lines_-1s.mp4"


@pytest.mark.parametrize(
    ("suffix", "reason"), [(".mp4", "no frame can be decoded"), (".ts", "ffmpeg cannot seek there")]
)
def test_damage_is_named_as_such(tmp_path: Path, suffix: str, reason: str):
    path = write_clip(tmp_path / f"zoo{suffix}", 400, options=REORDERED)
    content = path.read_bytes()
    begin, end = int(0.3 * len(content)), int(0.8 * len(content))
    path.write_bytes(content[:begin] + bytes(end - begin) + content[end:])
    with pytest.raises(SourceError, match=rf"zoo{suffix} is damaged; cannot cut it at 5\.0 s: {reason}$"):
        ClipFolder(tmp_path / "clips").cut(hit_in(path, 5.0, 6.0))
    assert not list((tmp_path / "clips").iterdir())


def test_what_cannot_be_cut_is_one_line(video: Path, tmp_path: Path):
    clips = ClipFolder(tmp_path / "clips")
    with pytest.raises(SourceError, match="no such file: .*gone.mp4"):
        clips.cut(hit_in(tmp_path / "gone.mp4", 1.0, 2.0))
    (tmp_path / "text.mp4").write_text("text" * 100)
    with pytest.raises(SourceError, match="text.mp4 is not a video"):
        clips.cut(hit_in(tmp_path / "text.mp4", 1.0, 2.0))
    # A path in a foreign index is never a URL.
    with pytest.raises(SourceError, match="no such file: http:/"):
        clips.cut(replace(hit_in(video, 1.0, 2.0), video="http://127.0.0.1:1/x.mp4"))
    assert not list((tmp_path / "clips").iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot create .*file"):
        ClipFolder(tmp_path / "file")
