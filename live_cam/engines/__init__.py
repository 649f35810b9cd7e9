"""What runs the one pass: LiteRT on a CPU, TensorFlow where that cannot be.

An engine has ``explain(pixels, class_indices)`` and ``forward(pixels)``, the bare network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

# A LiteRT flatbuffer: its path, or its bytes where it is on no disk.
Program: TypeAlias = Path | bytes


class Engine(Protocol):
    """One pass over one frame, in numpy.

    Attributes:
        name: "litert" or "tensorflow".
    """

    name: str

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and heatmap in one call.

        Args:
            pixels: (1, h, w, 3) uint8, BGR, of the network's input size.
            class_indices: The explained class (-1: the top class) and the contrasted one (-1: none).

        Returns:
            The network's raw outputs, (n,) float32, and the heatmap, (h, w) float32 >= 0. Both are the caller's own.
        """

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """The raw outputs, (n,) float32, of the bare network."""

    def masked_forward(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The same for the normalized pixels times a mask, (h, w) float32: what Score-CAM looks at."""

    def side_by_side(self) -> tuple[Engine, ...]:
        """Engines of the same pass that together explain more frames a second, each for a thread of its own.

        A single frame takes longer than on this engine. This engine alone where several would gain nothing.
        """
