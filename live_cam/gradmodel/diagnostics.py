"""Signs that a network does not get its pixels as it was trained on them, or that it was not trained.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from live_cam.gradmodel.grad_model import GradModel, run_network
from live_cam.predictions import NO_CLASS, TOP_CLASS

# A convolution, its normalization, its activation and the next layer.
_CHECKED_MAPS = 4
# About half the values of a healthy activation are zero, and few are at the upper end.
_SATURATED_SHARE = 0.98


def doubt(grad_model: GradModel, pixels: np.ndarray) -> str | None:
    """Returns why the preprocessing or the weights cannot be right, in a few words; None if nothing is suspicious.

    Args:
        grad_model: The network with its preprocessing.
        pixels: (1, h, w, 3) uint8, BGR, of an image with many colors.
    """
    outputs, outputs_for_black = (_outputs(grad_model, values) for values in (pixels, np.zeros_like(pixels)))
    if not np.isfinite(outputs).all():
        return "the model's output is not finite"
    if np.abs(outputs - outputs_for_black).max() <= 1e-6 * np.abs(outputs).max():
        return "the model returns the same for a colorful image and for a black one"
    first_maps = _first_maps(grad_model, pixels)
    name = next((name for name, values in first_maps.items() if saturated_share(values) >= _SATURATED_SHARE), None)
    return None if name is None else f"layer {name} is saturated"


def _first_maps(grad_model: GradModel, pixels: np.ndarray) -> dict[str, tf.Tensor]:
    def run(pixels: tf.Tensor) -> list[tf.Tensor]:
        calls = run_network(grad_model.network, grad_model.config, pixels).calls
        maps = [call for call in calls if call.is_spatial]
        names.extend(call.name for call in maps[:_CHECKED_MAPS])
        return [call.output for call in maps[:_CHECKED_MAPS]]

    names: list[str] = []
    outputs = tf.function(run, autograph=False)(tf.constant(pixels))
    return dict(zip(names, outputs, strict=True))


def saturated_share(values: np.ndarray | tf.Tensor) -> float:
    """Returns the share of values that are within a thousandth of their range of its lower or upper end."""
    values = np.asarray(values, np.float32)
    low, high = float(values.min()), float(values.max())
    margin = (high - low) / 1000
    return float(np.mean((values <= low + margin) | (values >= high - margin)))


def _outputs(grad_model: GradModel, pixels: np.ndarray) -> np.ndarray:
    # Of the function that is traced already.
    return grad_model.explain(tf.constant(pixels), tf.constant([TOP_CLASS, NO_CLASS], tf.int32))[0].numpy()
