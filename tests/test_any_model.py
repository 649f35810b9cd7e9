"""Classifiers of every structure and head: traced once, the right target layer, a heatmap that depends on the class."""

from __future__ import annotations

import any_networks
import keras
import numpy as np
import pytest
import tensorflow as tf
from any_networks import CLASSES, HEADS, SIZE, TARGET, WRAPPINGS, applied, body, functional, policy
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.gradmodel import grad_model as gradmodel
from live_cam.models.keras_network import KerasNetwork
from live_cam.models.registry import MODEL_SPECS
from live_cam.preprocess import PREPROCESSINGS, FrameFitter

pytestmark = pytest.mark.slow


@pytest.fixture
def traced(monkeypatch):
    """All grad-models that a test creates."""
    created = []

    class RecordedGradModel(gradmodel.GradModel):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            created.append(self)

    monkeypatch.setattr(gradmodel, "GradModel", RecordedGradModel)
    return created


def check(explainer, traced, layer=TARGET):
    """Checks what holds for every classifier."""
    count = explainer.info.output_count
    heatmaps = [explainer.explain(synthetic_image(), index).heatmap for index in range(max(2, count))]
    assert [grad_model.trace_count for grad_model in traced] == [1]
    assert layer is None or explainer.info.layer == layer
    assert min(heatmaps[0].shape) > 1
    assert np.isfinite(heatmaps).all()
    assert max(heatmap.max() for heatmap in heatmaps) > 0
    assert any((heatmap != heatmaps[0]).any() for heatmap in heatmaps[1:])


def undeclared_size(wrapping):
    return SIZE if wrapping in ("never called", "subclassed") else None


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_of_every_head_on_tensorflow(wrapping, head, traced):
    keras.utils.set_random_seed(1)
    model = WRAPPINGS[wrapping](HEADS[head]())
    explainer = load_explainer(model, input_size=undeclared_size(wrapping), engine="tensorflow")
    check(explainer, traced)
    assert explainer.info.head == head.replace("separate softmax", "softmax").replace("separate activation", "softmax")


@pytest.mark.parametrize(
    ("wrapping", "head"),
    [*((wrapping, "softmax") for wrapping in WRAPPINGS), *(("functional", head) for head in HEADS)],
)
def test_every_wrapping_and_every_head_on_litert(wrapping, head, traced):
    """A conversion is only accepted if it agrees with TensorFlow."""
    keras.utils.set_random_seed(1)
    model = WRAPPINGS[wrapping](HEADS[head]())
    explainer = load_explainer(model, input_size=undeclared_size(wrapping), engine="litert")
    assert explainer.engine_name == "litert"
    check(explainer, traced)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_computed_in_single_precision_and_then_restored(name, traced):
    with policy(name):
        model = functional(HEADS["separate activation"]())
    single = functional(HEADS["separate activation"]())
    single.set_weights(model.get_weights())
    explainer, expected = load_explainer(model, engine="litert"), load_explainer(single, engine="tensorflow")
    np.testing.assert_allclose(
        explainer.explain(synthetic_image(), 1).heatmap, expected.explain(synthetic_image(), 1).heatmap, atol=1e-6
    )
    assert {layer.dtype_policy.name for layer in model.layers if layer.name in ("first", TARGET)} == {name}


def pooled_oracle(model, values, weights):
    """Grad-CAM for average pooling and one dense layer in closed form: weights . activations / (h w)."""
    activations = np.asarray(keras.Model(model.input, model.get_layer(TARGET).output)(values))[0]
    return np.maximum(activations @ weights / activations[..., 0].size, 0)


def network_pixels(explainer, image):
    """(1, h, w, 3) float32 RGB in 0..1."""
    return explainer.preprocess(image).pixels[..., ::-1].astype(np.float32) / 255


