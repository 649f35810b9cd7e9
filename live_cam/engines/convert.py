"""Conversion of a traced function to a LiteRT flatbuffer, in float or int8.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

_LONGEST_REASON = 160
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}


class ConversionError(Exception):
    """LiteRT cannot run a function; the message is one line. The TensorFlow engine runs it instead."""


def convert(function: tf.types.experimental.PolymorphicFunction) -> bytes:
    """Returns the flatbuffer of a function with one signature, its variables frozen.

    Raises:
        ConversionError: LiteRT has no kernel for one of its ops.
    """
    return _converted(lambda: _converter(function).convert())


def quantize(function: tf.types.experimental.PolymorphicFunction, samples: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Returns the flatbuffer of a function with one signature, in int8 as far as the network's last convolution.

    What depends on that convolution's output stays in float: the classifier's head, which has few operations, and the
    heatmap, whose gradients int8 would round to nothing. Inputs and outputs have the function's own types.

    Args:
        function: Its first output are the network's outputs.
        samples: Inputs of some calls, whose activations set the ranges of int8.

    Raises:
        ConversionError: The network has no convolution, or the converter cannot do it.
    """
    return _converted(lambda: _quantized(_converter(function), samples))


def _converted(flatbuffer: Callable[[], bytes]) -> bytes:
    try:
        return flatbuffer()
    except ConversionError:
        raise
    # The converter raises a private class, plain Exception and RuntimeError, each with pages of MLIR.
    except Exception as error:  # noqa: BLE001
        raise ConversionError(_first_reason(str(error))) from error
    finally:
        # Graphs refer to themselves, and a loop over frames gives the collector no reason to run: the converter leaves
        # 1.5 GB for a ResNet50.
        gc.collect()


def _converter(function: tf.types.experimental.PolymorphicFunction) -> tf.lite.TFLiteConverter:
    # Frozen here, because a converter that is also given the model keeps a second copy of the weights.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def _quantized(converter: tf.lite.TFLiteConverter, samples: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Does what ``quantize`` does. TensorFlow has no public way to keep a part in float: all private names are here.

    Its list of operations to leave alone is no way either: operations that the converter joins are quantized anyway,
    among them the gradients of convolutions, and every tanh and softmax is rounded to 256 levels.
    """
    try:
        from tensorflow.lite.python.convert import mlir_quantize
        from tensorflow.lite.tools import flatbuffer_utils

        # Setting an attribute that does not exist would have no effect.
        converter._experimental_calibrate_only  # noqa: B018
    except (ImportError, AttributeError):
        raise ConversionError(f"TensorFlow {tf.__version__} has no int8 conversion that livecam knows") from None
    calibrated = bytearray(_calibrated(converter, samples))
    read, write = flatbuffer_utils.convert_bytearray_to_object, flatbuffer_utils.convert_object_to_bytearray
    whole, body = read(calibrated), read(calibrated)
    graph, body_graph = whole.subgraphs[0], body.subgraphs[0]
    is_head = _behind_last_convolution(
        graph, [flatbuffer_utils.opcode_to_name(whole, op.opcodeIndex) for op in graph.operators]
    )
    head_ops = [op for op, is_in in zip(graph.operators, is_head, strict=True) if is_in]
    body_graph.operators = [op for op, is_in in zip(body_graph.operators, is_head, strict=True) if not is_in]
    needed = {index for op in head_ops for index in op.inputs} | set(graph.outputs)
    body_graph.outputs = sorted(needed.intersection(output for op in body_graph.operators for output in op.outputs))
    int8 = read(bytearray(mlir_quantize(bytes(write(body)))))
    ends, int8_ends = ([*part.subgraphs[0].inputs, *part.subgraphs[0].outputs] for part in (body, int8))
    _append(int8, whole, head_ops, dict(zip(ends, int8_ends, strict=True)))
    return bytes(write(int8))


def _calibrated(converter: tf.lite.TFLiteConverter, samples: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Returns the flatbuffer in float, with the ranges of all activations."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter([list(sample) for sample in samples])
    converter._experimental_calibrate_only = True
    with warnings.catch_warnings():
        # It misses the ranges of inputs that are no float numbers.
        warnings.simplefilter("ignore")
        return converter.convert()


def _behind_last_convolution(graph: Any, names: Sequence[str]) -> list[bool]:
    """Returns which operations depend on the last convolution that the network's outputs depend on.

    Args:
        graph: A subgraph of a flatbuffer; its operations are in the order in which they run.
        names: The names of the operations.
    """
    needed = {graph.outputs[0]}
    last = -1
    for number, op in reversed([*enumerate(graph.operators)]):
        if needed.isdisjoint(op.outputs):
            continue
        if names[number] in _CONVOLUTIONS:
            last = number
            break
        needed.update(op.inputs)
    if last < 0:
        raise ConversionError("the network has no convolution")
    behind = set(graph.operators[last].outputs)
    is_behind = [False] * len(names)
    for number in range(last + 1, len(names)):
        if not behind.isdisjoint(graph.operators[number].inputs):
            is_behind[number] = True
            behind.update(graph.operators[number].outputs)
    return is_behind


def _append(model: Any, whole: Any, ops: Sequence[Any], known: dict[int, int]) -> None:
    """Appends operations of one flatbuffer to another, with their constants, and makes its outputs those of the first.

    Args:
        model: The flatbuffer that grows.
        whole: The flatbuffer that has the operations.
        ops: The operations; they are changed.
        known: The tensors of ``whole`` that ``model`` has, to their indices there.
    """
    source, target = whole.subgraphs[0], model.subgraphs[0]

    def moved(index: int) -> int:
        if index >= 0 and index not in known:
            tensor = source.tensors[index]
            model.buffers.append(whole.buffers[tensor.buffer])
            tensor.buffer, tensor.quantization = len(model.buffers) - 1, None
            target.tensors.append(tensor)
            known[index] = len(target.tensors) - 1
        return known.get(index, index)

    for op in ops:
        op.opcodeIndex += len(model.operatorCodes)
        op.inputs = [moved(index) for index in op.inputs]
        op.outputs = [moved(index) for index in op.outputs]
    model.operatorCodes += whole.operatorCodes
    target.operators += ops
    target.outputs = [known[index] for index in source.outputs]


def _first_reason(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "ops:" in line.lower()]
    return (errors or lines or ["no reason given"])[0][:_LONGEST_REASON]
