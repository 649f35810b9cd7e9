"""The class activation map methods: each turns activations and gradients into one map.

A method is a pure function ``(activations, gradients) -> map`` on tensors:

- activations: (h, w, channels) float32, the target layer's output for one frame.
- gradients: (h, w, channels) float32, the score's gradient with respect to the activations.
- the map: (h, w) float32, >= 0, not normalized.

To add one, write the function with its paper and add a line to ``CAM_METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import tensorflow as tf

    CamMethod: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1-2, arXiv:1610.02391).

    A channel's weight is the mean of its gradient over the map.
    """
    import tensorflow as tf

    weights = tf.reduce_mean(gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


CAM_METHODS: dict[str, CamMethod] = {
    "grad-cam": grad_cam,
}
