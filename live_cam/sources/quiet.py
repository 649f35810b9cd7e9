"""Keeps the warnings of OpenCV and its libraries away from the user, who gets our one line instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """No log line of OpenCV's inside the block; the level from before holds again after it."""
    level_before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level_before)
