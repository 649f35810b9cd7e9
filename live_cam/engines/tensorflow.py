"""The engine that runs the functions of a grad-model with TensorFlow.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from live_cam.gradmodel.grad_model import GradModel


class TensorFlowEngine:
    """Runs a grad-model on the device that TensorFlow chooses: the GPU if it sees one."""

    name = "tensorflow"

    def __init__(self, grad_model: GradModel) -> None:
        self._explain = grad_model.explain.get_concrete_function()
        self._forward = grad_model.forward
        self._masked_forward = grad_model.masked_forward

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """See ``Engine.explain``."""
        outputs, heatmap = self._explain(tf.constant(pixels), tf.constant(class_indices, tf.int32))
        return outputs.numpy(), heatmap.numpy()

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        """See ``Engine.forward``."""
        return self._forward(tf.constant(pixels)).numpy()

    def masked_forward(self, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See ``Engine.masked_forward``."""
        return self._masked_forward(tf.constant(pixels), tf.constant(mask)).numpy()

    def replicas(self) -> tuple[TensorFlowEngine, ...]:
        """See ``Engine.replicas``: TensorFlow already uses every core."""
        return (self,)


def sees_gpu() -> bool:
    """Returns whether TensorFlow would run on a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
