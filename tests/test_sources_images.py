"""Images from Python: any iterable of them, and those that are pushed from another thread."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media_clips import number_of, numbered_image

from live_cam.errors import SettingError, SourceError
from live_cam.sources.images import ImagesSource
from live_cam.sources.push import PushSource

EXPECTED = r"expected a BGR image of shape \(height, width, 3\), uint8"
NO_IMAGES = [
    (None, "None"),
    ([[0]], "list"),
    (np.zeros((48, 64), np.uint8), r"\(48, 64\), uint8: convert gray images"),
    (np.zeros((48, 64, 4), np.uint8), r"\(48, 64, 4\), uint8: remove the alpha channel"),
    (np.zeros((48, 64, 3), np.float32), r"\(48, 64, 3\), float32: scale the values"),
    (np.zeros((1, 48, 64, 3), np.uint8), r"\(1, 48, 64, 3\), uint8: give the images of a batch one by one"),
    (np.zeros((0, 64, 3), np.uint8), r"\(0, 64, 3\), uint8: it is empty"),
]


class Images:
    """A generator of numbered images in one buffer, as a camera library would reuse it."""

    def __init__(self, count: int | None) -> None:
        self.taken_count = 0
        self.is_closed = False
        self.iterator = self._generate(count)

    def _generate(self, count: int | None) -> Iterator[np.ndarray]:
        buffer = np.zeros((48, 64, 3), np.uint8)
        try:
            for number in itertools.count() if count is None else range(count):
                buffer[:] = numbered_image(number)
                self.taken_count += 1
                yield buffer
        finally:
            self.is_closed = True


def test_every_image_is_a_frame_at_a_constant_rate():
    images = [numbered_image(number) for number in range(6)]
    with ImagesSource(images, frame_rate=Fraction(30000, 1001)) as source:
        assert (source.name, source.size_wh, source.rate) == ("images", (64, 48), Fraction(30000, 1001))
        assert (source.frame_count_estimate, source.is_live, source.is_still) == (6, False, False)
        assert source.duration_seconds == pytest.approx(6 * 1001 / 30000)
        frames = list(iter(source.read, None))
    assert [number_of(frame.image) for frame in frames] == list(range(6))
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.time_seconds for frame in frames] == pytest.approx([n * 1001 / 30000 for n in range(6)])


def test_a_generator_is_read_only_as_far_as_needed_and_its_buffer_is_copied():
    images = Images(count=None)
    with ImagesSource(images.iterator) as source:
        assert (images.taken_count, source.frame_count_estimate, source.duration_seconds) == (1, None, None)
        frames = [source.read() for _ in range(4)]
        assert images.taken_count == 4
        assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3]
        assert not images.is_closed
    assert images.is_closed
    assert source.read() is None


def test_one_array_of_many_images_is_an_iterable_of_them():
    with ImagesSource(np.stack([numbered_image(3), numbered_image(4)])) as source:
        assert [number_of(frame.image) for frame in iter(source.read, None)] == [3, 4]


def test_paths_are_read_as_images(tmp_path: Path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered_image(number))
    with ImagesSource(sorted(tmp_path.iterdir())) as source:
        assert [number_of(frame.image) for frame in iter(source.read, None)] == [0, 1, 2]
    with pytest.raises(SourceError, match=r"no such file: .*none.png"):
        ImagesSource([tmp_path / "none.png"])


def test_a_generator_that_is_running_is_closed_when_it_yields():
    is_waiting, may_continue = threading.Event(), threading.Event()
    is_closed = threading.Event()

    def generate() -> Iterator[np.ndarray]:
        try:
            yield numbered_image(0)
            is_waiting.set()
            may_continue.wait(10)
            yield numbered_image(1)
        finally:
            is_closed.set()

    source = ImagesSource(generate())
    reader = threading.Thread(target=lambda: list(iter(source.read, None)))
    reader.start()
    assert is_waiting.wait(10)
    source.close()  # raises "generator already executing" if it closes the generator here
    may_continue.set()
    assert is_closed.wait(10)
    reader.join(10)
    assert not reader.is_alive()


@pytest.mark.parametrize(("value", "shown"), NO_IMAGES)
def test_values_that_are_no_images_are_refused_with_their_index(value: Any, shown: str):
    with pytest.raises(SettingError, match=f"image 0: {EXPECTED}, got {shown}"):
        ImagesSource([value])
    with ImagesSource([numbered_image(0), value]) as source:
        assert source.read() is not None
        with pytest.raises(SettingError, match=f"image 1: {EXPECTED}, got {shown}"):
            source.read()


def test_a_generator_whose_first_value_is_refused_is_closed():
    is_closed = threading.Event()

    def generate() -> Iterator[Any]:
        try:
            yield None
        finally:
            is_closed.set()

    generator = generate()
    with pytest.raises(SettingError, match="image 0"):
        ImagesSource(generator)
    assert is_closed.is_set()


def test_an_image_of_another_size_is_refused():
    with ImagesSource([numbered_image(0), numbered_image(1, (32, 24))]) as source:
        source.read()
        with pytest.raises(SettingError, match="image 1: expected the size of image 0, 64x48, got 32x24; explain_many"):
            source.read()


@pytest.mark.parametrize(("images", "problem"), [
    ([], "images: expected at least one image, got none"),
    (None, "images: expected an iterable of images, got None"),
    (7, "images: expected an iterable of images, got 7"),
    ("clip.mp4", "images: expected an iterable of images, got 'clip.mp4'"),
])  # fmt: skip
def test_no_images_are_refused(images: Any, problem: str):
    with pytest.raises(SettingError, match=problem):
        ImagesSource(images)


@pytest.mark.parametrize("frame_rate", [0, -1, float("nan"), float("inf"), None, "25"])
def test_a_frame_rate_must_be_a_number_above_0(frame_rate: Any):
    with pytest.raises(SettingError, match="frame_rate must be a number above 0, not "):
        ImagesSource([numbered_image(0)], frame_rate)


@pytest.mark.parametrize(("frame_rate", "rate"), [
    (30, 30), (np.float32(25), 25), (29.97, Fraction(2997, 100)), (1e-5, Fraction(1e-5)),
])  # fmt: skip
def test_a_frame_rate_may_be_any_number(frame_rate: Any, rate: Fraction):
    assert ImagesSource([numbered_image(0)], frame_rate).rate == rate


def test_an_error_in_a_generator_is_the_callers():
    def generate() -> Iterator[np.ndarray]:
        yield numbered_image(0)
        raise ZeroDivisionError("in the caller's code")

    with ImagesSource(generate()) as source:
        source.read()
        with pytest.raises(ZeroDivisionError, match="in the caller's code"):
            source.read()


def test_the_newest_pushed_image_is_read_and_replaced_ones_are_gaps():
    with PushSource("visitor", (64, 48)) as source:
        assert (source.name, source.size_wh, source.is_live, source.rate) == ("visitor", (64, 48), True, None)
        before_seconds = time.monotonic()
        buffer = np.zeros((48, 64, 3), np.uint8)
        for number in range(3):
            buffer[:] = numbered_image(number)
            source.push(buffer)
        buffer[:] = 0
        first = source.read()
        source.push(numbered_image(3))
        second = source.read()
    assert [(number_of(frame.image), frame.index) for frame in (first, second)] == [(2, 2), (3, 3)]
    assert before_seconds < first.time_seconds <= second.time_seconds < time.monotonic()


def test_a_reader_waits_for_the_next_push_and_sees_each_image_once():
    source, frames, has_read = PushSource("visitor", (64, 48)), [], threading.Semaphore(0)

    def read() -> None:
        for frame in iter(source.read, None):
            frames.append(frame)
            has_read.release()

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        source.push(numbered_image(number))
        assert has_read.acquire(timeout=10)
    assert reader.is_alive()
    source.close()  # wakes the reader
    reader.join(10)
    assert not reader.is_alive()
    assert [number_of(frame.image) for frame in frames] == list(range(50))


def test_pushing_never_waits_for_a_reader():
    source = PushSource("visitor", (64, 48))
    pusher = threading.Thread(target=lambda: [source.push(numbered_image(number)) for number in range(200)])
    pusher.start()
    pusher.join(10)
    assert not pusher.is_alive()
    assert source.read().index == 199


def test_a_push_after_close_does_nothing():
    source = PushSource("visitor", (64, 48))
    source.push(numbered_image(0))
    source.close()
    source.push(numbered_image(1))
    source.close()
    assert source.read() is None


@pytest.mark.parametrize(("value", "shown"), NO_IMAGES)
def test_pushed_values_that_are_no_images_are_refused(value: Any, shown: str):
    with PushSource("visitor", (64, 48)) as source:
        source.push(numbered_image(0))
        with pytest.raises(SettingError, match=f"image 1: {EXPECTED}, got {shown}"):
            source.push(value)
