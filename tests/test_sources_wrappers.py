"""Sources that change another source: repeated, verified, resized."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from media_clips import number_of, numbered_image, write_clip

from live_cam.errors import SourceError
from live_cam.settings import SourceSettings
from live_cam.sources.images import ImagesSource
from live_cam.sources.open import open_source
from live_cam.sources.protocol import Outage
from live_cam.sources.video import ResumePoint, VideoSource
from live_cam.sources.wrappers import ExpectedFrames, LoopedSource, ResizedSource, VerifiedVideoSource, WrappedSource

TIMES_SECONDS = np.arange(5) / 25


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", frame_count=5)


def expected(count: int = 5, size_wh: tuple[int, int] = (64, 48), are_first: bool = False) -> ExpectedFrames:
    return ExpectedFrames(Path("maps.npz"), size_wh, np.arange(count) / 25, are_first)


def test_a_loop_continues_to_count(clip: Path):
    with open_source(SourceSettings(video=str(clip), loop=True)) as source:
        assert (source.size_wh, source.rate, source.frame_count_estimate) == ((64, 48), 25, None)
        assert (source.duration_seconds, source.aux_tracks(ends_with_frames=False)) == (None, None)
        frames = [source.read() for _ in range(12)]
        assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
        assert [frame.index for frame in frames] == list(range(12))
        assert [frame.time_seconds for frame in frames] == pytest.approx([index / 25 for index in range(12)])
        source.close()
        assert source.read() is None


def test_a_loop_of_a_part_repeats_the_part(tmp_path: Path):
    path = write_clip(tmp_path / "clip.mp4", frame_count=25)
    settings = SourceSettings(video=str(path), start_seconds=0.4, end_seconds=0.52, loop=True)
    with open_source(settings) as source:
        frames = [source.read() for _ in range(7)]
    assert [number_of(frame.image) for frame in frames] == [10, 11, 12, 10, 11, 12, 10]
    assert np.diff([frame.time_seconds for frame in frames]) == pytest.approx(1 / 25)


def test_a_resumed_loop_repeats_the_whole(clip: Path):
    with open_source(SourceSettings(video=str(clip), loop=True), resume_at=ResumePoint(3, 3 / 25)) as source:
        assert [number_of(source.read().image) for _ in range(4)] == [3, 4, 0, 1]


def test_expected_frames_are_passed_on(clip: Path):
    with open_source(SourceSettings(video=str(clip)), expected=expected()) as source:
        assert source.frame_count_estimate == 5
        assert [number_of(frame.image) for frame in iter(source.read, None)] == [0, 1, 2, 3, 4]


def test_frames_behind_the_expected_ones_are_left_out_if_those_are_only_the_first(clip: Path):
    with open_source(SourceSettings(video=str(clip)), expected=expected(3, are_first=True)) as source:
        assert [number_of(frame.image) for frame in iter(source.read, None)] == [0, 1, 2]


@pytest.mark.parametrize(("count", "start_seconds", "difference"), [
    (4, None, "it has more than 4 frames"),
    (6, None, "it ends after 5 frames, not 6"),
    (5, 0.04, r"its frame 0 is at 0.040 s, not 0.000 s"),
])  # fmt: skip
def test_other_frames_than_expected_are_an_error(clip: Path, count: int, start_seconds: float | None, difference: str):
    settings = SourceSettings(video=str(clip), start_seconds=start_seconds)
    message = f"maps.npz was not made from .*clip.mp4: {difference}; give the right video"
    with open_source(settings, expected=expected(count)) as source, pytest.raises(SourceError, match=message):
        list(iter(source.read, None))


def test_a_video_of_another_size_than_expected_is_refused_and_closed(clip: Path):
    source = VideoSource(clip)
    with pytest.raises(SourceError, match="its frames are 64x48, not 32x24"):
        VerifiedVideoSource(source, expected(size_wh=(32, 24)))
    assert source.read() is None


def test_closing_early_is_not_taken_for_missing_frames(clip: Path):
    with open_source(SourceSettings(video=str(clip)), expected=expected()) as source:
        source.close()
        assert source.read() is None


def test_images_are_resized_to_one_size():
    source = ImagesSource([numbered_image(5, (64, 48)), numbered_image(6, (64, 48))])
    with ResizedSource(source, (128, 32)) as resized:
        assert resized.size_wh == (128, 32)
        frames = list(iter(resized.read, None))
    assert [frame.image.shape for frame in frames] == [(32, 128, 3)] * 2
    assert [(number_of(frame.image), frame.index) for frame in frames] == [(5, 0), (6, 1)]


@pytest.mark.parametrize("wrap", [
    WrappedSource,
    lambda source: ResizedSource(source, (64, 48)),
    lambda source: VerifiedVideoSource(source, expected()),
    lambda source: LoopedSource(source, lambda: source),
])  # fmt: skip
def test_wrappers_pass_on_what_the_source_says(wrap: Callable[[ImagesSource], WrappedSource]):
    source = ImagesSource([numbered_image(0)])
    source.notices = ("the camera gives 64x48",)
    wrapped = wrap(source)
    assert (wrapped.name, wrapped.rate, wrapped.size_wh) == ("images", 30, (64, 48))
    assert wrapped.notices == ("the camera gives 64x48",)
    assert (wrapped.reconnects, wrapped.outage) == (0, None)
    source.reconnects, source.outage = 2, Outage(1.0, "no answer")
    assert (wrapped.reconnects, wrapped.outage) == (2, Outage(1.0, "no answer"))


def test_a_verified_or_resized_video_keeps_its_sound(clip: Path):
    for wrapped in (VerifiedVideoSource(VideoSource(clip), expected()), ResizedSource(VideoSource(clip), (32, 32))):
        with wrapped, wrapped.aux_tracks(ends_with_frames=True) as tracks:
            assert tracks.ends_with_frames
