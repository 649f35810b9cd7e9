"""Gradients of common ops, written with ops that LiteRT has kernels for.

TensorFlow's gradients of ReLU and similar activations, of pooling and of depthwise convolutions are fused ops that
LiteRT cannot run. Ops that are created under ``litert_gradients()`` get the gradients of this module instead, with the
same values. Cases that are not covered keep TensorFlow's gradient; such a model runs on the TensorFlow engine.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def litert_gradients() -> Iterator[None]:
    """Makes ``tf.gradients`` differentiate the ops created inside the ``with`` block by this module's functions."""
    with tf.compat.v1.get_default_graph().gradient_override_map({op: f"LiveCam{op}" for op in _GRADIENTS}):
        yield


def weighted_one_hots(indices: tf.Tensor, weights: tf.Tensor, count: int) -> tf.Tensor:
    """Returns (1, count): the weights, (k,), at their indices, (k,) in [0, count), else 0.

    The gradient of a dense layer recognizes this vector and picks k rows of its kernel instead of multiplying by all of
    it.
    """
    return tf.matmul(weights[tf.newaxis], tf.one_hot(indices, count, dtype=weights.dtype))


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
    # tf.gradients wraps the vector it starts from in an Identity.
    source = gradient.op.inputs[0].op if gradient.op.type == "Identity" else gradient.op
    if source.type == "MatMul" and source.inputs[1].op.type == "OneHot":
        weights, one_hots = source.inputs
        return tf.matmul(weights, tf.gather(tf.transpose(kernel), one_hots.op.inputs[0]))
    return tf.matmul(gradient, kernel, transpose_b=True)


def _relu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return gradient * _mask(op.outputs[0] > 0, gradient)


