"""Pictures of one size in the frames of another."""

from __future__ import annotations

import cv2
import numpy as np

from live_cam.frame import Frame


def letterboxed(frame: Frame, size_wh: tuple[int, int]) -> Frame:
    """The frame, whole, as large as it can be, in the middle of black; itself where it has that size.

    Args:
        frame: Of any size.
        size_wh: Wanted width and height.
    """
    height, width = frame.image.shape[:2]
    if (width, height) == size_wh:
        return frame
    share = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(1, round(width * share)), max(1, round(height * share)))
    left, top = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    room = image[top : top + inner_wh[1], left : left + inner_wh[0]]
    cv2.resize(frame.image, inner_wh, dst=room, interpolation=cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR)
    return Frame(image, frame.index, frame.time_seconds)
