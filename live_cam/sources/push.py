"""A live source whose images are pushed into it, such as those of a browser's camera."""

from __future__ import annotations

import threading
import time

import numpy as np

from live_cam.frame import Frame
from live_cam.sources.images import copied_image
from live_cam.sources.protocol import Source


class PushSource(Source):
    """Hands over the newest pushed image, each at most once.

    Args:
        name: What the user would recognize.
        size_wh: Width and height of its first images in pixels; later ones may have another size.
    """

    is_live = is_awaited = True

    def __init__(self, name: str, size_wh: tuple[int, int]) -> None:
        self.name, self.size_wh = name, size_wh
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._pushed_count = 0
        self._is_closed = False

    def push(self, image: np.ndarray) -> int:
        """Puts an image in place of one that was not read yet; returns its number. Never waits.

        After ``close``, it does nothing.

        Args:
            image: (height, width, 3) uint8, BGR; copied.

        Raises:
            SettingError: It is something else.
        """
        image = copied_image(image, self._pushed_count)
        with self._changed:
            if not self._is_closed:
                self._newest = Frame(image, self._pushed_count, time.monotonic())
                self._pushed_count += 1
                self._changed.notify_all()
            return self._pushed_count - 1

    def read(self) -> Frame | None:
        """Returns the newest image, waiting for one; None after ``close``.

        The index counts pushed images, so images that were replaced show as gaps.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._newest is not None)
            frame, self._newest = self._newest, None
            return frame

    def close(self) -> None:
        """Ends the source and wakes a ``read`` that waits."""
        with self._changed:
            self._is_closed, self._newest = True, None
            self._changed.notify_all()