@pytest.mark.parametrize(
    ("target", "index", "sign"), [(None, 0, 1), ("+0", 0, 1), ("-0", 0, -1), ("1", 1, 1), ("-1", 1, -1)]
)
def test_what_raises_and_what_lowers_a_number_is_explained(target, index, sign):
    keras.utils.set_random_seed(2)
    model = functional([layers.Dense(2, name="numbers")])
    model.compile(loss="mse")
    model.get_layer("numbers").bias.assign([-5.0, 5.0])  # the default is the first one, not the largest
    explainer = load_explainer(model, engine="tensorflow")
    explanation = explainer.explain(synthetic_image(), target)
    values = network_pixels(explainer, synthetic_image())
    kernel = model.get_layer("numbers").kernel.numpy()
    np.testing.assert_allclose(explanation.heatmap, pooled_oracle(model, values, sign * kernel[:, index]), atol=1e-6)
    assert [prediction.probability for prediction in explanation.predictions] == [None, None]
    assert [prediction.value for prediction in explanation.predictions] == pytest.approx(
        np.asarray(model(values))[0], abs=1e-6
    )
    assert explanation.explained.label == ("-" if sign < 0 else "") + str(index)
    assert explanation.explained.value == explanation.predictions[index].value


def test_cam_explains_both_directions_of_a_number():
    model = functional([layers.Dense(1, name="number")])
    explainer = load_explainer(model, engine="tensorflow", method="cam", labels=["age"])
    values = network_pixels(explainer, synthetic_image())
    kernel = model.get_layer("number").kernel.numpy()[:, 0]
    for target, weights in {"age": kernel, "-age": -kernel}.items():
        heatmap = explainer.explain(synthetic_image(), target).heatmap
        np.testing.assert_allclose(heatmap, pooled_oracle(model, values, weights) * heatmap.size, atol=1e-5)


