"""Checks the graph of a SavedModel before anything of it runs: which ops it has, and how much they would allocate.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from live_cam.errors import ModelError

# Those of loops, which may never end.
_LOOPS = {"Enter", "Exit", "LoopCond", "NextIteration", "StatelessWhile", "While"}
# Ops that only compute, and end. None of them opens a file or a connection, runs Python, or prints.
_HARMLESS = """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND BiasAdd BiasAddV1
    BroadcastArgs BroadcastTo Case Cast Ceil CheckNumerics ClipByValue Complex ConcatV2 Concat Const Conj Conv2D
    Conv2DBackpropInput Conv3D Cos Cosh CropAndResize Cross Cumprod Cumsum DepthToSpace DepthwiseConv2dNative Diag
    DiagPart Dilation2D Div DivNoNan DynamicStitch Einsum Elu EnsureShape Equal Erf Erfc Exp
    ExpandDims Expm1 FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor
    FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual
    HSVToRGB Identity IdentityN If Imag InTopKV2 Inv InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less
    LessEqual Lgamma LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul MatrixBandPart
    MatrixDiagPartV3 MatrixDiagV3 Max MaxPool MaxPoolV2 Maximum Mean Merge Min Minimum MirrorPad Mod Mul MulNoNan Neg
    NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow
    PreventGradient Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2
    Dequantize QuantizedConv2D RGBToHSV Range Rank ReadVariableOp Real RealDiv Reciprocal Relu Relu6 Reshape
    ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather ResourceGatherNd Reverse ReverseV2
    Rint Roll Round Rsqrt ScaleAndTranslate ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size
    Slice Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth
    Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessCase StatelessIf
    StopGradient StridedSlice Sub Sum Switch Tan Tanh TensorListConcatV2 TensorListElementShape TensorListFromTensor
    TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListSetItem TensorListStack TensorScatterAdd TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv
    TruncateMod Unpack UnravelIndex Where Xdivy Xlog1py Xlogy ZerosLike VarHandleOp Variable VariableV2
"""
ALLOWED_OPS = frozenset(_HARMLESS.split())

_WRITES_VARIABLES = {
    "Assign",
    "AssignAdd",
    "AssignSub",
    "AssignVariableOp",
    "AssignAddVariableOp",
    "AssignSubVariableOp",
}

# The input that gives the size of the output.
_SIZE_INPUTS = {
    "BroadcastTo": 1, "Conv2DBackpropInput": 0, "CropAndResize": 3, "Fill": 0, "LinSpace": 2,
    "MirrorPad": 1, "OneHot": 1, "Pad": 1, "PadV2": 1, "Range": 1, "ResizeArea": 1, "ResizeBicubic": 1,
    "ResizeBilinear": 1, "ResizeNearestNeighbor": 1, "ScaleAndTranslate": 1, "ScatterNd": 2, "TensorListReserve": 1,
    "Tile": 1,
}  # fmt: skip
# How sizes are computed from constants.
_FOLDED: dict[str, Callable[..., Any]] = {
    "Add": np.add, "AddV2": np.add, "Cast": lambda value: value, "Identity": lambda value: value,
    "Maximum": np.maximum, "Mul": np.multiply, "Pack": lambda *values: np.stack(values), "Pow": np.power,
    "ConcatV2": lambda *values: np.concatenate(values[:-1]), "Prod": lambda value, _: np.prod(value),
    "Sub": np.subtract,
}  # fmt: skip
_LONGEST_FOLDING = 16
_LONGEST_SIZE = 16

# A ResNet152 has 6000 ops. TensorFlow's graphs cannot hold more than 2 GB.
_MOST_OPS = 200_000
_DEEPEST_CALL = 64
LARGEST_TENSOR = 1 << 28
_MOST_CONSTANTS = 1 << 29


def check_graph(nodes: Iterable[Any], functions: Mapping[str, Any], owner: str, unsafe: bool) -> set[str]:
    """Checks a graph and all functions that it calls, at any depth.

    Args:
        nodes: Those of the graph, as ``NodeDef``.
        functions: All functions that it may call, as ``FunctionDef``, by name.
        owner: What to name in messages.
        unsafe: Whether the user allows ops that are not in ``ALLOWED_OPS``.

    Returns:
        The names of the functions that it calls.

    Raises:
        ModelError: It has an op that is not allowed, calls itself, or would take too much memory.
    """
    check = _Check(functions, owner, unsafe)
    check.visit(list(nodes), ())
    return check.called


def called_functions(node: Any) -> Iterator[Any]:
    """Yields the attributes of a node that name a function, as ``NameAttrList``: "f", "branches", "then_branch" ..."""
    waiting = list(node.attr.values())
    while waiting:
        value = waiting.pop()
        for function in [*([value.func] if value.HasField("func") else []), *value.list.func]:
            yield function
            waiting.extend(function.attr.values())


class _Check:
    """Counts what a graph has after all its function calls are replaced by the functions' ops, and checks each op."""

    def __init__(self, functions: Mapping[str, Any], owner: str, unsafe: bool) -> None:
        self._functions = functions
        self._owner = owner
        self._unsafe = unsafe
        # The numbers of ops and of numbers in constants.
        self._counts: dict[str, tuple[int, int]] = {}

    @property
    def called(self) -> set[str]:
        return set(self._counts)

    def visit(self, nodes: list[Any], callers: tuple[str, ...]) -> tuple[int, int]:
        if len(callers) > _DEEPEST_CALL:
            raise self._refused(f"its functions call each other more than {_DEEPEST_CALL} deep")
        by_name = {node.name: node for node in nodes}
        folded: dict[tuple[str, int], np.ndarray | None] = {}
        counts = [(len(nodes), sum(map(self._constant_count, nodes)))]
        for node in nodes:
            self._check_size(node, by_name, folded)
            # A function is called by its name too, as if it were an op, and wins over an op of that name.
            names = [function.name for function in called_functions(node)]
            if node.op in self._functions:
                names.append(node.op)
            else:
                self._check_op(node.op)
            counts += [self._visit_function(name, callers) for name in names]
        op_count, constant_count = (sum(column) for column in zip(*counts, strict=True))
        if op_count > _MOST_OPS:
            raise self._refused(f"it has {op_count} ops")
        if constant_count > _MOST_CONSTANTS:
            raise too_large(self._owner, nodes[0].name, constant_count)
        return op_count, constant_count

    def _visit_function(self, name: str, callers: tuple[str, ...]) -> tuple[int, int]:
        if name in callers:
            raise self._refused("its functions call themselves")
        if name not in self._functions:
            raise self._refused(f"it calls a function that it does not have, {name:.80}")
        if name not in self._counts:
            self._counts[name] = self.visit(list(self._functions[name].node_def), (*callers, name))
        return self._counts[name]

    def _check_op(self, op: str) -> None:
        if op in ALLOWED_OPS:
            return
        # What could not be explained even if the user allowed it.
        if op == "XlaCallModule":
            raise ModelError(f"{self._owner} computes in an {op}, as JAX exports it, which has no layers to look into")
        if "Table" in op:
            raise ModelError(
                f"{self._owner} looks things up in a table ({op}); export a signature that takes pixels only"
            )
        if op in _WRITES_VARIABLES:
            raise ModelError(f"{self._owner} changes its variables ({op}); export a signature that only predicts")
        if not self._unsafe:
            harm = "never end" if op in _LOOPS else "do more than compute, such as read or write files"
            raise ModelError(
                f"{self._owner} runs the op {op:.80}, which may {harm}; if you trust who made it, unsafe=True loads "
                "the model and so runs that op"
            )

    def _constant_count(self, node: Any) -> int:
        """Returns how many numbers the constants of a node have, after checking them and its shapes."""
        count = 0
        for value in node.attr.values():
            shapes = [*([value.shape] if value.HasField("shape") else []), *value.list.shape]
            tensors = [*([value.tensor] if value.HasField("tensor") else []), *value.list.tensor]
            for shape in [*shapes, *(tensor.tensor_shape for tensor in tensors)]:
                size = math.prod(max(1, side.size) for side in shape.dim)
                if size > LARGEST_TENSOR:
                    raise too_large(self._owner, node.name, size)
            for tensor in tensors:
                if tensor.tensor_shape.unknown_rank or any(side.size < 0 for side in tensor.tensor_shape.dim):
                    raise self._refused(f"its constant {node.name:.80} has no size")
                count += math.prod(side.size for side in tensor.tensor_shape.dim)
        return count

    def _check_size(
        self, node: Any, by_name: Mapping[str, Any], folded: dict[tuple[str, int], np.ndarray | None]
    ) -> None:
        index = _SIZE_INPUTS.get(node.op)
        if index is None or index >= len(node.input):
            return
        size = _folded(node.input[index], by_name, _LONGEST_FOLDING, folded)
        if size is not None:
            count = math.prod(max(1, abs(int(side))) for side in size.ravel())
            if count > LARGEST_TENSOR:
                raise too_large(self._owner, node.name, count)

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"{self._owner} is no usable SavedModel: {why}; do not use it")


