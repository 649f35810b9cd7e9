"""The protocol of engines, which execute a grad-model: LiteRT on a CPU, TensorFlow if LiteRT cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

# A LiteRT flatbuffer: its path, or its content if it is in no file.
Program: TypeAlias = Path | bytes


class Engine(Protocol):
    """Executes one model on one frame at a time; takes and returns numpy arrays.

    Attributes:
        name: "litert" or "tensorflow".
    """

    name: str

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Computes outputs and heatmap in one call.

        Args:
            pixels: (1, h, w, 3) uint8, BGR, of the network's input size.
            class_indices: The explained class, or -1 for the top class, and the contrast class, or -1 for none, -2 for
                the most similar classes.

        Returns:
            The network's outputs, (n,) float32, and the heatmap, (h, w) float32, >= 0. The caller owns both.
        """

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """Computes the network's outputs, (n,) float32, without a heatmap."""

    def masked_forward(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Computes the outputs for the normalized pixels times a mask, (h, w) float32, as Score-CAM needs them."""

    def replicas(self) -> tuple[Engine, ...]:
        """Returns engines of the same model, one for each of several threads, with a higher total throughput.

        Each takes longer for a frame than this engine does. Returns only this engine if several would gain nothing.
        """


def usable_cores() -> int:
    """Returns how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
