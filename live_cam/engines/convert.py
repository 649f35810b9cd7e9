"""From a traced function to a LiteRT flatbuffer. Loading this module loads TensorFlow."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


class ConversionError(Exception):
    """LiteRT cannot run this pass; the message is one line. The TensorFlow engine serves instead."""


def converted(function: tf.types.experimental.PolymorphicFunction) -> bytes:
    """The flatbuffer of a function with one signature, its variables frozen.

    Raises:
        ConversionError: An op of it has no LiteRT kernel.
    """
    concrete = function.get_concrete_function()
    try:
        # Frozen by hand: a converter that is given the model as well keeps a second copy of the weights.
        frozen = convert_variables_to_constants_v2(concrete)
        return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    # The converter raises its own private class, plain Exception and RuntimeError, each with pages of MLIR.
    except Exception as error:  # noqa: BLE001
        raise ConversionError(_first_reason(str(error))) from error


def _first_reason(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "ops:" in line.lower()]
    return (telling or lines or ["no reason given"])[0][:160]
