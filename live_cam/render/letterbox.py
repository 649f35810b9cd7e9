"""Fits images into a canvas or a size."""

from __future__ import annotations

import cv2
import numpy as np


def letterbox(
    image: np.ndarray, size_wh: tuple[int, int], out: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Draws an image, in the largest size that fits, in the center of a black canvas.

    Args:
        image: (height, width, 3) uint8, BGR; not changed.
        size_wh: Width and height of the canvas.
        out: An earlier canvas, which is overwritten and returned if it has this size. Default: a new one.

    Returns:
        The canvas, (height, width, 3) uint8, BGR; and where the image lies on it: left, top, width, height in pixels.
    """
    width, height = size_wh
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_wh = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    left, top = (width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2
    canvas = out if out is not None and out.shape[:2] == (height, width) else np.empty((height, width, 3), np.uint8)
    right, bottom = left + inner_wh[0], top + inner_wh[1]
    canvas[:top], canvas[bottom:], canvas[top:bottom, :left], canvas[top:bottom, right:] = 0, 0, 0, 0
    target = canvas[top:bottom, left:right]
    if target.shape == image.shape:
        np.copyto(target, image)
    else:
        cv2.resize(image, inner_wh, dst=target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return canvas, (left, top, *inner_wh)


def reduced(image: np.ndarray, longest_side_px: int) -> np.ndarray:
    """Returns the image with at most that many pixels on its longest side, the image itself if it has no more.

    Args:
        image: (height, width, 3) uint8.
        longest_side_px: 1 or more.
    """
    height, width = image.shape[:2]
    scale = longest_side_px / max(height, width)
    if scale >= 1:
        return image
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
