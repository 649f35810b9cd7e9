"""The gradients that are written with LiteRT's ops equal TensorFlow's, and LiteRT can run them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from live_cam.engines.convert import convert
from live_cam.gradmodel.litert_gradients import litert_gradients, weighted_one_hots


def depthwise(size, stride, padding):
    kernel = tf.constant(np.random.default_rng(5).normal(size=(*size, 3, 1)), tf.float32)
    return lambda x: tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], padding)


def batch_normalization(x):
    scale, offset, mean, variance = np.float32([[1.5, -2, 0.5], [0, 1, 2], [0.1, 0.2, 0.3], [4, 1, 0.2]])
    return tf.compat.v1.nn.fused_batch_norm(x, scale, offset, mean, variance, is_training=False)[0]


OPS = {
    "relu": tf.nn.relu,
    "relu6": lambda x: tf.nn.relu6(4 * x),
    "leaky relu": lambda x: tf.nn.leaky_relu(x, 0.3),
    "elu": tf.nn.elu,
    "max pool 2x2": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    "max pool 3x3, overlapping, padded": lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"),
    "max pool of a ReLU, many ties": lambda x: tf.nn.max_pool2d(tf.nn.relu(x - 1), 2, 2, "VALID"),
    "average pool 2x2": lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"),
    "average pool 3x3, padded": lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME"),
    "depthwise 3x3": depthwise((3, 3), 1, "SAME"),
    "depthwise 3x3, stride 2": depthwise((3, 3), 2, "SAME"),
    "depthwise 5x5, stride 2, not padded": depthwise((5, 5), 2, "VALID"),
    "depthwise 3x5": depthwise((3, 5), 1, "SAME"),
    "batch normalization of Keras 2": batch_normalization,
}
IMAGES = np.random.default_rng(3).normal(size=(1, 9, 12, 3)).astype(np.float32)


def gradient_function(op, *, ours):
    """The gradient of a fixed weighted sum of the op's output."""

    @tf.function(input_signature=[tf.TensorSpec(IMAGES.shape)])
    def gradient(images):
        # Multiplied, so that the op's input is created in the graph, as a layer's output is.
        inputs = images * 1.0
        if ours:
            with litert_gradients():
                outputs = op(inputs)
        else:
            outputs = op(inputs)
        weights = tf.reshape(tf.sin(tf.range(np.prod(outputs.shape), dtype=tf.float32)), outputs.shape)
        return tf.gradients(outputs, inputs, grad_ys=weights)[0]

    return gradient


@pytest.mark.parametrize("name", OPS)
def test_the_gradient_equals_tensorflows_on_both_engines(name):
    expected = gradient_function(OPS[name], ours=False)(IMAGES).numpy()
    ours = gradient_function(OPS[name], ours=True)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours(IMAGES).numpy(), expected, atol=1e-5)

    interpreter = Interpreter(model_content=convert(ours))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], IMAGES)
    interpreter.invoke()
    np.testing.assert_allclose(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), expected, atol=1e-5
    )


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_the_gradients_of_a_matrix_product_equal_tensorflows_for_both_sides(transpose_a, transpose_b):
    random = np.random.default_rng(1)
    left = tf.constant(random.normal(size=(4, 2) if transpose_a else (2, 4)), tf.float32)
    right = tf.constant(random.normal(size=(3, 4) if transpose_b else (4, 3)), tf.float32)
    weights = tf.constant(random.normal(size=(2, 3)), tf.float32)

    def gradients(ours):
        @tf.function
        def function():
            a, b = left * 1.0, right * 1.0
            if ours:
                with litert_gradients():
                    product = tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
            else:
                product = tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
            return tf.gradients(product, [a, b], grad_ys=weights)

        return function()

    for ours, expected in zip(gradients(ours=True), gradients(ours=False), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("indices", "weights"), [([2], [1]), ([2, 0], [1, -1]), ([4, 4], [1, -1]), ([1, 0, 3], [1, -0.7, -0.3])]
)
def test_the_gradient_of_a_dense_layer_for_weighted_classes_is_that_of_their_columns(
    indices: list[int], weights: list[float]
):
    kernel = np.random.default_rng(2).normal(size=(6, 5)).astype(np.float32)

    @tf.function
    def function(indices: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        inputs = tf.ones((1, 6)) * 1.0
        with litert_gradients():
            product = tf.matmul(inputs, kernel)
        return tf.gradients(product, inputs, grad_ys=weighted_one_hots(indices, weights, 5))[0]

    graph = function.get_concrete_function(tf.constant(indices), tf.constant(weights, tf.float32)).graph
    # The kernel's rows are picked: it is multiplied by once, forward.
    assert [op.type for op in graph.get_operations() if kernel.shape in [i.shape for i in op.inputs]].count(
        "MatMul"
    ) == 1
    np.testing.assert_allclose(
        function(tf.constant(indices), tf.constant(weights, tf.float32))[0], kernel[:, indices] @ weights, atol=1e-6
    )
