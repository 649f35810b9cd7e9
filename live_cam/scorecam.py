"""Score-CAM, the one method that needs no gradient and a forward pass for each channel: seconds for one picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np


def score_cam(
    activations: np.ndarray,
    size_wh: tuple[int, int],
    probability_of: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Score-CAM (Wang et al. 2020, eq. 4-6 and algorithm 1, arXiv:1910.01279).

    A channel's weight is how probable the class is in the picture seen through that channel alone: its map, enlarged
    and stretched to [0, 1], masks the picture. The paper takes the softmax of the channels' scores; of log
    probabilities that is the probability's share, which is also what its authors' code weighs by. Channels whose map is
    the same everywhere mask nothing and are left out.

    Args:
        activations: (h, w, channels) float32, the target layer's output for the whole picture.
        size_wh: Of the network's input.
        probability_of: The class's probability for the normalized picture times a mask, (height, width) float32.

    Returns:
        (h, w) float32, >= 0.
    """
    weights = np.zeros(activations.shape[-1], np.float32)
    for channel in range(activations.shape[-1]):
        # Stretched when it is enlarged, as in eq. 6: an enlarged map need not reach its extremes.
        enlarged = cv2.resize(activations[..., channel], size_wh, interpolation=cv2.INTER_LINEAR)
        spread = float(np.ptp(enlarged))
        if spread > 0:
            weights[channel] = probability_of((enlarged - enlarged.min()) / spread)
    total = float(weights.sum())
    shares = weights / total if total > 0 else weights
    return np.maximum((activations * shares).sum(axis=-1), 0).astype(np.float32)
