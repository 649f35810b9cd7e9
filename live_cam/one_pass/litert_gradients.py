"""Gradients of common ops, written with ops that LiteRT has kernels for.

TensorFlow's own gradients of ReLU and its kin, of pools and of depthwise convolutions are fused ops that LiteRT cannot
run. A trace that stands under ``litert_gradients()`` gets these instead; the values are the same. Where a case is not
written here TensorFlow's own op is kept: that pass then runs on the TensorFlow engine.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def litert_gradients() -> Iterator[None]:
    """Ops created while it lasts are differentiated by ``tf.gradients`` with the functions of this module."""
    with tf.compat.v1.get_default_graph().gradient_override_map({op: f"LiveCam{op}" for op in _GRADIENTS}):
        yield


def one_hot_difference(plus: tf.Tensor, minus: tf.Tensor, count: int, dtype: tf.DType) -> tf.Tensor:
    """(1, count): 1 at index ``plus``, -1 at ``minus``; an index of -1 is nowhere.

    A dense layer's gradient recognises this vector and picks two rows of its kernel instead of multiplying all of it.
    """
    return tf.subtract(tf.one_hot([plus], count, dtype=dtype), tf.one_hot([minus], count, dtype=dtype))


def _matrix_product(op: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor]:
    left, right = op.inputs
    if op.get_attr("transpose_a"):
        left = tf.transpose(left)
    if op.get_attr("transpose_b"):
        right = tf.transpose(right)
    of_left, of_right = _times_transposed(gradient, right), tf.matmul(left, gradient, transpose_a=True)
    return [
        tf.transpose(of_left) if op.get_attr("transpose_a") else of_left,
        tf.transpose(of_right) if op.get_attr("transpose_b") else of_right,
    ]


def _times_transposed(gradient: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    # tf.gradients hands the vector it starts from through an Identity.
    source = gradient.op.inputs[0].op if gradient.op.type == "Identity" else gradient.op
    if source.type == "Sub" and all(part.op.type == "OneHot" for part in source.inputs):
        plus, minus = (_rows(tf.transpose(kernel), part.op.inputs[0]) for part in source.inputs)
        return plus - minus
    return tf.matmul(gradient, kernel, transpose_b=True)


def _rows(matrix: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """One-hot vectors times the matrix: its rows, or zeros for the index -1. Reads a row, not a thousand."""
    present = tf.cast(indices >= 0, matrix.dtype)[:, tf.newaxis]
    return tf.gather(matrix, tf.maximum(indices, 0)) * present


def _relu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return gradient * _mask(op.outputs[0] > 0, gradient)


def _relu6(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    output = op.outputs[0]
    return gradient * _mask((output > 0) & (output < 6), gradient)


def _leaky_relu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(op.inputs[0] > 0, gradient, gradient * op.get_attr("alpha"))


def _elu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    # Below zero the output is exp(x) - 1, and its slope exp(x).
    output = op.outputs[0]
    return gradient * tf.where(output > 0, tf.ones_like(output), output + 1)


def _max_pool(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    pool = _Windows.of(op, op.get_attr("ksize"))
    if pool is None:
        return _native("MaxPool", op, gradient)
    images = pool.padded(op.inputs[0], op.inputs[0].dtype.min)
    # Of several equal maxima the first in row order gets the gradient, as in TensorFlow: after a ReLU whole windows
    # are zero, and counting each of them would multiply the gradient.
    untaken = tf.ones_like(gradient)
    total = None
    for offset in pool.offsets:
        is_first_maximum = untaken * _mask(tf.equal(pool.seen_at(images, offset), op.outputs[0]), gradient)
        untaken -= is_first_maximum
        share = pool.scattered(gradient * is_first_maximum, offset)
        total = share if total is None else total + share
    return pool.cropped(total)


def _average_pool(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    pool = _Windows.of(op, op.get_attr("ksize"))
    if pool is None:
        return _native("AvgPool", op, gradient)
    # At a padded border fewer cells are averaged. The counts are constants and vanish in conversion.
    ones = pool.padded(tf.ones((1, *op.inputs[0].shape[1:3], 1), gradient.dtype), 0)
    counts = tf.add_n([pool.seen_at(ones, offset) for offset in pool.offsets])
    return pool.cropped(tf.add_n([pool.scattered(gradient / counts, offset) for offset in pool.offsets]))


def _depthwise_convolution(op: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    images, kernel = op.inputs
    windows = _Windows.of(op, (1, *kernel.shape[:2], 1))
    if windows is None or kernel.shape[3] != 1 or max(op.get_attr("dilations")) > 1:
        return [_native("DepthwiseConv2dNative", op, gradient), None]
    kernel_height, kernel_width = kernel.shape[:2]
    stuffed = _stuffed(gradient, windows.stride, windows.padded_hw, (kernel_height - 1, kernel_width - 1))
    border = [[0, 0], [kernel_height - 1] * 2, [kernel_width - 1] * 2, [0, 0]]
    # The kernel gets no gradient: the weights are constants here.
    return [
        windows.cropped(tf.nn.depthwise_conv2d(tf.pad(stuffed, border), kernel[::-1, ::-1], [1, 1, 1, 1], "VALID")),
        None,
    ]


def _native(op_type: str, op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """TensorFlow's own gradient with respect to the op's first input."""
    own = tf.raw_ops
    strides, padding, layout = op.get_attr("strides"), op.get_attr("padding"), op.get_attr("data_format")
    layout = layout.decode() if isinstance(layout, bytes) else layout
    padding = padding.decode() if isinstance(padding, bytes) else padding
    if op_type == "DepthwiseConv2dNative":
        return own.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.shape(op.inputs[0]),
            filter=op.inputs[1],
            out_backprop=gradient,
            strides=strides,
            padding=padding,
            data_format=layout,
            dilations=op.get_attr("dilations"),
        )
    shared = {"ksize": op.get_attr("ksize"), "strides": strides, "padding": padding, "data_format": layout}
    if op_type == "AvgPool":
        return own.AvgPoolGrad(orig_input_shape=tf.shape(op.inputs[0]), grad=gradient, **shared)
    return own.MaxPoolGrad(orig_input=op.inputs[0], orig_output=op.outputs[0], grad=gradient, **shared)


def _mask(condition: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.cast(condition, like.dtype)


class _Windows:
    """The windows that a pool or a convolution slides over its input, and the way back from window to input."""

    def __init__(self, input_hw: tuple[int, int], size: tuple[int, int], stride: int, padding: str) -> None:
        self.stride = stride
        self.offsets = [(row, column) for row in range(size[0]) for column in range(size[1])]
        if padding == "SAME":
            self._output_hw = tuple(-(-side // stride) for side in input_hw)
            needed = [
                max((outs - 1) * stride + window - side, 0)
                for outs, window, side in zip(self._output_hw, size, input_hw, strict=True)
            ]
        else:
            self._output_hw = tuple((side - window) // stride + 1 for side, window in zip(input_hw, size, strict=True))
            needed = [0, 0]
        self._before_hw = tuple(count // 2 for count in needed)
        self._after_hw = tuple(count - count // 2 for count in needed)
        self._input_hw = input_hw
        self.padded_hw = (input_hw[0] + needed[0], input_hw[1] + needed[1])

    @classmethod
    def of(cls, op: tf.Operation, size_nhwc: tuple[int, ...]) -> _Windows | None:
        """The windows of an op; None where they are of a kind not written here."""
        strides, padding = op.get_attr("strides"), op.get_attr("padding")
        input_hw = op.inputs[0].shape[1:3]
        is_plain = op.get_attr("data_format") in {b"NHWC", "NHWC"} and strides[1] == strides[2]
        padding = padding.decode() if isinstance(padding, bytes) else padding
        if not is_plain or padding not in {"SAME", "VALID"} or None in tuple(input_hw):
            return None
        return cls(tuple(input_hw), (int(size_nhwc[1]), int(size_nhwc[2])), int(strides[1]), padding)

    def padded(self, images: tf.Tensor, value: float) -> tf.Tensor:
        """The input with the border that SAME padding adds."""
        (top, left), (bottom, right) = self._before_hw, self._after_hw
        if not any((top, left, bottom, right)):
            return images
        return tf.pad(images, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)

    def cropped(self, padded: tf.Tensor) -> tf.Tensor:
        """The other way: the input without that border."""
        (top, left), (height, width) = self._before_hw, self._input_hw
        return padded[:, top : top + height, left : left + width]

    def seen_at(self, padded: tf.Tensor, offset: tuple[int, int]) -> tf.Tensor:
        """What each window sees at one place inside it: an image of the output's size."""
        (row, column), (height, width), stride = offset, self._output_hw, self.stride
        last_row, last_column = row + (height - 1) * stride + 1, column + (width - 1) * stride + 1
        return padded[:, row:last_row:stride, column:last_column:stride]

    def scattered(self, values: tf.Tensor, offset: tuple[int, int]) -> tf.Tensor:
        """The other way: one value a window put at that place, zero elsewhere, of the padded input's size."""
        row, column = offset
        rest_hw = (self.padded_hw[0] - row, self.padded_hw[1] - column)
        stuffed = _stuffed(values, self.stride, rest_hw, (0, 0))
        return tf.pad(stuffed, [[0, 0], [row, 0], [column, 0], [0, 0]])


