"""Every codec in every container that can hold it, at every quality; other combinations are refused at once."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import environment_with
from media_clips import noise_image, number_of, numbered_image, packet_times, probe, result_of, write_clip
from recordings import ffmpeg, frames_of, packets_of, record

from live_cam.errors import SettingError
from live_cam.settings import DEFAULT_QUALITY
from live_cam.sinks.video.codecs import CODECS, CONTAINERS, video_format
from live_cam.sinks.video.sink import VideoSink

FFMPEG_NAMES = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "av1", "mjpeg": "mjpeg"}
PAIRS = [(ending, codec) for ending, container in CONTAINERS.items() for codec in container.codecs]


def write_numbers(path: Path, count: int = 40, rate: Fraction = Fraction(30000, 1001), **options) -> VideoSink:
    with VideoSink(path, (128, 96), rate, **options) as sink:
        for index in range(count):
            sink.write(result_of(numbered_image(index, (128, 96)), index, float(index / rate)))
        sink.finish()
    return sink


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
def test_every_pair_keeps_frames_rate_and_images(tmp_path, ending, codec):
    sink = write_numbers(tmp_path / f"out{ending}", codec=codec)
    stated = probe(sink.path)
    assert stated["codec_name"] == FFMPEG_NAMES[codec]
    assert (stated["r_frame_rate"], stated["nb_read_packets"]) == ("30000/1001", "40")
    frames = frames_of(sink.path)
    assert [time for time, _ in frames] == pytest.approx([n * 1001 / 30000 for n in range(40)], abs=6e-4)
    assert [number_of(image) for _, image in frames] == list(range(40))
    assert min(cv2.PSNR(image, numbered_image(n, (128, 96))) for n, (_, image) in enumerate(frames)) > 28
    assert [path.name for path in tmp_path.iterdir()] == [sink.path.name]


def test_every_container_has_a_default_codec():
    default_codecs = {ending: container.codecs[0] for ending, container in CONTAINERS.items() if container.codecs}
    assert default_codecs == {
        ".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9", ".avi": "mjpeg"
    }  # fmt: skip
    for ending, codec in default_codecs.items():
        assert video_format(Path(f"out{ending}")).codec == CODECS[codec]


@pytest.mark.parametrize(("name", "codec", "message"), [
    ("o.webm", "h264", ".webm cannot hold h264; it can hold vp9, av1, and h264 goes into .mp4, .m4v, .mov, .mkv, .avi"),
    ("o.m4v", "mjpeg", ".m4v cannot hold mjpeg; it can hold h264, h265, and mjpeg goes into .mov, .mkv, .avi"),
    ("out.gif", "h264", "a GIF has neither codec nor quality"),
    ("out.mp4", "h246", "unknown codec 'h246'; did you mean h265 or h264?"),
])  # fmt: skip
def test_impossible_pair_is_refused(tmp_path, name, codec, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        VideoSink(tmp_path / name, (64, 48), None, codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("quality", "valid"), [(-1, "a whole number of 0 or more"), (101, "100 or less")])
def test_quality_outside_0_to_100_is_refused(quality, valid):
    with pytest.raises(SettingError, match=f"^quality must be {valid}, not {quality}$"):
        video_format(Path("out.mp4"), quality=quality)


@pytest.mark.parametrize("codec", CODECS)
def test_more_quality_means_a_higher_psnr_and_a_larger_file(tmp_path, codec):
    photograph = cv2.GaussianBlur(noise_image(3), (0, 0), 2)
    psnr, size = [], []
    for quality in (10, DEFAULT_QUALITY, 95):
        with VideoSink(tmp_path / f"{quality}.mkv", (320, 240), Fraction(25), codec=codec, quality=quality) as sink:
            for index in range(8):
                sink.write(result_of(np.roll(photograph, 2 * index, axis=1), index, index / 25))
            sink.finish()
        images = [image for _, image in frames_of(sink.path)]
        psnr.append(min(cv2.PSNR(image, np.roll(photograph, 2 * n, axis=1)) for n, image in enumerate(images)))
        size.append(sink.path.stat().st_size)
    assert psnr == sorted(psnr)
    assert size == sorted(size)
    assert psnr[1] > 33
    assert psnr[2] > psnr[0] + 4


def test_default_h264_options_are_the_measured_ones():
    # benchmarks/RESULTS.md holds for these.
    assert video_format(Path("out.mp4")).encoder_options["crf"] == "22"
    assert video_format(Path("out.mp4")).encoder_options["preset"] == "ultrafast"


def test_h265_in_mp4_has_the_tag_that_apple_players_need(tmp_path):
    for name in ("out.mp4", "out.mov"):
        assert probe(write_numbers(tmp_path / name, count=5, codec="h265").path)["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize(
    ("name", "codec"), [("out.webm", "vp9"), ("out.mkv", "av1"), ("out.avi", "mjpeg"), ("out.gif", None)]
)
def test_growing_file_can_be_played(tmp_path, name, codec):
    with VideoSink(tmp_path / name, (128, 96), Fraction(25), codec=codec) as sink:
        for index in range(100):
            sink.write(result_of(noise_image(index, (128, 96)), index, index / 25))
        assert packet_times(sink.partial_path)[-1] > 1.5


ENCODE = """
import sys
from fractions import Fraction
from media_clips import numbered_image, result_of
from live_cam.sinks.video.sink import VideoSink
with VideoSink(sys.argv[1], (64, 48), Fraction(25), codec=sys.argv[2]) as sink:
    for index in range(5):
        sink.write(result_of(numbered_image(index), index, index / 25))
    sink.finish()