def too_large(owner: str, op_name: str, count: int) -> ModelError:
    """Returns the error for an op that would take more memory than any classifier needs."""
    return ModelError(f"{owner} would fill the memory: its op {op_name:.80} makes {count:.3g} numbers; do not use it")


def _folded(
    name: str, by_name: Mapping[str, Any], steps: int, folded: dict[tuple[str, int], np.ndarray | None]
) -> np.ndarray | None:
    """Returns the few numbers that a node computes from constants; None if it does not, or computes something else.

    Args:
        name: The node's name, as an input.
        by_name: All nodes of its graph.
        steps: How many nodes may lie between it and a constant.
        folded: What is known of such nodes by now, by name and steps: one may be the input of very many.
    """
    key = (name.partition(":")[0], steps)
    if key not in folded:
        numbers = _folded_now(key[0], by_name, steps, folded)
        folded[key] = None if numbers is None or numbers.size > _LONGEST_SIZE else numbers
    return folded[key]


def _folded_now(
    name: str, by_name: Mapping[str, Any], steps: int, folded: dict[tuple[str, int], np.ndarray | None]
) -> np.ndarray | None:
    node = by_name.get(name)
    if node is None or steps == 0:
        return None
    if node.op == "Const":
        tensor = node.attr["value"].tensor
        is_short = math.prod(side.size for side in tensor.tensor_shape.dim) <= _LONGEST_SIZE
        is_number = tensor.dtype in {kind.as_datatype_enum for kind in (tf.int32, tf.int64, tf.float32, tf.float64)}
        return tf.make_ndarray(tensor).astype(np.float64) if is_short and is_number else None
    sources = [source for source in node.input if not source.startswith("^")]
    if node.op not in _FOLDED or len(sources) > _LONGEST_SIZE + 1:
        return None
    values = [_folded(source, by_name, steps - 1, folded) for source in sources]
    if any(value is None for value in values):
        return None
    try:
        with np.errstate(all="ignore"):
            return np.nan_to_num(np.asarray(_FOLDED[node.op](*values)))
    except (ValueError, TypeError):  # sizes that do not fit, which TensorFlow will refuse too
        return None