def _stuffed(values: tf.Tensor, stride: int, window_hw: tuple[int, int], less_hw: tuple[int, int]) -> tf.Tensor:
    """Zeros between the values so that they lie ``stride`` apart, then cut or filled to ``window_hw - less_hw``."""
    _, height, width, channels = values.shape
    if stride > 1:
        # One axis after the other: LiteRT pads at most four dimensions.
        rows = tf.pad(tf.reshape(values, [height, 1, width, channels]), [[0, 0], [0, stride - 1], [0, 0], [0, 0]])
        columns = tf.pad(tf.reshape(rows, [height * stride * width, 1, channels]), [[0, 0], [0, stride - 1], [0, 0]])
        values = tf.reshape(columns, [1, height * stride, width * stride, channels])
    wanted_height, wanted_width = window_hw[0] - less_hw[0], window_hw[1] - less_hw[1]
    values = values[:, :wanted_height, :wanted_width]
    missing_height, missing_width = wanted_height - values.shape[1], wanted_width - values.shape[2]
    if missing_height or missing_width:
        values = tf.pad(values, [[0, 0], [0, missing_height], [0, missing_width], [0, 0]])
    return values


_GRADIENTS: dict[str, Callable[..., object]] = {
    "MatMul": _matrix_product,
    "Relu": _relu,
    "Relu6": _relu6,
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "MaxPool": _max_pool,
    "AvgPool": _average_pool,
    "DepthwiseConv2dNative": _depthwise_convolution,
}

for _op, _gradient in _GRADIENTS.items():
    tf.RegisterGradient(f"LiveCam{_op}")(_gradient)
