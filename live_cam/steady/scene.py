"""Whether two frames show the same scene, told from a few hundred pixels of what the network sees."""

from __future__ import annotations

import numpy as np

_SAMPLES_A_SIDE = 28
_STEPS_A_CHANNEL = 4

# Of real films at 25 frames a second, frames in a row came to 14 and 0.12 at most; of 552 pairs of different
# photographs, 97 % lie above both. Both are asked for: a pan changes the pixels and not the colours, a lamp the colours
# and few pixels. A cut that is missed costs little: what was before fades within a few frames.
_CUT_PIXEL_DIFFERENCE = 25.0
_CUT_COLOUR_DIFFERENCE = 0.3


def samples_of(pixels: np.ndarray) -> np.ndarray:
    """Some 28 x 28 of the network's pixels, evenly spread.

    Args:
        pixels: (1, h, w, 3) uint8, BGR; not kept.

    Returns:
        (rows, columns, 3) uint8, BGR.
    """
    step_y, step_x = (max(1, size // _SAMPLES_A_SIDE) for size in pixels.shape[1:3])
    return pixels[0, step_y // 2 :: step_y, step_x // 2 :: step_x].copy()


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether another scene has begun.

    Args:
        before: What ``samples_of`` gave for the frame before.
        after: For this frame.
    """
    if before.shape != after.shape:
        return True
    if np.abs(before.astype(np.int16) - after).mean() < _CUT_PIXEL_DIFFERENCE:
        return False
    return float(np.abs(_colour_shares(before) - _colour_shares(after)).sum() / 2) >= _CUT_COLOUR_DIFFERENCE


def _colour_shares(samples: np.ndarray) -> np.ndarray:
    """Share of the samples in each of 64 coarse colours: (64,) float64."""
    steps = (samples // (256 // _STEPS_A_CHANNEL)).astype(np.intp)
    colours = (steps[..., 0] * _STEPS_A_CHANNEL + steps[..., 1]) * _STEPS_A_CHANNEL + steps[..., 2]
    return np.bincount(colours.ravel(), minlength=_STEPS_A_CHANNEL**3) / colours.size
