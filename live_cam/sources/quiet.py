"""Keeps the warnings of OpenCV and its libraries away from the user, who gets our one line instead."""

from __future__ import annotations

import contextlib
import os
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


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """No line of the libraries below OpenCV either: libpng and libjpeg write straight to file descriptor 2."""
    try:
        kept = os.dup(2)
    except OSError:  # started with a closed stderr: nothing can come out
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
