"""The demo film, endless repetition, and what is said where there is no camera."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_clips import number_of, write_clip

from live_cam.errors import SourceError
from live_cam.sources import camera, demo, open_source
from live_cam.sources.camera import CameraSource, found_cameras
from live_cam.sources.demo import DemoSource
from live_cam.sources.loop import LoopedSource
from live_cam.sources.video import VideoSource


def test_the_demo_is_ten_seconds_of_film():
    with open_source() as source:
        assert (source.size_wh, source.rate, source.frame_count_estimate) == ((640, 360), 25, 250)
        assert (source.is_live, source.is_still, source.duration_seconds) == (False, False, 10.0)
        frames = list(iter(source.read, None))
    assert [frame.index for frame in frames] == list(range(250))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(250)])
    assert {frame.image.shape for frame in frames} == {(360, 640, 3)}
    changes = [np.abs(b.image.astype(int) - a.image).mean() for a, b in zip(frames, frames[1:], strict=False)]
    assert min(changes[5:-5]) > 0.02  # it always moves, except where a move begins and ends
    assert max(changes) < 20  # and never jumps: a hard cut between two photographs changes 40 and more


def test_the_demo_shows_no_border():
    ramp = np.linspace(20, 230, 450)
    photograph = np.dstack([np.tile(ramp, (300, 1)), np.tile(ramp[:300, None], (1, 450)), np.zeros((300, 450))])
    for view in [view for shot in demo._SHOTS for view in (shot.first, shot.last)]:
        shown = demo.show(photograph.astype(np.uint8), view).astype(int)
        # Beyond a border the last column or row would stand still, or be black.
        assert min(shown[180, 12, 0] - shown[180, 0, 0], shown[180, -1, 0] - shown[180, -13, 0]) >= 1
        assert min(shown[12, 320, 1] - shown[0, 320, 1], shown[-1, 320, 1] - shown[-13, 320, 1]) >= 1


def test_the_demo_pans_by_fractions_of_a_pixel():
    half_white = np.zeros((576, 1024, 3), np.uint8)
    half_white[:, 512:] = 255
    views = [demo._View((0.5 + quarters / 4 / 1024, 0.5), 1.6) for quarters in range(9)]  # 1.6 * 640 / 1024: 1 to 1
    white_pixels = [demo.show(half_white, view)[180, :, 0].sum() / 255 for view in views]
    assert white_pixels[0] == pytest.approx(320, abs=0.02)  # the middle stays the middle
    assert np.diff(white_pixels) == pytest.approx(0.25, abs=0.02)
    closer = demo.show(half_white, demo._View((0.5, 0.5), 3.2))
    assert closer[180, :, 0].sum() / 255 == pytest.approx(320, abs=0.02)


def test_the_demo_without_photographs_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r'pip install "\.\[demo\]"'):
        DemoSource()


def test_the_demo_does_not_import_scikit_image():
    program = (
        "import sys\nfrom live_cam.sources.demo import DemoSource\nDemoSource().read()\nprint('skimage' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_loop_goes_on_counting(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=5, rate=Fraction(25))
    with LoopedSource(lambda: VideoSource(path)) as source:
        assert (source.size_wh, source.rate, source.frame_count_estimate) == ((64, 48), 25, None)
        frames = [source.read() for _ in range(12)]
        assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
        assert [frame.index for frame in frames] == list(range(12))
        assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(12)])
        source.close()
        assert source.read() is None


def test_a_loop_of_a_part_repeats_the_part(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=25)
    with LoopedSource(lambda: VideoSource(path, start_seconds=0.4, end_seconds=0.52)) as source:
        frames = [source.read() for _ in range(7)]
    assert [number_of(frame.image) for frame in frames] == [10, 11, 12, 10, 11, 12, 10]
    assert np.diff([frame.time_seconds for frame in frames]) == pytest.approx(1 / 25)


def test_a_camera_that_is_not_there_is_told_in_one_line():
    program = (
        "from live_cam.errors import SourceError\nfrom live_cam.sources.camera import CameraSource\n"
        "try: CameraSource(61)\nexcept SourceError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "camera 61" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no /dev/videoN")
def test_linux_lists_its_cameras():
    listed = found_cameras()
    assert listed == sorted(set(listed))
    assert all(Path(f"/dev/video{index}").exists() for index in listed)


class ScriptedCapture:
    """Stands in for a device, which no test machine has: gives the images of a list, then fails."""

    def __init__(self, images):
        self.images, self.released = list(images), False

    def isOpened(self):  # noqa: N802
        return True

    def set(self, name, value):
        return True

    def read(self):
        image = self.images.pop(0) if self.images else None
        return image is not None, image

    def release(self):
        self.released = True


def test_a_camera_that_stops_is_an_error_and_is_given_back(monkeypatch):
    picture = np.zeros((48, 64, 3), np.uint8)
    capture = ScriptedCapture([picture, picture, None, picture])
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: capture)
    monkeypatch.setattr(camera, "_PAUSE_SECONDS", 0)
    with CameraSource(0) as source:
        assert (source.size_wh, source.is_live, source.rate, source.name) == ((64, 48), True, None, "camera 0")
        first, second = source.read(), source.read()  # one failed read in between is forgiven
        assert (first.index, second.index) == (0, 1)
        assert first.time_seconds <= second.time_seconds
        with pytest.raises(SourceError, match="camera 0 gives no frames any more"):
            source.read()
    assert capture.released


def test_a_camera_without_a_picture_is_given_back_when_it_is_opened(monkeypatch):
    capture = ScriptedCapture([])
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: capture)
    with pytest.raises(SourceError, match="camera 0"):
        CameraSource(0)
    assert capture.released
