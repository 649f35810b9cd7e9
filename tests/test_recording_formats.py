"""Each codec in each container it may be in, at each quality; the rest is refused before any work."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media_clips import noise_image, number_of, numbered_image, packet_times, probe, result_of, write_clip
from recordings import ffmpeg, frames_of, packets_of, record

from live_cam.errors import SettingError
from live_cam.sinks.codecs import CODECS, CONTAINERS, DEFAULT_QUALITY, video_format
from live_cam.sinks.video import VideoSink

FFMPEG_NAMES = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "av1", "mjpeg": "mjpeg"}
PAIRS = [(ending, codec) for ending, container in CONTAINERS.items() for codec in container.codecs]


def write_numbers(path: Path, count: int = 40, rate: Fraction = Fraction(30000, 1001), **options) -> VideoSink:
    with VideoSink(path, (128, 96), rate, **options) as sink:
        for index in range(count):
            sink.write(result_of(numbered_image(index, (128, 96)), index, float(index / rate)))
        sink.finish()
    return sink


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
def test_every_pair_keeps_frames_rate_and_picture(tmp_path, ending, codec):
    sink = write_numbers(tmp_path / f"out{ending}", codec=codec)
    stated = probe(sink.path)
    assert stated["codec_name"] == FFMPEG_NAMES[codec]
    assert (stated["r_frame_rate"], stated["nb_read_packets"]) == ("30000/1001", "40")
    frames = frames_of(sink.path)
    assert [time for time, _ in frames] == pytest.approx([n * 1001 / 30000 for n in range(40)], abs=6e-4)
    assert [number_of(image) for _, image in frames] == list(range(40))
    assert min(cv2.PSNR(image, numbered_image(n, (128, 96))) for n, (_, image) in enumerate(frames)) > 28
    assert [path.name for path in tmp_path.iterdir()] == [sink.path.name]


def test_each_container_has_its_usual_codec():
    usual = {ending: container.codecs[0] for ending, container in CONTAINERS.items() if container.codecs}
    assert usual == {
        ".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9", ".avi": "mjpeg"
    }  # fmt: skip
    for ending, codec in usual.items():
        assert video_format(Path(f"out{ending}")).codec == CODECS[codec]


@pytest.mark.parametrize(("name", "codec", "message"), [
    ("o.webm", "h264", ".webm cannot hold h264; it can hold vp9, av1, and h264 goes into .mp4, .m4v, .mov, .mkv, .avi"),
    ("o.m4v", "mjpeg", ".m4v cannot hold mjpeg; it can hold h264, h265, and mjpeg goes into .mov, .mkv, .avi"),
    ("out.gif", "h264", "a GIF has neither codec nor quality"),
    ("out.mp4", "h246", "unknown codec 'h246'; did you mean h265 or h264?"),
])  # fmt: skip
def test_a_pair_that_cannot_be_is_refused(tmp_path, name, codec, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        VideoSink(tmp_path / name, (64, 48), None, codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quality", [-1, 101])
def test_a_quality_is_a_number_from_0_to_100(quality):
    with pytest.raises(SettingError, match=f"the quality must be from 0 to 100, not {quality}"):
        video_format(Path("out.mp4"), quality=quality)


@pytest.mark.parametrize("codec", CODECS)
def test_more_quality_is_a_truer_picture_and_a_larger_file(tmp_path, codec):
    photograph = cv2.GaussianBlur(noise_image(3), (0, 0), 2)
    truth, size = [], []
    for quality in (10, DEFAULT_QUALITY, 95):
        with VideoSink(tmp_path / f"{quality}.mkv", (320, 240), Fraction(25), codec=codec, quality=quality) as sink:
            for index in range(8):
                sink.write(result_of(np.roll(photograph, 2 * index, axis=1), index, index / 25))
            sink.finish()
        pictures = [image for _, image in frames_of(sink.path)]
        truth.append(min(cv2.PSNR(image, np.roll(photograph, 2 * n, axis=1)) for n, image in enumerate(pictures)))
        size.append(sink.path.stat().st_size)
    assert truth == sorted(truth)
    assert size == sorted(size)
    assert truth[1] > 33
    assert truth[2] > truth[0] + 4


def test_the_usual_h264_is_what_was_measured():
    # The speed figures of benchmarks/RESULTS.md stand on this.
    assert video_format(Path("out.mp4")).encoder_options["crf"] == "22"
    assert video_format(Path("out.mp4")).encoder_options["preset"] == "ultrafast"


def test_h265_in_mp4_carries_the_name_apple_wants(tmp_path):
    for name in ("out.mp4", "out.mov"):
        assert probe(write_numbers(tmp_path / name, count=5, codec="h265").path)["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize(
    ("name", "codec"), [("out.webm", "vp9"), ("out.mkv", "av1"), ("out.avi", "mjpeg"), ("out.gif", None)]
)
def test_what_was_written_plays_while_it_grows(tmp_path, name, codec):
    with VideoSink(tmp_path / name, (128, 96), Fraction(25), codec=codec) as sink:
        for index in range(100):
            sink.write(result_of(noise_image(index, (128, 96)), index, index / 25))
        assert packet_times(sink.partial_path)[-1] > 1.5


def test_av1_and_h265_say_nothing_of_their_own(tmp_path, capfd):
    write_numbers(tmp_path / "out.mkv", count=5, codec="av1")
    write_numbers(tmp_path / "out2.mkv", count=5, codec="h265")
    assert capfd.readouterr() == ("", "")


def test_an_avi_holds_uneven_frames_on_its_grid(tmp_path):
    times = [0, 0.04, 0.081, 0.5, 0.5, 1.0]
    with VideoSink(tmp_path / "out.avi", (64, 48), Fraction(25)) as sink:
        for index, time_seconds in enumerate(times):
            sink.write(result_of(numbered_image(index), index, time_seconds))
        sink.finish()
    assert [number_of(image) for _, image in frames_of(sink.path)] == list(range(6))
    assert packet_times(sink.path) == pytest.approx([0, 0.04, 0.08, 0.48, 0.52, 1.0])


def colour_wheel(shift: int) -> np.ndarray:
    """Every hue, light above and dark below: more colours than a GIF's table has."""
    hue = np.broadcast_to((np.arange(160) * 180 // 160 + shift) % 180, (120, 160))
    light = np.broadcast_to(np.linspace(255, 60, 120)[:, None], (120, 160))
    return cv2.cvtColor(np.dstack([hue, np.full_like(hue, 200), light]).astype(np.uint8), cv2.COLOR_HSV2BGR)


def test_a_gif_keeps_colours_times_and_repeats(tmp_path):
    with VideoSink(tmp_path / "out.gif", (161, 120), Fraction(25)) as sink:
        assert (sink.padded, sink.written_size_wh) == (False, (161, 120))
        for index in range(50):
            image = cv2.copyMakeBorder(colour_wheel(3 * index), 0, 0, 0, 1, cv2.BORDER_REPLICATE)
            sink.write(result_of(image, index, index / 10))
        sink.finish()
    assert sink.path.read_bytes()[:6] == b"GIF89a"
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in sink.path.read_bytes()  # repeats for ever
    assert packet_times(sink.path) == pytest.approx([n / 10 for n in range(50)])
    with av.open(str(sink.path)) as container:
        pictures = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(pictures) == 50
    shown = [cv2.GaussianBlur(picture[:, :160], (0, 0), 2) for picture in (pictures[0], pictures[49])]
    true = [cv2.GaussianBlur(colour_wheel(shift), (0, 0), 2) for shift in (0, 147)]
    assert min(cv2.PSNR(one, other) for one, other in zip(shown, true, strict=True)) > 30


def test_a_gif_takes_twenty_frames_a_second_at_most(tmp_path):
    sink = write_numbers(tmp_path / "out.gif", count=60, rate=Fraction(60))
    assert sink.lines == ("out.gif gets 20 frames a second at most, as a GIF should",)
    times = packet_times(sink.path)
    assert times == pytest.approx([n / 20 for n in range(20)])  # one second


def test_opus_begins_as_early_as_its_header_says(tmp_path):
    write_clip(tmp_path / "clip.mkv", frame_count=25)
    sine = ["-f", "lavfi", "-i", "sine=440:d=1:r=48000"]
    ffmpeg("-i", tmp_path / "clip.mkv", *sine, "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "in.mkv")
    coded = record(tmp_path / "in.mkv", tmp_path / "coded.webm")
    assert packets_of(coded.path, "audio")[0][1] == pytest.approx(-0.0065, abs=1e-3)  # libopus's own delay, 312 samples
    sink = record(coded.path, tmp_path / "out.mkv")
    assert packets_of(sink.path, "audio") == packets_of(coded.path, "audio")
    assert packet_times(sink.path)[0] == packet_times(coded.path)[0] == 0
