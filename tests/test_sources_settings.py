"""What users write for a source, and the settings that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media_clips import write_clip

from live_cam.errors import SettingError
from live_cam.settings import CameraSettings, RetrySettings, SourceSettings
from live_cam.sources.open import kind_of, source_settings_for


@pytest.mark.parametrize(("text", "retry"), [
    (None, RetrySettings(None, at_start=False)), ("forever", RetrySettings(None, at_start=True)),
    ("0", RetrySettings(0, at_start=True)), ("7", RetrySettings(7, at_start=True)),
])  # fmt: skip
def test_retry_is_a_number_or_forever(text: str | None, retry: RetrySettings):
    assert RetrySettings.parse(text) == retry


@pytest.mark.parametrize("text", ["-1", "often", "1.5", "", "²"])
def test_other_values_of_retry_are_refused(text: str):
    with pytest.raises(SettingError, match="a number, 0 or more, or the word forever"):
        RetrySettings.parse(text)


def test_a_camera_size_is_width_x_height():
    assert CameraSettings.parse("1280x720", 60) == CameraSettings((1280, 720), 60)
    assert CameraSettings.parse(None, None) == CameraSettings()


@pytest.mark.parametrize("size", ["1280", "1280x", "0x720", "-1x5", "1280x720x3", "HD"])
def test_other_camera_sizes_are_refused(size: str):
    with pytest.raises(SettingError, match="the camera size is width x height, such as 1280x720"):
        CameraSettings.parse(size, None)


@pytest.mark.parametrize("fps", [0.0, -5.0, float("nan"), float("inf")])
def test_a_camera_rate_must_be_above_0(fps: float):
    with pytest.raises(SettingError, match="the camera's frame rate must be a number above 0"):
        CameraSettings.parse(None, fps)


@pytest.mark.parametrize(("source", "settings"), [
    (0, SourceSettings(webcam=0)),
    (np.int64(2), SourceSettings(webcam=2)),
    ("rtsp://10.0.0.7/live.jpg", SourceSettings(video="rtsp://10.0.0.7/live.jpg")),
    ("https://example.org/clip.mp4", SourceSettings(video="https://example.org/clip.mp4")),
    ("clip.mp4", SourceSettings(video="clip.mp4")),
    (Path("folder") / "clip", SourceSettings(video=str(Path("folder") / "clip"))),
    ("loop.gif", SourceSettings(video="loop.gif")),
    ("photo.JPG", SourceSettings(image="photo.JPG")),
    (Path("photo.webp"), SourceSettings(image="photo.webp")),
    ("file:///home/anna/photo.png", SourceSettings(image="/home/anna/photo.png")),
    ("0", SourceSettings(video="0")),
])  # fmt: skip
def test_one_value_says_what_the_source_is(source: Any, settings: SourceSettings):
    assert source_settings_for(source) == settings
    assert settings.webcam is None or type(source_settings_for(source).webcam) is int


def test_a_word_is_a_camera_a_video_or_images(tmp_path: Path):
    image = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    for name, content in {
        "photo": image,
        "photo.dat": image,
        "text": b"GIF",
        "0": image,
        "moving.gif": b"GIF89a",
    }.items():
        (tmp_path / name).write_bytes(content)
    write_clip(tmp_path / "clip.mp4", frame_count=2)
    kinds = {
        "0": "webcam", "12": "webcam", str(tmp_path / "0"): "images", "\N{SUPERSCRIPT TWO}": "video",
        "rtsp://10.0.0.7/live": "video", "http://10.0.0.7/photo.jpg": "video", "file:///photo.jpg": "images",
        "missing.jpg": "images", "missing.JPEG": "images", "missing.mp4": "video", "missing.gif": "video",
        str(tmp_path): "images", str(tmp_path / "photo"): "images", str(tmp_path / "photo.dat"): "images",
        str(tmp_path / "text"): "video", str(tmp_path / "moving.gif"): "video", str(tmp_path / "clip.mp4"): "video",
    }  # fmt: skip
    assert {word: kind_of(word) for word in kinds} == kinds
    assert source_settings_for(tmp_path / "photo") == SourceSettings(image=str(tmp_path / "photo"))


@pytest.mark.parametrize(("source", "shown"), [
    (None, "None"), (True, "True"), (-1, "-1"), (1.0, "1.0"), (b"clip.mp4", "b'clip.mp4'"), (["clip.mp4"], r"\['clip"),
])  # fmt: skip
def test_values_that_are_no_source_are_refused(source: Any, shown: str):
    with pytest.raises(SettingError, match=f"source: expected a camera's index, a path or a URL, got {shown}"):
        source_settings_for(source)


@pytest.mark.parametrize(("settings", "is_remote_or_camera", "is_known_live"), [
    (SourceSettings(webcam=0), True, True),
    (SourceSettings(video="rtsp://10.0.0.7/live"), True, True),
    (SourceSettings(video="http://10.0.0.7/live"), True, False),  # may be a recording
    (SourceSettings(video="file:///home/anna/clip.mp4"), False, False),
    (SourceSettings(video="clip.mp4"), False, False),
    (SourceSettings(), False, False),
])  # fmt: skip
def test_what_is_known_before_a_source_is_opened(
    settings: SourceSettings, is_remote_or_camera: bool, is_known_live: bool
):
    assert (settings.is_remote_or_camera, settings.is_known_live) == (is_remote_or_camera, is_known_live)
