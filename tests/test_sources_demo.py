"""The demo video."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from live_cam.errors import SourceError
from live_cam.settings import SourceSettings
from live_cam.sources import demo
from live_cam.sources.demo import DemoSource
from live_cam.sources.open import open_source


def test_the_demo_is_a_video_of_ten_seconds():
    with open_source(SourceSettings()) as source:
        assert (source.size_wh, source.rate, source.frame_count_estimate) == ((640, 360), 25, 250)
        assert (source.is_live, source.is_still, source.duration_seconds) == (False, False, 10.0)
        frames = list(iter(source.read, None))
    assert [frame.index for frame in frames] == list(range(250))
    assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(250)])
    assert {frame.image.shape for frame in frames} == {(360, 640, 3)}
    changes = [np.abs(b.image.astype(int) - a.image).mean() for a, b in zip(frames, frames[1:], strict=False)]
    assert min(changes[5:-5]) > 0.02  # it always moves, except where a move begins and ends
    assert max(changes) < 20  # and never jumps; a hard cut between two photographs changes 40 and more


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
    views = [
        demo._View((0.5 + quarters / 4 / 1024, 0.5), 1.6) for quarters in range(9)
    ]  # 1.6 * 640 / 1024 = 1: full size
    white_pixels = [demo.show(half_white, view)[180, :, 0].sum() / 255 for view in views]
    assert white_pixels[0] == pytest.approx(320, abs=0.02)  # the center stays the center
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


def test_a_part_of_the_demo_has_its_own_numbers_and_the_demo_s_times():
    with DemoSource(9.0, 9.2) as part, DemoSource() as whole:
        frames = list(iter(part.read, None))
        images = [frame.image for frame in iter(whole.read, None)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_seconds for frame in frames] == pytest.approx([9.0, 9.04, 9.08, 9.12, 9.16])
    assert (part.frame_count_estimate, part.duration_seconds) == (5, pytest.approx(0.2))
    assert all((frame.image == images[225 + frame.index]).all() for frame in frames)
