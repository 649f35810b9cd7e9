"""Whether what a network says of a picture can be right at all. Loading this module loads TensorFlow."""

from __future__ import annotations

import contextlib

import numpy as np
import tensorflow as tf

from live_cam.one_pass.gradmodel import GradModel, LayerCall, recorded_calls

# How many of the first maps are looked at: a convolution, its normalization, its activation and what follows.
_FIRST_MAPS = 4
# Of a healthy activation about half the values are zero, and few are at the upper end.
_SATURATED_SHARE = 0.98


def preprocessing_doubt(grad_model: GradModel, pixels: np.ndarray) -> str | None:
    """What shows that the network does not get the pixels it was trained on.

    Args:
        grad_model: The network with its preprocessing.
        pixels: (1, h, w, 3) uint8, BGR, of a picture that is not one colour.

    Returns:
        None if nothing does, else what does, in a few words.
    """
    outputs, of_black = (_outputs(grad_model, one) for one in (pixels, np.zeros_like(pixels)))
    if not np.isfinite(outputs).all():
        return "the model's output is not finite"
    if np.abs(outputs - of_black).max() <= 1e-6 * np.abs(outputs).max():
        return "the model says the same of a picture and of a black one"
    for call in _first_maps(grad_model, pixels):
        if saturated_share(call.output.numpy()) >= _SATURATED_SHARE:
            return f"layer {call.name} is saturated"
    return None


def saturated_share(values: np.ndarray) -> float:
    """Which part of the values is at the lowest or the highest of them, within a thousandth of their range."""
    values = values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    near = (high - low) / 1000
    return float(np.mean((values <= low + near) | (values >= high - near)))


def _outputs(grad_model: GradModel, pixels: np.ndarray) -> np.ndarray:
    # Of the pass that is traced already.
    return grad_model.explain(tf.constant(pixels), tf.constant([-1, -1], tf.int32))[0].numpy()


class _Enough(Exception):
    """Ends a run of the model whose rest is of no interest."""


class _FirstCalls(list[LayerCall]):
    """The calls of a run, which ends with the last one that is wanted."""

    def append(self, call: LayerCall) -> None:
        super().append(call)
        if sum(one.is_spatial for one in self) == _FIRST_MAPS:
            raise _Enough


def _first_maps(grad_model: GradModel, pixels: np.ndarray) -> list[LayerCall]:
    """The first maps of trained layers for one picture, computed eagerly."""
    calls = _FirstCalls()
    with contextlib.suppress(_Enough), recorded_calls(grad_model.model, calls):
        grad_model.outputs(tf.constant(pixels))
    return [call for call in calls if call.is_spatial]