def _relu6(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    output = op.outputs[0]
    return gradient * _mask((output > 0) & (output < 6), gradient)


def _leaky_relu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(op.inputs[0] > 0, gradient, gradient * op.get_attr("alpha"))


def _elu(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    # Below zero the output is exp(x) - 1 and its slope exp(x).
    output = op.outputs[0]
    return gradient * tf.where(output > 0, tf.ones_like(output), output + 1)


def _max_pool(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    pool = _Windows.of(op, op.get_attr("ksize"))
    if pool is None:
        return _native("MaxPool", op, gradient)
    images = pool.pad(op.inputs[0], op.inputs[0].dtype.min)
    # Of several equal maxima, the first in row order gets the gradient, as in TensorFlow. After a ReLU, whole windows
    # are zero; counting every place of them would multiply the gradient.
    untaken = tf.ones_like(gradient)
    total = None
    for offset in pool.offsets:
        is_first_maximum = untaken * _mask(tf.equal(pool.values_at(images, offset), op.outputs[0]), gradient)
        untaken -= is_first_maximum
        share = pool.scatter(gradient * is_first_maximum, offset)
        total = share if total is None else total + share
    return pool.crop(total)


def _average_pool(op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    pool = _Windows.of(op, op.get_attr("ksize"))
    if pool is None:
        return _native("AvgPool", op, gradient)
    # At a padded border fewer places are averaged. The counts are constants, which conversion folds.
    ones = pool.pad(tf.ones((1, *op.inputs[0].shape[1:3], 1), gradient.dtype), 0)
    counts = tf.add_n([pool.values_at(ones, offset) for offset in pool.offsets])
    return pool.crop(tf.add_n([pool.scatter(gradient / counts, offset) for offset in pool.offsets]))


def _depthwise_convolution(op: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    images, kernel = op.inputs
    windows = _Windows.of(op, (1, *kernel.shape[:2], 1))
    if windows is None or kernel.shape[3] != 1 or max(op.get_attr("dilations")) > 1:
        return [_native("DepthwiseConv2dNative", op, gradient), None]
    kernel_height, kernel_width = kernel.shape[:2]
    padded_height, padded_width = windows.padded_hw
    spread = _spread(gradient, windows.stride, (padded_height - kernel_height + 1, padded_width - kernel_width + 1))
    border = [[0, 0], [kernel_height - 1] * 2, [kernel_width - 1] * 2, [0, 0]]
    # The kernel needs no gradient: the weights are constants here.
    return [
        windows.crop(tf.nn.depthwise_conv2d(tf.pad(spread, border), kernel[::-1, ::-1], [1, 1, 1, 1], "VALID")),
        None,
    ]


def _batch_normalization(op: tf.Operation, gradient: tf.Tensor, *_of_statistics: tf.Tensor) -> list[tf.Tensor | None]:
    # With constant mean and variance it is linear. In Keras 2 it is one op; Keras 3 writes the arithmetic out.
    _, scale, _, _, variance = op.inputs
    slope = scale * tf.math.rsqrt(variance + op.get_attr("epsilon"))
    if op.get_attr("data_format") in {b"NCHW", "NCHW"}:
        slope = tf.reshape(slope, [-1, 1, 1])
    return [gradient * tf.cast(slope, gradient.dtype), None, None, None, None]


def _native(op_type: str, op: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    """Returns TensorFlow's own gradient with respect to the op's first input."""
    strides, padding, layout = op.get_attr("strides"), op.get_attr("padding"), op.get_attr("data_format")
    layout = layout.decode() if isinstance(layout, bytes) else layout
    padding = padding.decode() if isinstance(padding, bytes) else padding
    if op_type == "DepthwiseConv2dNative":
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
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
        return tf.raw_ops.AvgPoolGrad(orig_input_shape=tf.shape(op.inputs[0]), grad=gradient, **shared)
    return tf.raw_ops.MaxPoolGrad(orig_input=op.inputs[0], orig_output=op.outputs[0], grad=gradient, **shared)


def _mask(condition: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.cast(condition, like.dtype)


class _Windows:
    """The windows that pooling or a convolution slides over its input, and the way back from windows to input."""

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
        """Returns the windows of an op; None if they are of a kind that is not covered."""
        strides, padding = op.get_attr("strides"), op.get_attr("padding")
        input_hw = op.inputs[0].shape[1:3]
        is_plain = op.get_attr("data_format") in {b"NHWC", "NHWC"} and strides[1] == strides[2]
        padding = padding.decode() if isinstance(padding, bytes) else padding
        if not is_plain or padding not in {"SAME", "VALID"} or None in tuple(input_hw):
            return None
        return cls(tuple(input_hw), (int(size_nhwc[1]), int(size_nhwc[2])), int(strides[1]), padding)

    def pad(self, images: tf.Tensor, value: float) -> tf.Tensor:
        """Adds the border that SAME padding adds to the input."""
        (top, left), (bottom, right) = self._before_hw, self._after_hw
        if not any((top, left, bottom, right)):
            return images
        return tf.pad(images, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=value)

    def crop(self, padded: tf.Tensor) -> tf.Tensor:
        """Removes that border again."""
        (top, left), (height, width) = self._before_hw, self._input_hw
        return padded[:, top : top + height, left : left + width]

    def values_at(self, padded: tf.Tensor, offset: tuple[int, int]) -> tf.Tensor:
        """Returns, for each window, the padded input at one place inside it: an image of the output's size."""
        (row, column), (height, width), stride = offset, self._output_hw, self.stride
        last_row, last_column = row + (height - 1) * stride + 1, column + (width - 1) * stride + 1
        return padded[:, row:last_row:stride, column:last_column:stride]

    def scatter(self, values: tf.Tensor, offset: tuple[int, int]) -> tf.Tensor:
        """Puts one value per window at that place of the padded input, and zero elsewhere: the inverse of it."""
        row, column = offset
        rest_hw = (self.padded_hw[0] - row, self.padded_hw[1] - column)
        return tf.pad(_spread(values, self.stride, rest_hw), [[0, 0], [row, 0], [column, 0], [0, 0]])


def _spread(values: tf.Tensor, stride: int, size_hw: tuple[int, int]) -> tf.Tensor:
    """Puts zeros between the values so that they lie ``stride`` apart, then crops or pads them to ``size_hw``."""
    _, height, width, channels = values.shape
    if stride > 1:
        # One axis after the other: LiteRT pads at most four dimensions.
        rows = tf.pad(tf.reshape(values, [height, 1, width, channels]), [[0, 0], [0, stride - 1], [0, 0], [0, 0]])
        columns = tf.pad(tf.reshape(rows, [height * stride * width, 1, channels]), [[0, 0], [0, stride - 1], [0, 0]])
        values = tf.reshape(columns, [1, height * stride, width * stride, channels])
    values = values[:, : size_hw[0], : size_hw[1]]
    missing_height, missing_width = size_hw[0] - values.shape[1], size_hw[1] - values.shape[2]
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
    "FusedBatchNormV3": _batch_normalization,
}

for _op, _gradient in _GRADIENTS.items():
    tf.RegisterGradient(f"LiveCam{_op}")(_gradient)
