"""The grad-model: what it computes, for which layer, and that it is traced once."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SHARED_DATA, needs_shared_data
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.gradmodel.grad_model import GradModel, GraphConfig
from live_cam.models.keras_network import KerasNetwork
from live_cam.preprocess import PREPROCESSINGS

SIZE = 32
WEIGHTS = SHARED_DATA / "models" / "mobilenet_v2_imagenet.weights.h5"
NO_CLASS, SIMILAR_CLASSES = -1, -2


def config(size=SIZE, preprocessing="unit", **changes):
    return GraphConfig((size, size), PREPROCESSINGS[preprocessing], **changes)


def grad_model_of(model, config):
    return GradModel(KerasNetwork(model), config)


def random_pixels(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def explained(grad_model, pixels, target=-1, contrast=NO_CLASS):
    outputs, heatmap = grad_model.explain(tf.constant(pixels), tf.constant([target, contrast], tf.int32))
    return outputs.numpy(), heatmap.numpy()


def small_network(head=None, classes=5):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
            layers.Conv2D(12, 3, strides=2, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(name="pool"),
            *(head or [layers.Dense(classes, activation="softmax", name="classes")]),
        ]
    )


def pooled_dense_oracle(model, pixels, weights):
    """Grad-CAM for average pooling and one dense layer in closed form: weights . activations / (h w)."""
    activations = pixels.astype(np.float32)[..., ::-1] / 255
    for layer in model.layers[:2]:
        activations = layer(activations)
    activations = activations.numpy()[0]
    return np.maximum(activations @ weights / (activations.shape[0] * activations.shape[1]), 0)


@pytest.mark.parametrize("target", range(5))
def test_heatmap_of_a_pooled_dense_head_is_its_weights_times_the_activations(target):
    model = small_network()
    _, heatmap = explained(grad_model_of(model, config()), random_pixels(), target)
    kernel = model.get_layer("classes").kernel.numpy()
    np.testing.assert_allclose(heatmap, pooled_dense_oracle(model, random_pixels(), kernel[:, target]), atol=1e-6)


def test_contrast_is_the_difference_of_two_classes():
    model = small_network()
    _, heatmap = explained(grad_model_of(model, config()), random_pixels(), 1, contrast=3)
    kernel = model.get_layer("classes").kernel.numpy()
    np.testing.assert_allclose(
        heatmap, pooled_dense_oracle(model, random_pixels(), kernel[:, 1] - kernel[:, 3]), atol=1e-6
    )


def test_the_top_class_is_explained_by_default():
    grad_model = grad_model_of(small_network(), config())
    outputs, heatmap = explained(grad_model, random_pixels())
    np.testing.assert_array_equal(heatmap, explained(grad_model, random_pixels(), int(outputs.argmax()))[1])


def test_outputs_are_those_of_the_model_and_of_forward():
    model = small_network()
    grad_model = grad_model_of(model, config())
    expected = model(random_pixels().astype(np.float32)[..., ::-1] / 255).numpy()[0]
    np.testing.assert_allclose(explained(grad_model, random_pixels())[0], expected, atol=1e-6)
    np.testing.assert_allclose(grad_model.forward(tf.constant(random_pixels())).numpy(), expected, atol=1e-6)


def test_it_is_traced_once_for_all_classes_and_frames():
    grad_model = grad_model_of(small_network(), config())
    for target, contrast in ((-1, NO_CLASS), (0, NO_CLASS), (1, 3), (4, SIMILAR_CLASSES)):
        explained(grad_model, random_pixels(seed=target + 1), target, contrast)
    assert grad_model.trace_count == 1


def test_a_saturated_softmax_has_a_heatmap():
    head = [layers.Dense(5, activation="softmax", name="classes")]
    model = small_network(head)
    model.get_layer("classes").bias.assign([60.0, 0, 0, 0, 0])  # probability 1 in float32, so its gradient is 0
    kernel = model.get_layer("classes").kernel.numpy()
    model.get_layer("classes").kernel.assign(np.abs(kernel))
    outputs, by_logit = explained(grad_model_of(model, config()), random_pixels(), 0)
    assert outputs[0] == 1.0
    assert by_logit.max() > 0
    assert explained(grad_model_of(model, config(score="probability")), random_pixels(), 0)[1].max() == 0


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ([layers.Dense(5, activation="softmax")], "softmax"),
        ([layers.Dense(5), layers.Softmax()], "softmax"),
        ([layers.Dense(5), layers.Activation("softmax", dtype="float32")], "softmax"),
        ([layers.Dense(5, activation="sigmoid")], "sigmoid"),
        ([layers.Dense(1, activation="sigmoid")], "binary"),
        ([layers.Dense(5)], "logits"),
        ([layers.Dense(1)], "regression"),
    ],
)
def test_the_kind_of_head_is_recognized(head, kind):
    assert grad_model_of(small_network(head), config()).info.head == kind


def test_both_classes_of_a_single_sigmoid_have_a_heatmap():
    model = small_network([layers.Dense(1, activation="sigmoid", name="classes")])
    grad_model = grad_model_of(model, config())
    weights = model.get_layer("classes").kernel.numpy()[:, 0]
    np.testing.assert_allclose(
        explained(grad_model, random_pixels(), 1)[1], pooled_dense_oracle(model, random_pixels(), weights), atol=1e-6
    )
    np.testing.assert_allclose(
        explained(grad_model, random_pixels(), 0)[1], pooled_dense_oracle(model, random_pixels(), -weights), atol=1e-6
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(6, 3, strides=4, activation="relu", name="inside")
        self.classes = layers.Dense(4, activation="softmax")

    def call(self, images):
        return self.classes(keras.ops.mean(self.convolution(images), axis=(1, 2)))


def nested_network():
    base = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.Conv2D(6, 3, strides=2, activation="relu", name="deep")], name="base"
    )
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(base(inputs)))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(pooled))


def network_with_a_1x1_map_last():
    inputs = keras.Input((SIZE, SIZE, 3))
    features = layers.Conv2D(6, 3, strides=2, activation="relu", name="features")(inputs)
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(features)
    scores = layers.Conv2D(4, 1, name="scores")(pooled)  # the last convolution, but 1x1
    return keras.Model(inputs, layers.Softmax()(layers.Flatten()(scores)))


def network_with_an_unused_branch():
    inputs = keras.Input((SIZE, SIZE, 3))
    features = layers.Conv2D(6, 3, strides=2, activation="relu", name="features")(inputs)
    classes = layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(features))
    unused = layers.Conv2D(2, 3, name="unused")(features)
    zero = layers.Lambda(lambda maps: keras.ops.stop_gradient(keras.ops.mean(maps)) * 0)(unused)
    return keras.Model(inputs, layers.Softmax()(layers.Add()([classes, zero * keras.ops.ones_like(classes)])))


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (small_network, "second"),
        (Subclassed, "inside"),
        (nested_network, "deep"),
        (network_with_a_1x1_map_last, "features"),
        (network_with_an_unused_branch, "features"),
    ],
)
def test_the_default_layer_is_the_last_one_called_with_a_feature_map(build, layer):
    grad_model = grad_model_of(build(), config())
    assert grad_model.info.layer_names == (layer,)
    _, heatmap = explained(grad_model, random_pixels())
    assert min(heatmap.shape) > 1
    assert np.isfinite(heatmap).all()


def test_tracing_restores_the_call_methods_of_the_layers():
    model = nested_network()
    grad_model_of(model, config())
    assert not [layer.name for layer in model._flatten_layers() if "call" in vars(layer)]


def test_a_layer_can_be_named():
    grad_model = grad_model_of(small_network(), config(layers=("first",)))
    assert grad_model.info.layer_names == ("first",)
    assert explained(grad_model, random_pixels())[1].shape == (15, 15)


def test_maps_of_several_layers_are_scaled_and_enlarged_and_their_maximum_is_taken():
    maps = [
        explained(grad_model_of(small_network(), config(layers=(name,))), random_pixels(), 2)[1]
        for name in ("first", "second")
    ]
    scaled = [np.tanh(2 * heatmap / heatmap.max()) for heatmap in maps]
    enlarged = [cv2.resize(heatmap, (15, 15), interpolation=cv2.INTER_LINEAR) for heatmap in scaled]
    grad_model = grad_model_of(small_network(), config(layers=("first", "second")))
    np.testing.assert_allclose(explained(grad_model, random_pixels(), 2)[1], np.maximum(*enlarged), atol=1e-5)


def test_cam_is_the_dense_layers_weights_times_the_activations():
    model = small_network()
    heatmap = explained(grad_model_of(model, config(method="cam")), random_pixels(), 3)[1]
    kernel = model.get_layer("classes").kernel.numpy()
    np.testing.assert_allclose(
        heatmap, pooled_dense_oracle(model, random_pixels(), kernel[:, 3]) * heatmap.size, atol=1e-5
    )


def test_cam_is_refused_for_a_head_that_is_not_linear():
    model = small_network([layers.Dense(8, activation="relu"), layers.Dense(5, activation="softmax")])
    with pytest.raises(SettingError, match="cam needs a head of average pooling and one dense layer"):
        grad_model_of(model, config(method="cam"))


def test_maps_of_the_best_classes_equal_those_of_single_calls():
    outputs, maps = explained(grad_model_of(small_network(), config(top_maps=3)), random_pixels(), 4)
    single = grad_model_of(small_network(), config())
    for heatmap, class_index in zip(maps, [4, *np.argsort(-outputs)[:3]], strict=True):
        np.testing.assert_allclose(heatmap, explained(single, random_pixels(), class_index)[1], atol=1e-6)


def test_the_error_for_an_unknown_layer_names_the_nearest():
    with pytest.raises(SettingError, match="^unknown layer 'secnd'; did you mean second[?]$"):
        grad_model_of(small_network(), config(layers=("secnd",)))


def test_the_error_for_a_layer_without_a_feature_map_says_its_shape():
    with pytest.raises(SettingError, match=r"the output of layer 'pool' is \(1, 12\), not a map .*; try second$"):
        grad_model_of(small_network(), config(layers=("pool",)))


def test_a_network_without_feature_maps_is_refused():
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(3, activation="softmax")])
    with pytest.raises(ModelError, match="^no layer of this model has a feature map"):
        grad_model_of(model, config())


def test_several_outputs_are_refused():
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    with pytest.raises(ModelError, match="several outputs"):
        grad_model_of(keras.Model(inputs, [layers.Dense(2)(pooled), layers.Dense(3)(pooled)]), config())


def heatmap_of_article(model, pixels_rgb, class_index, layer):
    """The recipe that the project started from, on RGB: pooled gradient of the probability, mean over channels."""
    grad_model = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    with tf.GradientTape() as tape:
        activations, predictions = grad_model(pixels_rgb / 127.5 - 1)
        score = predictions[:, class_index]
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(0, 1, 2)).numpy()
    heatmap = np.maximum(np.mean(activations.numpy()[0] * weights, axis=-1), 0)
    return heatmap / heatmap.max()


def test_the_heatmap_equals_the_articles_with_random_weights():
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35, classes=10)
    check_article_parity(model, 96)


@needs_shared_data
def test_the_heatmap_equals_the_articles_with_imagenet_weights():
    model = keras.applications.MobileNetV2(weights=None)
    model.load_weights(WEIGHTS)
    check_article_parity(model, 224)


def check_article_parity(model, size):
    grad_model = grad_model_of(model, config(size, "tf", layers=("Conv_1",), score="probability"))
    pixels = random_pixels(size)
    outputs, heatmap = explained(grad_model, pixels)
    expected = heatmap_of_article(model, pixels[..., ::-1].astype(np.float32), int(outputs.argmax()), "Conv_1")
    np.testing.assert_allclose(heatmap / heatmap.max(), expected, atol=1e-4)
