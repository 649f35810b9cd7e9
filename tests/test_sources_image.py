"""Images are read as viewers show them: upright, 8 bits a channel, on white where they are transparent."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from live_cam.errors import SourceError
from live_cam.settings import SourceSettings
from live_cam.sources.image import ImageSource, exif_orientation, to_eight_bits
from live_cam.sources.open import open_source

GRADIENT = np.dstack([np.tile(np.arange(0, 240, 10, np.uint8), (16, 1))] * 3) + np.uint8([0, 5, 10])


def read(path: Path) -> np.ndarray:
    with ImageSource(path) as source:
        return source.read().image


def written(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def test_an_image_is_one_frame_at_time_0(tmp_path):
    path = written(tmp_path / "image.png", GRADIENT)
    with open_source(SourceSettings(image=str(path), loop=True)) as source:  # an image is not looped
        assert (source.size_wh, source.is_still, source.is_live, source.rate) == ((24, 16), True, False, None)
        frame = source.read()
        assert (frame.index, frame.time_seconds) == (0, 0.0)
        np.testing.assert_array_equal(frame.image, GRADIENT)
        assert source.read() is None


@pytest.mark.parametrize(("suffix", "loss"), [
    (".png", 0), (".bmp", 0), (".tiff", 0), (".ppm", 0), (".webp", 4), (".jpg", 4), (".gif", 30),
])  # fmt: skip
def test_common_formats_are_read(tmp_path, suffix, loss):
    image = read(written(tmp_path / f"image{suffix}", GRADIENT))
    assert image.shape == GRADIENT.shape
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - GRADIENT).mean() <= loss


def test_names_in_any_script_are_read(tmp_path):
    np.testing.assert_array_equal(read(written(tmp_path / "кошка 猫 é.png", GRADIENT)), GRADIENT)


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read(written(tmp_path / "gray.png", GRADIENT[..., 0]))
    np.testing.assert_array_equal(image, np.dstack([GRADIENT[..., 0]] * 3))


@pytest.mark.parametrize(("kind", "sixteen_bits", "expected"), [
    ("16 bits", [0, 257 * 77, 65535], [0, 77, 255]),
    ("12 bits in 16", [0, 2048, 4095], [0, 128, 255]),  # 2048 / 4095 * 255 = 127.53
    ("10 bits in 16", [0, 512, 1023], [0, 128, 255]),  # 512 / 1023 * 255 = 127.6
    ("a black image", [0, 20, 200], [0, 0, 1]),
])  # fmt: skip
def test_16_bit_images_are_scaled_by_their_depth(tmp_path, kind, sixteen_bits, expected):
    image = read(written(tmp_path / "deep.png", np.uint16([sixteen_bits])))
    assert image[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("values", "expected"), [
    ([0.0, 0.5, 1.0], [0, 128, 255]),  # 127.5 rounds to even
    ([0.0, 127.0, 255.0], [0, 127, 255]),
    ([-3.0, 50.0, 500.0 * 65535], [0, 0, 255]),
    ([np.nan, np.inf, 1.0], [0, 0, 255]),
])  # fmt: skip
def test_floats_have_a_full_scale_of_1_or_more(values, expected):
    assert to_eight_bits(np.float32([values])).tolist() == [expected]


def test_transparent_parts_are_blended_with_white(tmp_path):
    blue = np.zeros((1, 3, 4), np.uint8)
    blue[..., 0] = 200
    blue[0, :, 3] = [0, 51, 255]  # 51 / 255 = 0.2
    # 0.2 * 200 + 0.8 * 255 = 244, 0.8 * 255 = 204
    expected = [[255, 255, 255], [244, 204, 204], [200, 0, 0]]
    assert read(written(tmp_path / "blue.png", blue))[0].tolist() == expected


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, color_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_gray_with_alpha_is_blended_with_white(tmp_path):
    path = tmp_path / "gray.png"
    path.write_bytes(png(2, 1, 4, bytes([0, 100, 255, 100, 0])))  # filter byte, then gray and alpha
    assert read(path)[0].tolist() == [[100] * 3, [255] * 3]


def with_exif_orientation(jpeg: bytes, orientation: int, order: str) -> bytes:
    byte_order = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + byte_order + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_come_out_upright(tmp_path, orientation, order):
    path = tmp_path / "photo.jpg"
    jpeg = cv2.imencode(".jpg", GRADIENT[:, ::-1].copy())[1].tobytes()
    path.write_bytes(with_exif_orientation(jpeg, orientation, order))
    np.testing.assert_array_equal(
        read(path), cv2.imread(str(path), cv2.IMREAD_COLOR)
    )  # with this flag OpenCV applies the orientation


def test_invalid_exif_means_upright():
    for exif in (b"", b"Exif\0\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x05", b"no exif at all"):
        assert exif_orientation(exif) == 1


def test_files_that_are_no_images_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("These are words.")
    (tmp_path / "cut.png").write_bytes(png(500, 500, 2, bytes(1000)))
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", GRADIENT)[1].tobytes()[:150])
    (tmp_path / "huge.png").write_bytes(png(70_000, 70_000, 2, bytes(1000)))
    reasons = {
        "none.png": "no such file: ",
        "": "is a directory, not an image",
        "empty.png": "is empty: 0 bytes",
        "text.png": "is not an image that OpenCV can read",
        "cut.png": "is not an image that OpenCV can read",
        "cut.jpg": "is not an image that OpenCV can read",
        "huge.png": "is too large an image",
    }
    for name, reason in reasons.items():
        with pytest.raises(SourceError, match=reason) as raised:
            ImageSource(tmp_path / name)
        assert "\n" not in str(raised.value)
