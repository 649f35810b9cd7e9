"""What a model computes in code of its own, read off its graph. Loading this module loads TensorFlow."""

from __future__ import annotations

import keras
import tensorflow as tf

# What a normalization is made of, and what may stand before and between: ways to move or convert pixels.
_ARITHMETIC = {"Mul", "RealDiv", "Sub", "AddV2", "Add", "BiasAdd", "DivNoNan"}
_MOVING = {
    "Cast", "ConcatV2", "Identity", "Pack", "Pad", "PadV2", "Reshape", "ResizeBilinear", "ReverseV2", "Split",
    "StridedSlice", "Transpose", "Unpack",
}  # fmt: skip


def normalizes_its_input(model: keras.Model, shape_hwc: tuple[int, int, int]) -> bool:
    """Whether the first thing a model does with its pixels is arithmetic with constants, as in ``x / 127.5 - 1``.

    Args:
        model: Built.
        shape_hwc: Height, width and channels of its input.
    """
    function = tf.function(lambda pixels: model(pixels, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec((1, *shape_hwc), tf.float32))
    waiting = [concrete.inputs[0]]
    seen: set[str] = set()
    while waiting:
        for op in waiting.pop().consumers():
            if op.type in _ARITHMETIC and any(_is_constant(one.op) for one in op.inputs):
                return True
            if op.type in _MOVING and op.name not in seen:
                seen.add(op.name)
                waiting.extend(op.outputs)
    return False


def _is_constant(op: tf.Operation) -> bool:
    while op.type in {"Cast", "Identity", "Reshape"}:
        op = op.inputs[0].op
    return op.type == "Const"
