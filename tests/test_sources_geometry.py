"""Unusual videos look as they should: other pixel shapes and formats, HDR, interlaced frames, a change of size."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_clips import decoded_by_ffmpeg, number_of, numbered_image, write_clip
from recordings import ffmpeg, frames_of, record

from live_cam.sources.color import square_size_wh
from live_cam.sources.hdr import HLG, PQ, ToneMapper, hlg_to_nits, needs_mapping, nits_to_pq, pq_to_nits, tone_curve
from live_cam.sources.video import VideoSource


def write_raw(path: Path, images: np.ndarray, pixel_format: str, *options: object, rate: int = 25) -> Path:
    """Encodes images (count, height, width, ...) as they are."""
    height, width = images.shape[1:3]
    raw = ["-f", "rawvideo", "-pix_fmt", pixel_format, "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    command = ["ffmpeg", "-v", "error", "-y", *map(str, [*raw, *options, path])]
    subprocess.run(command, input=images.tobytes(), check=True)
    return path


@pytest.mark.parametrize(("aspect", "size_wh"), [
    ("64/45", (1024, 576)),  # PAL, 16:9
    ("8/9", (720, 648)),  # the shorter side grows
    ("1", (720, 576)),
    ("100", (720, 576)),  # invalid
])  # fmt: skip
def test_pixels_become_square_by_enlarging_one_side(aspect, size_wh):
    assert square_size_wh(720, 576, Fraction(aspect)) == size_wh


def test_a_circle_in_wide_pixels_is_a_circle(tmp_path):
    narrow = np.full((72, 90, 3), 30, np.uint8)
    # Half as wide as high, in pixels twice as wide.
    cv2.ellipse(narrow, (45, 36), (15, 30), 0, 0, 360, (220, 220, 220), -1)
    encoding = ["-c:v", "libx264", "-qp", 4, "-pix_fmt", "yuv420p", "-vf", "setsar=2"]
    path = write_raw(tmp_path / "wide.mp4", narrow[None], "bgr24", *encoding)
    with VideoSource(path) as source:
        assert source.size_wh == (180, 72)
        assert source.notices == (f"{path} has 2:1 pixels: scaled to square pixels, 180x72",)
        image = source.read().image
    rows, columns = np.nonzero(image[..., 1] > 125)
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), abs=3)
    assert np.ptp(rows) == pytest.approx(60, abs=2)
    sink = record(path, tmp_path / "out.mp4")
    assert frames_of(sink.path)[0][1].shape == (72, 180, 3)


@pytest.mark.parametrize(("pixel_format", "codec"), [
    ("gray", "ffv1"), ("gray10le", "ffv1"), ("yuv422p", "libx264"), ("yuv444p", "libx264"), ("yuv420p10le", "libx265"),
    ("yuv422p10le", "libx264"), ("yuvj420p", "mjpeg"), ("bgr0", "ffv1"), ("gbrp", "ffv1"), ("pal8", "png"),
])  # fmt: skip
def test_pixel_formats_look_as_ffmpeg_shows_them(tmp_path, pixel_format, codec):
    ramp = np.zeros((48, 96, 3), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = 60, np.linspace(20, 230, 96), np.linspace(230, 20, 48)[:, None]
    quiet = ["-x265-params", "log-level=none"] if codec == "libx265" else []
    quality = ["-qp", 4] if codec.startswith("libx26") else ["-q:v", 2]
    path = write_raw(
        tmp_path / "in.mkv", ramp[None], "bgr24", "-c:v", codec, *quiet, *quality, "-pix_fmt", pixel_format
    )
    image = frames_of(path)[0][1]
    shown = decoded_by_ffmpeg(path, (96, 48))
    assert np.abs(image.astype(int) - shown).mean() < 2
    assert cv2.PSNR(image, shown) > 38


def interlaced(path: Path) -> Path:
    """A bar that moves with each field, so that frames of two fields have teeth."""
    moments = np.full((50, 96, 160), 40, np.uint8)
    for index, image in enumerate(moments):
        image[:, 2 + index * 2 : 30 + index * 2] = 210
    frames = moments[::2].copy()
    frames[:, 1::2] = moments[1::2, 1::2]
    encoding = ["-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-top", 1, "-q:v", 2, "-pix_fmt", "yuv420p"]
    return write_raw(path, frames, "gray", *encoding)


def teeth(image: np.ndarray) -> float:
    """Returns how much rows differ from the mean of their neighbors."""
    rows = image[..., 1].astype(float)
    return np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()


def test_interlaced_frames_are_deinterlaced_one_for_one(tmp_path):
    path = interlaced(tmp_path / "in.mpg")
    ffmpeg(
        "-i", path, "-vf", "scale=160:96", "-c:v", "libx264", "-qp", 4, "-flags", "-ilme", tmp_path / "untreated.mp4"
    )
    frames = frames_of(path)
    assert len(frames) == 25
    assert [time for time, _ in frames] == pytest.approx([n / 25 for n in range(25)], abs=1e-4)
    untreated = frames_of(tmp_path / "untreated.mp4")
    assert max(teeth(image) for _, image in frames) < 1.5
    assert min(teeth(image) for _, image in untreated) > 3
    middles = [np.flatnonzero(image[48, :, 1] > 125).mean() for _, image in frames]
    assert np.diff(middles) == pytest.approx([4] * 24, abs=1.5)  # in order, each once


def test_progressive_frames_are_not_changed(tmp_path):
    path = write_clip(tmp_path / "in.mp4", frame_count=10)
    assert [number_of(image) for _, image in frames_of(path)] == list(range(10))


def test_the_curves_give_the_values_in_the_standards():
    assert nits_to_pq(203) == pytest.approx(0.58, abs=0.001)  # BT.2408-7, table 1
    assert hlg_to_nits(np.array([0.75, 1.0])) == pytest.approx([203, 1000], abs=0.5)  # BT.2408-7, table 1
    assert nits_to_pq(100) == pytest.approx(0.508, abs=0.001)  # ST 2084
    assert pq_to_nits(nits_to_pq(np.array([0.01, 1, 400, 10_000]))) == pytest.approx([0.01, 1, 400, 10_000])


def test_the_tone_curve_keeps_shadows_and_ends_at_white():
    nits = np.geomspace(0.01, 1000, 200)
    drawn = tone_curve(nits)
    assert drawn[nits < 90] == pytest.approx(nits[nits < 90], rel=1e-4)
    assert np.diff(drawn).min() > 0
    assert drawn[-1] == pytest.approx(203)
    assert tone_curve(np.array([4000.0])) == pytest.approx([203])


# (R, G, B) BT.709 light in cd/m2, below the tone curve's knee, so that the conversion must return it.
LIGHTS = [(80, 80, 80), (60, 20, 10), (10, 70, 15), (12, 18, 75), (5, 5, 5), (70, 60, 20)]
# ITU-R BT.2087-0, table 2.
BT709_TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def hdr_image(transfer: int) -> np.ndarray:
    """Vertical bars of ``LIGHTS`` as a BT.2020 signal of 16 bits, RGB, (64, 96, 3)."""
    light = np.array(LIGHTS) @ BT709_TO_BT2020.T
    if transfer == PQ:
        power = (light / 10_000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = (light / 1000) ** (1 / 1.2)
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-6)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    bars = np.rint(65535 * signal).astype(np.uint16)
    return np.ascontiguousarray(np.broadcast_to(bars[np.arange(96) * 6 // 96], (64, 96, 3)))


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "smpte2084"), (HLG, "arib-std-b67")])
def test_hdr_videos_are_converted_to_bt709(tmp_path, transfer, name):
    planar = ["-vf", "scale=out_color_matrix=bt2020:out_range=tv:flags=accurate_rnd+full_chroma_inp", "-c:v", "libx265"]
    encoding = [*planar, "-x265-params", "log-level=none:qp=2", "-pix_fmt", "yuv444p10le"]
    colors = ["-color_primaries", "bt2020", "-color_trc", name, "-colorspace", "bt2020nc", "-color_range", "tv"]
    path = write_raw(tmp_path / "hdr.mkv", hdr_image(transfer)[None], "rgb48le", *encoding, *colors)
    with VideoSource(path) as source:
        image = source.read().image
        assert source.notices == (f"{path} is HDR ({'PQ' if transfer == PQ else 'HLG'}): converted to BT.709",)
    for bar, light in enumerate(LIGHTS):
        expected = 255 * (np.array(light) / 203) ** (1 / 2.4)  # BT.1886, white at 203 cd/m2
        assert image[32, 16 * bar + 8, ::-1].astype(float) == pytest.approx(expected, abs=5)


def test_highlights_keep_their_order_and_end_in_white():
    signal = np.linspace(0, 65535, 256).astype(np.uint16)
    gray = np.repeat(signal[None, :, None], 3, axis=2)
    drawn = ToneMapper(PQ, 9).pixels_bgr(gray)[0]
    assert (drawn == drawn[:, :1]).all()  # gray stays gray
    assert np.diff(drawn[:, 0].astype(int)).min() >= 0
    assert (drawn[0, 0], drawn[-1, 0]) == (0, 255)


def test_wide_gamut_without_hdr_is_converted_to_bt709():
    assert needs_mapping(1, 9)
    assert not needs_mapping(1, 1)
    assert not needs_mapping(2, 2)  # unspecified
    signal = np.rint(65535 * (np.array([[0.4, 0.2, 0.1]]) @ BT709_TO_BT2020.T) ** (1 / 2.4)).astype(np.uint16)
    drawn = ToneMapper(1, 9).pixels_bgr(signal[None])[0, 0, ::-1]
    assert drawn.astype(float) == pytest.approx(255 * np.array([0.4, 0.2, 0.1]) ** (1 / 2.4), abs=1)


def test_frames_after_a_change_of_size_are_scaled_to_the_first_size(tmp_path):
    for name, size_wh in (("one.ts", (64, 48)), ("two.ts", (128, 96))):
        write_clip(tmp_path / name, frame_count=20, size_wh=size_wh)
    (tmp_path / "both.ts").write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    frames = frames_of(tmp_path / "both.ts")
    assert {image.shape for _, image in frames} == {(48, 64, 3)}
    assert [number_of(image) for _, image in frames] == [*range(20), *range(20)]
    assert cv2.PSNR(frames[-1][1], numbered_image(19)) > 20
