"""Score-CAM, the one method that needs no gradient and a forward pass for each channel: seconds for one picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def score_cam(
    activations: np.ndarray,
    pixels: np.ndarray,
    neutral_bgr: tuple[float, float, float],
    probability_of: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Score-CAM (Wang et al. 2020, algorithm 1, arXiv:1910.01279).

    A channel's weight is how probable the class is in the picture seen through that channel alone: its map, enlarged
    and stretched to [0, 1], masks the picture. The paper takes the softmax of the channels' scores; of log
    probabilities that is the probability's share, which is also what its authors' code weighs by. Channels whose map is
    the same everywhere mask nothing and are left out.

    Args:
        activations: (h, w, channels) float32, the target layer's output for the whole picture.
        pixels: (1, height, width, 3) uint8, BGR.
        neutral_bgr: The colour the network sees as zero: what is masked out becomes it.
        probability_of: The class's probability for such pixels.

    Returns:
        (h, w) float32, >= 0.
    """
    height, width = pixels.shape[1:3]
    neutral = np.array(neutral_bgr, np.float32)
    weights = np.zeros(activations.shape[-1], np.float32)
    for channel in range(activations.shape[-1]):
        one_map = activations[..., channel]
        lowest, spread = float(one_map.min()), float(np.ptp(one_map))
        if spread > 0:
            mask = cv2.resize((one_map - lowest) / spread, (width, height), interpolation=cv2.INTER_LINEAR)
            masked = neutral + (pixels - neutral) * mask[..., np.newaxis]
            weights[channel] = probability_of(np.rint(masked).astype(np.uint8))
    total = float(weights.sum())
    shares = weights / total if total > 0 else weights
    return np.maximum((activations * shares).sum(axis=-1), 0).astype(np.float32)