def test_a_single_output_that_was_trained_as_a_logit_is_two_classes():
    model = functional([layers.Dense(1)])
    assert load_explainer(model, engine="tensorflow").info.head == "regression"
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    explainer = load_explainer(model, engine="tensorflow", labels=["cat", "dog"])
    logit = float(np.asarray(model(network_pixels(explainer, synthetic_image())))[0, 0])
    probabilities = {
        prediction.label: prediction.probability for prediction in explainer.explain(synthetic_image()).predictions
    }
    assert explainer.info.head == "binary"
    assert probabilities["dog"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def two_outputs():
    keras.utils.set_random_seed(4)
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(pooled)
    return keras.Model(inputs, [kind, layers.Dense(1, name="age")(pooled)])


def test_one_of_several_outputs_is_chosen_by_its_name(traced):
    model = two_outputs()
    explainer = load_explainer(model, output_name="kind", engine="litert")
    check(explainer, traced)
    assert (explainer.info.head, explainer.info.output_count) == ("softmax", 3)
    assert explainer.forward(synthetic_image()).shape == (3,)
    # Another output of the same model is another entry in the cache, also without a heatmap.
    other = load_explainer(model, output_name="age", engine="litert")
    assert (other.info.head, other.info.output_count) == ("regression", 1)
    assert other.forward(synthetic_image()).shape == (1,)


def test_the_error_for_a_missing_or_unknown_output_name_lists_the_names():
    with pytest.raises(ModelError, match=r"several outputs; give the output name: kind \(3\), age \(1\)$"):
        load_explainer(two_outputs())
    with pytest.raises(SettingError, match="unknown output 'kinds'; did you mean kind"):
        load_explainer(two_outputs(), output_name="kinds")


def beside_classes(length, activation, name, loss):
    """An output beside a softmax over three classes; the loss is for both, the classes' first."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(pooled)
    model = keras.Model(inputs, [kind, layers.Dense(length, activation=activation, name=name)(pooled)])
    if loss is not None:
        model.compile(loss=loss)
    return model


FOR_CLASSES = "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("length", "activation", "name", "loss", "head"),
    [
        (4, None, "where", None, "regression"),
        (4, None, "where", {"kind": FOR_CLASSES}, "regression"),
        (5, None, "where", {"kind": FOR_CLASSES, "where": "mse"}, "regression"),
        (5, None, "where", [FOR_CLASSES, keras.losses.Huber()], "regression"),
        (10, None, "landmarks", None, "regression"),
        (4, "relu", "bbox", None, "regression"),
        (4, "sigmoid", "bounding_box", None, "regression"),
        (4, "sigmoid", "where", [FOR_CLASSES, "mse"], "regression"),
        (5, None, "color", None, "logits"),
        (4, None, "color", [FOR_CLASSES, keras.losses.CategoricalCrossentropy(from_logits=True)], "logits"),
        (4, None, "box_class", None, "logits"),
        (4, None, "boxer", ["mse", FOR_CLASSES], "logits"),
        (4, "sigmoid", "tags", None, "sigmoid"),
        (5, "sigmoid", "tags", [FOR_CLASSES, "mse"], "sigmoid"),
        (1, "sigmoid", "box", [FOR_CLASSES, "mse"], "binary"),
        (4, "softmax", "box", [FOR_CLASSES, "mse"], "softmax"),
    ],
)
def test_numbers_beside_classes_are_told_by_their_loss_their_name_and_their_length(
    length, activation, name, loss, head
):
    model = beside_classes(length, activation, name, loss)
    assert traced_head(model, name) == head
    assert traced_head(model, "kind") == "softmax"


def traced_head(model, output_name):
    network = KerasNetwork(model)
    shape = network.input_shape(None)
    config = gradmodel.GraphConfig(
        shape.size_wh,
        PREPROCESSINGS["unit"],
        output_name=output_name,
        linear_outputs=network.linear_outputs(output_name),
    )
    return gradmodel.GradModel(network, config).info.head


def test_a_box_is_four_numbers_and_no_class():
    model = beside_classes(4, "sigmoid", "box", None)
    explainer = load_explainer(model, output_name="box", engine="litert", labels=["left", "top", "right", "bottom"])
    explanation = explainer.explain(synthetic_image(), "-right")
    values = network_pixels(explainer, synthetic_image())
    assert [prediction.probability for prediction in explanation.predictions] == [None, None, None]
    expected = np.asarray(model(values)[1])[0]
    assert [prediction.value for prediction in explanation.predictions] == pytest.approx(expected[:3], abs=1e-6)
    # The gradient before the sigmoid, which may be saturated.
    kernel = model.get_layer("box").kernel.numpy()
    np.testing.assert_allclose(explanation.heatmap, pooled_oracle(model, values, -kernel[:, 2]), atol=1e-6)


class DictionaryOfOutputs(any_networks.Subclassed):
    def call(self, images):
        return {"kind": super().call(images), "same": super().call(images) * 2}


def test_outputs_in_a_dictionary_are_named_by_its_keys(traced):
    model = DictionaryOfOutputs(HEADS["softmax"]())
    check(load_explainer(model, input_size=SIZE, output_name="kind", engine="tensorflow"), traced)


def test_gray_networks_get_the_luma_of_the_image(traced):
    keras.utils.set_random_seed(1)
    model = functional(HEADS["softmax"](), channels=1)
    explainer = load_explainer(model, engine="litert")
    check(explainer, traced)
    # ITU-R BT.601, as in every image library.
    gray = network_pixels(explainer, synthetic_image()) @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(
        explainer.forward(synthetic_image()), np.asarray(model(gray[..., np.newaxis]))[0], atol=1e-5
    )


def test_a_network_for_any_input_size_needs_one(traced):
    model = functional(HEADS["softmax"](), size=(None, None))
    with pytest.raises(SettingError, match="does not declare its input size; give the input size"):
        load_explainer(model)
    check(load_explainer(model, input_size=48, engine="litert"), traced)


def test_a_network_need_not_be_square(traced):
    explainer = load_explainer(functional(HEADS["softmax"](), size=(32, 64)), engine="litert")
    check(explainer, traced)
    assert explainer.info.input_size_wh == (64, 32)
    assert explainer.explain(synthetic_image()).heatmap.shape == (15, 31)


def test_a_model_that_was_called_remembers_its_input_size(traced):
    model = any_networks.Subclassed(HEADS["softmax"]())
    model(np.zeros((2, 40, 32, 3), np.float32))
    explainer = load_explainer(model, engine="tensorflow")
    check(explainer, traced)
    assert explainer.info.input_size_wh == (32, 40)


def test_two_models_that_were_never_called_are_not_confused_in_the_cache():
    def heatmap():
        keras.utils.clear_session()  # so that both have the same names
        model = any_networks.never_called(HEADS["softmax"]())
        return load_explainer(model, input_size=SIZE, engine="litert").explain(synthetic_image(), 0).heatmap

    assert (heatmap() != heatmap()).any()


class CompiledCall(any_networks.Subclassed):
    @tf.function
    def call(self, images):
        return super().call(images)


def test_a_model_with_a_compiled_call_is_explained(traced):
    check(load_explainer(CompiledCall(HEADS["softmax"]()), input_size=SIZE, engine="litert"), traced)


def test_a_recurrent_head_runs_on_tensorflow(traced):
    inputs = keras.Input((SIZE, SIZE, 3))
    rows = layers.Reshape((15, 15 * 12))(applied(body(), inputs))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.LSTM(8)(rows)))
    explainer = load_explainer(model)
    check(explainer, traced)
    assert explainer.engine_name == "tensorflow"
    assert explainer.info.engine_reason.startswith("LiteRT cannot run this model: ")


def test_a_fully_convolutional_classifier_is_explained(traced):
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(applied(body(), inputs))
    model = keras.Model(inputs, layers.Softmax()(layers.Conv2D(CLASSES, 1)(pooled)))
    check(load_explainer(model, engine="litert"), traced)


def transformer():
    inputs = keras.Input((SIZE, SIZE, 3))
    tokens = layers.Reshape((16, 8))(layers.Conv2D(8, 8, strides=8, name="patches")(inputs))
    tokens = tokens + layers.MultiHeadAttention(2, 4)(tokens, tokens)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(tokens)))


def two_inputs():
    image, number = keras.Input((SIZE, SIZE, 3), name="image"), keras.Input((4,), name="number")
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], image)
    return keras.Model([image, number], layers.Dense(2)(layers.Concatenate()([pooled, number])))


def perceptron():
    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)]
    )


def segmentation():
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body(), layers.Conv2D(5, 1)])


def channels_first():
    inputs = keras.Input((3, SIZE, SIZE))
    convolution = layers.Conv2D(4, 3, data_format="channels_first")(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D("channels_first")(convolution)))


def five_channels():
    return functional(HEADS["softmax"](), channels=5)


def sound_classifier():
    return keras.Sequential(
        [keras.Input((100, 3)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (transformer, "this is a transformer: attention behind its last feature map mixes all places"),
        (
            two_inputs,
            r"the model takes 2 inputs: image \(32x32x3\), number \(4\); livecam explains models that take",
        ),
        (perceptron, "no layer of this model has a feature map"),
        (segmentation, r"the model's output is \(1, 15, 15, 5\), not \(1, classes\): a map or boxes"),
        (channels_first, "the model is channels-first .*data_format='channels_last'"),
        (five_channels, r"takes images of 5 channels; livecam gives 3 \(color\) or 1 \(gray\)"),
        (sound_classifier, r"the model takes \(None, 100, 3\); livecam explains models that take one"),
    ],
)
def test_unsupported_models_are_refused_in_one_line(build, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_explainer(build(), engine="tensorflow")
    assert "\n" not in str(caught.value)


def test_a_layer_of_a_transformer_can_be_named(traced):
    check(load_explainer(transformer(), engine="tensorflow", layer="patches"), traced, "patches")


# The smallest inputs whose last map has more than one cell.
APPLICATIONS = {
    "mobilenet": 64, "mobilenetv2": 64, "mobilenetv3small": 64, "mobilenetv3large": 64, "efficientnetb0": 64,
    "efficientnetv2b0": 64, "resnet50": 64, "resnet50v2": 64, "densenet121": 64, "convnexttiny": 64, "xception": 71,
    "inceptionv3": 107, "nasnetmobile": 64, "vgg16": 64,
}  # fmt: skip
# The dense layer of those whose head is average pooling and one dense layer.
POOLED_DENSE = {"mobilenet": "conv_preds"} | dict.fromkeys(
    ["mobilenetv2", "efficientnetb0", "efficientnetv2b0", "resnet50", "resnet50v2", "densenet121", "xception",
     "inceptionv3", "nasnetmobile"], "predictions",
)  # fmt: skip


# test_load_explainer compares these with TensorFlow, and test_hub a small DenseNet.
ON_LITERT_ELSEWHERE = {"mobilenet", "mobilenetv2", "mobilenetv3small", "efficientnetb0", "densenet121"}


QUICK = {"mobilenet", "mobilenetv2", "efficientnetb0"}


def families(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in names]


@pytest.fixture(scope="module")
def application(request):
    name = request.param
    keras.utils.clear_session()  # Keras numbers unnamed layers per process
    keras.utils.set_random_seed(5)
    size = APPLICATIONS[name]
    model = getattr(keras.applications, MODEL_SPECS[name].builder)(weights=None, input_shape=(size, size, 3), classes=7)
    return name, model, load_explainer(model, engine="tensorflow")


@pytest.mark.parametrize("application", families(APPLICATIONS), indirect=True, scope="module")
def test_every_family_is_explained_at_its_last_map_with_its_preprocessing(application):
    name, _, explainer = application
    heatmaps = [explainer.explain(synthetic_image(), index).heatmap for index in range(7)]
    assert explainer.info.layer == MODEL_SPECS[name].target_layer
    assert explainer.info.preprocessing == MODEL_SPECS[name].preprocessing
    assert min(heatmaps[0].shape) > 1
    assert np.isfinite(heatmaps).all()
    assert any((heatmap != heatmaps[0]).any() for heatmap in heatmaps)


@pytest.mark.parametrize("application", families(POOLED_DENSE), indirect=True, scope="module")
def test_heatmaps_of_pooled_dense_heads_equal_their_weights_times_the_activations(application):
    name, model, explainer = application
    normalization = PREPROCESSINGS[MODEL_SPECS[name].preprocessing]
    pixels, _ = FrameFitter(explainer.info.input_size_wh).fit(synthetic_image())
    ordered = pixels[..., ::-1] if normalization.color_order == "rgb" else pixels
    values = (ordered - np.float32(normalization.mean)) / np.float32(normalization.std)
    activations = np.asarray(keras.Model(model.input, model.get_layer(explainer.info.layer).output)(values))[0]
    weights = model.get_layer(POOLED_DENSE[name]).kernel.numpy().reshape(-1, 7)[:, 3]
    expected = np.maximum(activations @ weights / activations[..., 0].size, 0)
    heatmap = explainer.explain(synthetic_image(), 3).heatmap
    np.testing.assert_allclose(heatmap, expected, atol=1e-4 * np.abs(activations @ weights).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in APPLICATIONS if name not in ON_LITERT_ELSEWHERE])
def test_large_families_agree_on_litert(name, traced):
    keras.utils.set_random_seed(5)
    size = APPLICATIONS[name]
    model = getattr(keras.applications, MODEL_SPECS[name].builder)(weights=None, input_shape=(size, size, 3), classes=7)
    check(load_explainer(model, engine="litert"), traced, None)