"""


# SVT-AV1 prints to stderr, which only the environment variable SVT_LOG prevents.
@pytest.mark.parametrize("codec", sorted(CODECS.keys() - {"av1"}))
def test_encoder_prints_nothing(tmp_path, codec):
    command = [sys.executable, "-c", ENCODE, str(tmp_path / "out.mkv"), codec]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_codec_table_needs_no_pyav():
    program = "import sys, live_cam.sinks.video.codecs; print('av' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment_with(), check=True
    )
    assert done.stdout == "False False\n"


def test_importing_the_sinks_changes_no_log_level():
    program = (
        "import av.logging; av.logging.set_level(av.logging.ERROR)\n"
        "import live_cam.sinks.video.sink; print(av.logging.get_level() == av.logging.ERROR)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment_with(), check=True
    )
    assert done.stdout == "True\n"


def test_avi_moves_uneven_frames_to_its_grid(tmp_path):
    times = [0, 0.04, 0.081, 0.5, 0.5, 1.0]
    with VideoSink(tmp_path / "out.avi", (64, 48), Fraction(25)) as sink:
        for index, time_seconds in enumerate(times):
            sink.write(result_of(numbered_image(index), index, time_seconds))
        sink.finish()
    assert [number_of(image) for _, image in frames_of(sink.path)] == list(range(6))
    assert packet_times(sink.path) == pytest.approx([0, 0.04, 0.08, 0.48, 0.52, 1.0])


def color_wheel(shift: int) -> np.ndarray:
    """Returns every hue, light above and dark below: more colors than a GIF palette has."""
    hue = np.broadcast_to((np.arange(160) * 180 // 160 + shift) % 180, (120, 160))
    light = np.broadcast_to(np.linspace(255, 60, 120)[:, None], (120, 160))
    return cv2.cvtColor(np.dstack([hue, np.full_like(hue, 200), light]).astype(np.uint8), cv2.COLOR_HSV2BGR)


def test_gif_keeps_colors_and_times_and_repeats(tmp_path):
    with VideoSink(tmp_path / "out.gif", (161, 120), Fraction(25)) as sink:
        assert sink.written_size_wh == (161, 120)
        for index in range(50):
            image = cv2.copyMakeBorder(color_wheel(3 * index), 0, 0, 0, 1, cv2.BORDER_REPLICATE)
            sink.write(result_of(image, index, index / 10))
        sink.finish()
    assert sink.path.read_bytes()[:6] == b"GIF89a"
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in sink.path.read_bytes()  # repeats forever
    assert packet_times(sink.path) == pytest.approx([n / 10 for n in range(50)])
    with av.open(str(sink.path)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert len(images) == 50
    shown = [cv2.GaussianBlur(image[:, :160], (0, 0), 2) for image in (images[0], images[49])]
    true = [cv2.GaussianBlur(color_wheel(shift), (0, 0), 2) for shift in (0, 147)]
    assert min(map(cv2.PSNR, shown, true)) > 30


def test_gif_gets_at_most_20_frames_per_second(tmp_path):
    sink = write_numbers(tmp_path / "out.gif", count=60, rate=Fraction(60))
    assert sink.notices == ("out.gif gets at most 20 frames per second, because it is a GIF",)
    assert sink.frame_count == 20
    times = packet_times(sink.path)
    assert times == pytest.approx([n / 20 for n in range(20)])  # one second


def test_opus_keeps_the_delay_that_its_header_states(tmp_path):
    write_clip(tmp_path / "clip.mkv", frame_count=25)
    sine = ["-f", "lavfi", "-i", "sine=440:d=1:r=48000"]
    ffmpeg("-i", tmp_path / "clip.mkv", *sine, "-c:v", "copy", "-c:a", "pcm_s16le", tmp_path / "in.mkv")
    coded = record(tmp_path / "in.mkv", tmp_path / "coded.webm")
    assert packets_of(coded.path, "audio")[0][1] == pytest.approx(-0.0065, abs=1e-3)  # libopus's delay, 312 samples
    sink = record(coded.path, tmp_path / "out.mkv")
    assert packets_of(sink.path, "audio") == packets_of(coded.path, "audio")
    assert packet_times(sink.path)[0] == packet_times(coded.path)[0] == 0
