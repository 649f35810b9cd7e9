"""Networks that are graphs: which ops are a layer, what it is called, and what is a feature map."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from live_cam.errors import ModelError
from live_cam.gradmodel.grad_model import GradModel, GraphConfig
from live_cam.models.graph_network import GraphNetwork
from live_cam.preprocess import PREPROCESSINGS

SIZE = 16


def weights(*shape):
    return tf.constant(np.random.default_rng(1).normal(0, 0.3, shape).astype("f4"))


def convolution(values, channels=4, stride=1):
    return tf.nn.conv2d(values, weights(3, 3, values.shape[-1], channels), stride, "SAME")


def dense(values, count=4):
    return values @ weights(values.shape[-1], count)


def pooled(values):
    return dense(tf.reduce_mean(values, [1, 2]))


def network(call, shape=(None, SIZE, SIZE, 3), dtype="float32"):
    function = tf.function(call, input_signature=[tf.TensorSpec(shape, dtype, name="images")], autograph=False)
    return GraphNetwork("own", function.get_concrete_function())


def traced(graph_network, **settings):
    config = GraphConfig((SIZE, SIZE), PREPROCESSINGS["unit"], **settings)
    return GradModel(graph_network, config)


def layers_of(call):
    """Returns the names of all layers with a feature map, in order."""
    graph_network = network(call)
    with tf.Graph().as_default():
        _, calls = graph_network.run(tf.zeros((1, SIZE, SIZE, 3)))
    return [call.name for call in calls if call.is_spatial]


def test_a_layer_is_a_scope_with_its_shortest_name():
    def call(images):
        for part, stride in (("stem", 1), ("body", 2)):
            with tf.name_scope(f"model/{part}/conv"):
                images = tf.nn.relu(convolution(images, stride=stride) + 1.0)
            with tf.name_scope(f"model/{part}/{part}_pool"):
                images = tf.nn.max_pool2d(images, 2, 1, "SAME")
        return pooled(images)

    assert layers_of(call) == ["stem/conv", "stem_pool", "body/conv", "body_pool"]
    assert traced(network(call)).info.layer_names == ("body_pool",)
    assert traced(network(call), layers=("stem/conv",)).info.layer_names == ("stem/conv",)


def test_the_output_of_a_layer_is_what_others_use():
    def call(images):
        with tf.name_scope("block"):
            maps = tf.nn.relu(convolution(images))
            scale = tf.reduce_mean(tf.nn.sigmoid(maps))
        return pooled(maps * scale)

    assert layers_of(call) == ["block", "mul"]


def test_each_op_of_a_scope_with_several_kernels_is_a_layer():
    def call(images):
        with tf.name_scope("net"):
            values = tf.nn.relu(convolution(tf.nn.relu(convolution(images, stride=2))))
            return pooled(values)

    assert layers_of(call) == ["Conv2D", "Relu", "Conv2D_1", "Relu_1"]


def test_keras_names_have_no_number_that_keras_did_not_give():
    def call(images):
        with tf.name_scope("functional_1_1"), tf.name_scope("features_1"):
            values = tf.nn.convolution(images, weights(3, 3, 3, 4), padding="SAME")
        with tf.name_scope("functional_1_1/add_2_1/"):
            values = tf.nn.relu(values)
        return pooled(values)

    assert layers_of(call) == ["features", "add_2"]


def test_the_weights_of_an_attention_are_no_map():
    def call(images):
        maps = tf.nn.relu(convolution(images, 8, stride=4), name="patches")
        tokens = tf.reshape(maps, (-1, 16, 8))
        heads = tf.reshape(tokens, (-1, 16, 2, 4))
        attention = tf.nn.softmax(tf.einsum("bihc,bjhc->bhij", heads, heads))
        mixed = tf.reshape(tf.einsum("bhij,bjhc->bihc", attention, heads), (-1, 16, 8))
        return dense(tf.reduce_mean(mixed, 1))

    assert layers_of(call) == ["Conv2D", "patches"]
    with pytest.raises(ModelError, match="this is a transformer: attention behind its last feature map"):
        traced(network(call))


def test_maps_with_their_channels_first_are_no_maps():
    def call(images):
        values = tf.transpose(convolution(images), (0, 3, 1, 2))
        values = tf.transpose(tf.nn.relu(values), (0, 2, 3, 1))
        return pooled(tf.nn.relu(convolution(values, stride=2)))

    assert layers_of(call) == ["Conv2D", "transpose_1", "Conv2D_1", "Relu_1"]


def test_a_dense_layer_over_a_map_gives_a_map():
    def call(images):
        maps = tf.nn.relu(convolution(images, stride=2))
        return pooled(tf.nn.relu(tf.tensordot(maps, weights(4, 6), 1), name="mixed"))

    assert layers_of(call)[-1] == "mixed"


def test_quantized_maps_are_refused():
    def call(images):
        low, high = tf.constant(0.0), tf.constant(1.0)
        values = tf.raw_ops.QuantizeV2(input=images, min_range=low, max_range=high, T=tf.quint8)
        kernel = tf.raw_ops.QuantizeV2(input=weights(3, 3, 3, 4), min_range=-1.0, max_range=high, T=tf.qint8)
        maps = tf.raw_ops.QuantizedConv2D(
            input=values[0], filter=kernel[0], min_input=low, max_input=high, min_filter=low - 1, max_filter=high,
            strides=[1, 1, 1, 1], padding="SAME",
        )  # fmt: skip
        numbers = tf.raw_ops.Dequantize(input=maps[0], min_range=maps[1], max_range=maps[2])
        return dense(tf.reduce_mean(numbers, [1, 2]))

    with pytest.raises(ModelError, match=r"the model is quantized \(Quantize\w+\): no gradient passes"):
        traced(network(call))


def test_an_op_that_would_fill_the_memory_is_refused():
    with pytest.raises(ModelError, match=r"own would fill the memory: its op \S+ makes 4.92e\+08 numbers"):
        traced(network(lambda images: pooled(convolution(images)) + tf.reduce_sum(tf.tile(images, (1, 800, 800, 1)))))


@pytest.mark.parametrize(
    ("prepare", "name"),
    [
        (lambda images: images / 127.5 - 1, "raw"),
        (lambda images: tf.image.resize(images, (8, 8)) * 2.0, "raw"),
        (lambda images: tf.reverse(images, [-1]) - [103.0, 116.0, 123.0], "raw"),
        (lambda images: tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), "unit"),
    ],
)
def test_normalization_inside_the_graph_is_recognized(prepare, name):
    graph_network = network(lambda images: pooled(convolution(prepare(images)) * 2.0))
    assert graph_network.preprocessing(graph_network.input_shape(None)).name == name


def test_whole_numbers_are_given_as_they_are():
    graph_network = network(lambda images: pooled(convolution(tf.cast(images, tf.float32))), dtype="uint8")
    shape = graph_network.input_shape(None)
    assert graph_network.preprocessing(shape).name == "raw"
    function = tf.function(lambda values: graph_network.run(values)[0]["0"])
    values = np.random.default_rng(1).integers(0, 256, (1, SIZE, SIZE, 3)).astype(np.float32)
    expected = pooled(convolution(tf.constant(values)))
    np.testing.assert_allclose(function(tf.constant(values + 0.3)), expected, rtol=1e-5)


def test_a_family_is_recognized_by_the_scopes():
    def call(images):
        for layer in ("expanded_conv_depthwise", "expanded_conv_project"):
            with tf.name_scope(f"model/{layer}"):
                images = convolution(images)
        return pooled(images)

    assert network(call).preprocessing(None).name == "tf"


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, SIZE, SIZE, 3), "float32", "takes 4 images at a time"),
        ((SIZE, SIZE, 3), "float32", r"takes \(16, 16, 3\); livecam explains models that take one"),
        ((None, SIZE, SIZE, 5), "float32", "takes images of 5 channels"),
        ((None, SIZE, SIZE, 3), "bool", "takes bool, not the numbers of an image"),
    ],
)
def test_other_inputs_are_refused(shape, dtype, message):
    graph_network = network(lambda images: tf.cast(images, tf.float32), shape, dtype)
    with pytest.raises(ModelError, match=message):
        graph_network.input_shape(None)
