"""A source of the images that any Python iterable yields."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from contextlib import ExitStack
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

import numpy as np

from live_cam.errors import SettingError
from live_cam.frame import Frame
from live_cam.sources.closable import ClosableSource
from live_cam.sources.image import as_bgr_image

# The denominator of 30000/1001 and the like is kept exactly.
_LARGEST_DENOMINATOR = 1001


class ImagesSource(ClosableSource):
    """Every image of an iterable, in order, at a constant frame rate.

    Images are copied, so that the caller may reuse its array for the next one. Not live: no image is skipped, and the
    iterable is read only as fast as the images are explained. A generator is closed with the source.

    Args:
        images: (height, width, 3) uint8 BGR arrays, paths or PIL images, all of one size. The first one is taken at
            once.
        frame_rate: Frames per second; frame n has the time n / ``frame_rate``.

    Raises:
        SettingError: ``images`` is not iterable, is empty, or yields something else (also raised by ``read``); or the
            frame rate is not above 0.
        SourceError: A path or PIL image cannot be read (also raised by ``read``).
    """

    name = "images"

    def __init__(self, images: Iterable[Any], frame_rate: float | Fraction = 30) -> None:
        super().__init__()
        self.rate: Fraction = _exact(frame_rate)
        self._index = 0
        if isinstance(images, str) or not isinstance(images, Iterable):
            raise SettingError(f"images: expected an iterable of images, got {images!r:.60}")
        self._iterator = iter(images)
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._first = self._next_image()
            if self._first is None:
                raise SettingError("images: expected at least one image, got none")
            on_failure.pop_all()
        self.size_wh = (self._first.shape[1], self._first.shape[0])
        if isinstance(images, Sized):
            self.frame_count_estimate = len(images)
            self.duration_seconds = float(len(images) / self.rate)

    def _next(self) -> Frame | None:
        image, self._first = self._first, None
        if image is None:
            image = self._next_image()
        if image is None:
            return None
        width, height = image.shape[1], image.shape[0]
        if (width, height) != self.size_wh:
            expected = f"{self.size_wh[0]}x{self.size_wh[1]}"
            raise SettingError(
                f"image {self._index}: expected the size of image 0, {expected}, got {width}x{height}; "
                "explain_many takes images of different sizes"
            )
        frame = Frame(image, self._index, float(self._index / self.rate))
        self._index += 1
        return frame

    def _next_image(self) -> np.ndarray | None:
        try:
            image = next(self._iterator)
        except StopIteration:
            return None
        return copied_image(image, self._index)

    def _free(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def copied_image(image: Any, index: int) -> np.ndarray:
    """Returns a copy of an image; see ``as_bgr_image`` for what is accepted.

    Args:
        image: What should be an image.
        index: Its number, for the error.

    Returns:
        (height, width, 3) uint8, BGR.

    Raises:
        SettingError: It is something else.
        SourceError: It is a path or a PIL image, and cannot be read.
    """
    try:
        return as_bgr_image(image).copy()
    except SettingError as error:
        raise SettingError(f"image {index}: {error}") from None


def _exact(frame_rate: Any) -> Fraction:
    if not isinstance(frame_rate, Real) or not 0 < float(frame_rate) < float("inf"):
        raise SettingError(f"frame_rate must be a number above 0, not {frame_rate!r}")
    exact = Fraction(frame_rate) if isinstance(frame_rate, Rational) else Fraction(float(frame_rate))
    return exact.limit_denominator(_LARGEST_DENOMINATOR) or exact
