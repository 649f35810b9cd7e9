"""A TensorFlow graph as a network: what tf_keras and SavedModels hold, whose layers are found again in the ops' names.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from live_cam.errors import ModelError
from live_cam.models.graph_ops import LARGEST_TENSOR, too_large
from live_cam.models.network import (
    DetectedPreprocessing,
    InputShape,
    LayerCall,
    LinearOutputs,
    checked_input_shape,
    meaning_of_loss,
    several_inputs,
)
from live_cam.models.registry import detect_family

# The ops of a normalization, and the ops before and between them that only move or convert pixels.
_ARITHMETIC_OPS = {"Mul", "RealDiv", "Sub", "AddV2", "Add", "BiasAdd", "DivNoNan"}
_MOVING_OPS = {
    "Cast", "ConcatV2", "Identity", "Pack", "Pad", "PadV2", "Reshape", "ResizeBilinear", "ReverseV2", "Split",
    "StridedSlice", "Transpose", "Unpack",
}  # fmt: skip
# Ops whose constant input is a kernel that was learned.
_KERNEL_OPS = {"BatchMatMulV2", "Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "Einsum", "MatMul"}
# Ops whose 4-D output is a map of places, possibly of another size than any before it.
_MAP_OPS = {
    "AvgPool", "BatchToSpaceND", "Conv2D", "Conv2DBackpropInput", "CropAndResize", "DepthToSpace",
    "DepthwiseConv2dNative", "Dilation2D", "MaxPool", "MirrorPad", "Pad", "PadV2", "ResizeArea", "ResizeBicubic",
    "ResizeBilinear", "ResizeNearestNeighbor", "SpaceToDepth",
}  # fmt: skip
# What functions that call functions put before the names of their ops.
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
# The scope that the graph is imported into.
_SCOPE = "network"


class GraphNetwork:
    """A frozen graph; see ``Network``.

    A layer is a scope of the graph, "model/conv1/" of "model/conv1/Relu", and has the shortest name that no other scope
    has: "conv1". Its output is that of the last of its ops that others use. In a scope with several kernels, each op is
    a layer of its own, "Relu_1", and so is an op without a scope.

    Args:
        name: What the user knows it by.
        function: From an image to one or more outputs. Its variables are frozen.
        loss: The loss that it was trained with, as Keras saves it, if that is known.
        format: What it was loaded from, for the user.
    """

    def __init__(
        self,
        name: str,
        function: tf.types.experimental.ConcreteFunction,
        loss: Any = None,
        format: str = "TensorFlow graph",  # noqa: A002
    ) -> None:
        self.name = name
        self.format = format
        self._loss = loss
        frozen = convert_variables_to_constants_v2(function)
        self._inputs = list(frozen.inputs)
        self._output_names = dict(
            zip(_names_of_outputs(function), (output.name for output in frozen.outputs), strict=True)
        )
        self._ops = frozen.graph.get_operations()
        self._definition = frozen.graph.as_graph_def()
        self._layers = _layers(self._ops)
        self._layer_names = _layer_names(self._layers[op.name] for op in self._ops if op.type != "Const")

    def input_shape(self, wanted_size: int | None) -> InputShape:
        """See ``Network.input_shape``."""
        if len(self._inputs) != 1:
            raise several_inputs([tensor.op.name for tensor in self._inputs])
        pixels = self._inputs[0]
        if not (pixels.dtype.is_floating or pixels.dtype.is_integer):
            raise ModelError(f"the model takes {pixels.dtype.name}, not the numbers of an image")
        shape = (None,) * 4 if pixels.shape.rank is None else tuple(pixels.shape)
        if len(shape) == 4 and shape[0] not in (1, None):
            raise ModelError(
                f"the model takes {shape[0]} images at a time; livecam gives one: save it with an open batch"
            )
        return checked_input_shape(shape, wanted_size)

    def preprocessing(self, shape: InputShape) -> DetectedPreprocessing:
        """See ``Network.preprocessing``."""
        if self._inputs[0].dtype.is_integer:
            return DetectedPreprocessing("raw", "the model takes whole numbers")
        if normalizes_first(self._inputs[0]):
            return DetectedPreprocessing("raw", "the model normalizes its input itself")
        parts = {part for layer in self._layer_names for part in layer.split("/")}
        family = detect_family(parts, {self.name, *parts})
        if family is not None:
            return DetectedPreprocessing(family.preprocessing, f"its layers are those of {family.name}")
        return DetectedPreprocessing("unit", "nothing in the model indicates another one; you can set it")

    def linear_outputs(self, output_name: str | None = None) -> LinearOutputs:
        """See ``Network.linear_outputs``."""
        return meaning_of_loss(self._loss, output_name, tuple(self._output_names))

    def run(self, values: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[LayerCall]]:
        """See ``Network.run``."""
        graph = tf.compat.v1.get_default_graph()
        definition = tf.compat.v1.GraphDef()
        definition.CopyFrom(self._definition)
        for node in definition.node:
            # What op creation does by itself; importing does not.
            if node.op in graph._gradient_override_map:
                node.attr["_gradient_op_type"].s = graph._gradient_override_map[node.op].encode()
        pixels = self._inputs[0]
        whole_numbers = tf.round(values) if pixels.dtype.is_integer else values
        outputs = tf.graph_util.import_graph_def(
            definition,
            input_map={pixels.name: tf.cast(whole_numbers, pixels.dtype)},
            return_elements=list(self._output_names.values()),
            name=graph.unique_name(_SCOPE, mark_as_used=False),
        )
        scope = outputs[0].op.name.partition("/")[0]
        ops = [op for op in graph.get_operations() if op.name.startswith(f"{scope}/")]
        for op in ops:
            for output in op.outputs:
                if output.shape.is_fully_defined() and math.prod(output.shape) > LARGEST_TENSOR:
                    raise too_large(self.name, _path(op), math.prod(output.shape))
        calls = self._calls(ops)
        quantized = next((op for op in ops if any(output.dtype.is_quantized for output in op.outputs)), None)
        if quantized is not None and not any(call.is_spatial for call in calls):
            raise ModelError(
                f"the model is quantized ({quantized.type}): no gradient passes through whole numbers; export the "
                "model as it was before"
            )
        return dict(zip(self._output_names, outputs, strict=True)), calls

    def _calls(self, ops: Iterable[tf.Operation]) -> list[LayerCall]:
        """Returns the outputs of the layers, in the order in which the layers end.

        A 4-D tensor that is no map of places, such as the weights of an attention, is left out.
        """
        is_learned = False
        map_sizes: set[tuple[int | None, ...]] = set()
        calls: dict[str, LayerCall] = {}
        for op in ops:
            is_learned = is_learned or _has_kernel(op)
            if op.type == "Const" or not op.outputs:
                continue
            output = op.outputs[0]
            if output.shape.rank == 4 and op.type in _MAP_OPS and is_learned:
                map_sizes.add(tuple(output.shape[1:3]))
            if not self._leaves_its_layer(op):
                continue
            is_map = output.shape[:1] == [1] and output.dtype.is_floating and tuple(output.shape[1:3]) in map_sizes
            if output.shape.rank == 4 and not is_map:
                continue
            name = self._layer_names[self._layers[_path(op)]]
            call = LayerCall(name, output, is_learned)
            if call.is_spatial or name not in calls or not calls[name].is_spatial:
                calls.pop(name, None)
                calls[name] = call
        return list(calls.values())

    def _leaves_its_layer(self, op: tf.Operation) -> bool:
        layer = self._layers.get(_path(op))
        consumers = op.outputs[0].consumers()
        return layer is not None and (
            not consumers or any(self._layers.get(_path(user)) != layer for user in consumers)
        )


def normalizes_first(pixels: tf.Tensor) -> bool:
    """Returns whether the first thing that a graph does to its pixels is arithmetic, as in ``x / 127.5 - 1``."""
    waiting = [pixels]
    seen: set[str] = set()
    while waiting:
        for op in waiting.pop().consumers():
            if op.type in _ARITHMETIC_OPS and any(_is_constant(tensor.op) for tensor in op.inputs):
                return True
            if op.type in _MOVING_OPS and op.name not in seen:
                seen.add(op.name)
                waiting.extend(op.outputs)
    return False


def _is_constant(op: tf.Operation) -> bool:
    while op.type in {"Cast", "Identity", "Reshape"}:
        op = op.inputs[0].op
    return op.type == "Const"


def _has_kernel(op: tf.Operation) -> bool:
    return op.type in _KERNEL_OPS and any(
        tensor.shape.rank is not None and tensor.shape.rank >= 2 and _is_constant(tensor.op) for tensor in op.inputs
    )


def _names_of_outputs(function: tf.types.experimental.ConcreteFunction) -> list[str]:
    structure = function.structured_outputs
    if isinstance(structure, Mapping):
        return sorted(structure)  # As TensorFlow flattens a dict.
    return [str(index) for index in range(len(function.outputs))]


def _path(op: tf.Operation) -> str:
    """Returns the name of an op inside the scope that the graph is imported into."""
    return op.name.partition("/")[2]


def _layers(ops: Sequence[tf.Operation]) -> dict[str, str]:
    """Returns the path of each op's layer, without the calls of functions, by the op's name."""
    paths = {op.name: [part for part in op.name.split("/") if not part.startswith(_CALLS)] for op in ops}
    if _numbered_by_keras(paths.values()):
        paths = {name: _without_numbers(path) for name, path in paths.items()}
    scopes = {name: "/".join(path[:-1]) for name, path in paths.items()}
    kernel_counts = Counter(scopes[op.name] for op in ops if _has_kernel(op))
    is_layer = {scope: bool(scope) and kernel_counts[scope] <= 1 for scope in scopes.values()}
    return {name: scopes[name] if is_layer[scopes[name]] else "/".join(path) for name, path in paths.items()}


def _numbered_by_keras(paths: Iterable[Sequence[str]]) -> bool:
    """Returns whether Keras 3 wrote the graph, which enters each layer's scope twice: "features_1" is "features"."""
    convolutions = [path for path in paths if path[-1] == "convolution"]
    return bool(convolutions) and all(part.endswith("_1") for path in convolutions for part in path[:-1])


def _without_numbers(path: Sequence[str]) -> list[str]:
    scopes = list(itertools.takewhile(lambda part: part.endswith("_1"), path[:-1]))
    return [*(part.removesuffix("_1") for part in scopes), *path[len(scopes) :]]


def _layer_names(layers: Iterable[str]) -> dict[str, str]:
    """Returns the shortest ending of each layer's path that no other layer's path has."""
    layers = dict.fromkeys(layers)
    owners: dict[str, list[str]] = {}
    for layer in layers:
        parts = layer.split("/")
        for start in range(len(parts)):
            owners.setdefault("/".join(parts[start:]), []).append(layer)
    names = {}
    for layer in layers:
        parts = layer.split("/")
        endings = ("/".join(parts[start:]) for start in reversed(range(len(parts))))
        names[layer] = next((ending for ending in endings if len(owners[ending]) == 1), layer)
    return names
