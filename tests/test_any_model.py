"""Any classifier, however it is wrapped and whatever its head: one pass, the right layer, a map of the class."""

from __future__ import annotations

import any_networks
import keras
import numpy as np
import pytest
import tensorflow as tf
from any_networks import CLASSES, HEADS, SIZE, TARGET, WRAPPINGS, applied, body, functional, policy
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.loading import load_explainer
from live_cam.models.specs import MODEL_SPECS
from live_cam.one_pass import gradmodel
from live_cam.pass_loader import made_picture
from live_cam.preprocess import PREPROCESSINGS, FrameFitter


@pytest.fixture
def traced(monkeypatch):
    """All passes made during a test."""
    made = []

    class Kept(gradmodel.GradModel):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(gradmodel, "GradModel", Kept)
    return made


def check(explainer, traced, layer=TARGET):
    """What holds for every classifier."""
    count = explainer.facts.output_count
    heatmaps = [explainer.explain(made_picture(), index).heatmap for index in range(max(2, count))]
    assert [one.trace_count for one in traced] == [1]
    assert layer is None or explainer.facts.layer == layer
    assert min(heatmaps[0].shape) > 1
    assert np.isfinite(heatmaps).all()
    assert max(one.max() for one in heatmaps) > 0
    assert any((one != heatmaps[0]).any() for one in heatmaps[1:])


def without_size(wrapping):
    return SIZE if wrapping in ("never called", "subclassed") else None


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_of_every_head_on_tensorflow(wrapping, head, traced):
    keras.utils.set_random_seed(1)
    model = WRAPPINGS[wrapping](HEADS[head]())
    explainer = load_explainer(model, input_size=without_size(wrapping), engine="tensorflow")
    check(explainer, traced)
    assert explainer.facts.head == head.replace("separate softmax", "softmax").replace("separate activation", "softmax")


@pytest.mark.parametrize(
    ("wrapping", "head"),
    [*((wrapping, "softmax") for wrapping in WRAPPINGS), *(("functional", head) for head in HEADS)],
)
def test_every_wrapping_and_every_head_on_litert(wrapping, head, traced):
    """That the conversion was accepted means that it agreed with TensorFlow."""
    keras.utils.set_random_seed(1)
    model = WRAPPINGS[wrapping](HEADS[head]())
    explainer = load_explainer(model, input_size=without_size(wrapping), engine="litert")
    assert explainer.engine_name == "litert"
    check(explainer, traced)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_computed_in_single_precision_and_left_as_it_was(name, traced):
    with policy(name):
        model = functional(HEADS["separate activation"]())
    single = functional(HEADS["separate activation"]())
    single.set_weights(model.get_weights())
    explainer, expected = load_explainer(model, engine="litert"), load_explainer(single, engine="tensorflow")
    np.testing.assert_allclose(
        explainer.explain(made_picture(), 1).heatmap, expected.explain(made_picture(), 1).heatmap, atol=1e-6
    )
    assert {layer.dtype_policy.name for layer in model.layers if layer.name in ("first", TARGET)} == {name}


def pooled_oracle(model, values, weights):
    """Grad-CAM of a pooled dense head in closed form: weights . activations / (h w)."""
    activations = np.asarray(keras.Model(model.input, model.get_layer(TARGET).output)(values))[0]
    return np.maximum(activations @ weights / activations[..., 0].size, 0)


def network_pixels(explainer, image):
    """(1, h, w, 3) float32 RGB in 0..1."""
    return explainer.preprocess(image).pixels[..., ::-1].astype(np.float32) / 255


@pytest.mark.parametrize(
    ("target", "index", "sign"), [(None, 0, 1), ("+0", 0, 1), ("-0", 0, -1), ("1", 1, 1), ("-1", 1, -1)]
)
def test_numbers_are_explained_up_and_down(target, index, sign):
    keras.utils.set_random_seed(2)
    model = functional([layers.Dense(2, name="numbers")])
    model.compile(loss="mse")
    model.get_layer("numbers").bias.assign([-5.0, 5.0])  # the larger one is not the default
    explainer = load_explainer(model, engine="tensorflow")
    explanation = explainer.explain(made_picture(), target)
    values = network_pixels(explainer, made_picture())
    kernel = model.get_layer("numbers").kernel.numpy()
    np.testing.assert_allclose(explanation.heatmap, pooled_oracle(model, values, sign * kernel[:, index]), atol=1e-6)
    assert [one.probability for one in explanation.predictions] == [None, None]
    assert [one.value for one in explanation.predictions] == pytest.approx(np.asarray(model(values))[0], abs=1e-6)
    assert explanation.explained.label == ("-" if sign < 0 else "") + str(index)
    assert explanation.explained.value == explanation.predictions[index].value


def test_cam_serves_both_directions_of_a_number():
    model = functional([layers.Dense(1, name="number")])
    explainer = load_explainer(model, engine="tensorflow", method="cam", labels=["age"])
    values = network_pixels(explainer, made_picture())
    kernel = model.get_layer("number").kernel.numpy()[:, 0]
    for target, weights in {"age": kernel, "-age": -kernel}.items():
        heatmap = explainer.explain(made_picture(), target).heatmap
        np.testing.assert_allclose(heatmap, pooled_oracle(model, values, weights) * heatmap.size, atol=1e-5)


def test_one_logit_that_was_trained_as_one_is_two_classes():
    model = functional([layers.Dense(1)])
    assert load_explainer(model, engine="tensorflow").facts.head == "regression"
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    explainer = load_explainer(model, engine="tensorflow", labels=["cat", "dog"])
    logit = float(np.asarray(model(network_pixels(explainer, made_picture())))[0, 0])
    probabilities = {one.label: one.probability for one in explainer.explain(made_picture()).predictions}
    assert explainer.facts.head == "binary"
    assert probabilities["dog"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)


def two_outputs():
    keras.utils.set_random_seed(4)
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(pooled)
    return keras.Model(inputs, [kind, layers.Dense(1, name="age")(pooled)])


def test_one_of_several_outputs_is_explained_by_its_name(traced):
    model = two_outputs()
    explainer = load_explainer(model, output_name="kind", engine="litert")
    check(explainer, traced)
    assert (explainer.facts.head, explainer.facts.output_count) == ("softmax", 3)
    assert explainer.forward(made_picture()).shape == (3,)
    # Another output of the same model is another entry of the cache, of the bare network too.
    other = load_explainer(model, output_name="age", engine="litert")
    assert (other.facts.head, other.facts.output_count) == ("regression", 1)
    assert other.forward(made_picture()).shape == (1,)


def test_several_outputs_without_a_name_are_listed():
    with pytest.raises(ModelError, match="several outputs; choose one with --output-name: kind, age$"):
        load_explainer(two_outputs())
    with pytest.raises(SettingError, match="unknown output 'kinds'; did you mean kind"):
        load_explainer(two_outputs(), output_name="kinds")


class DictionaryOfOutputs(any_networks.Subclassed):
    def call(self, images):
        return {"kind": super().call(images), "same": super().call(images) * 2}


def test_outputs_in_a_dictionary_have_its_keys_for_names(traced):
    model = DictionaryOfOutputs(HEADS["softmax"]())
    check(load_explainer(model, input_size=SIZE, output_name="kind", engine="tensorflow"), traced)


def test_grey_networks_get_the_luma_of_the_picture(traced):
    keras.utils.set_random_seed(1)
    model = functional(HEADS["softmax"](), channels=1)
    explainer = load_explainer(model, engine="litert")
    check(explainer, traced)
    # ITU-R BT.601, as every image library does it.
    grey = network_pixels(explainer, made_picture()) @ np.float32([0.299, 0.587, 0.114])
    np.testing.assert_allclose(
        explainer.forward(made_picture()), np.asarray(model(grey[..., np.newaxis]))[0], atol=1e-5
    )


def test_a_network_of_any_size_needs_one(traced):
    model = functional(HEADS["softmax"](), size=(None, None))
    with pytest.raises(SettingError, match="does not say its input size; give it with --input-size"):
        load_explainer(model)
    check(load_explainer(model, input_size=48, engine="litert"), traced)


def test_a_network_need_not_be_square(traced):
    explainer = load_explainer(functional(HEADS["softmax"](), size=(32, 64)), engine="litert")
    check(explainer, traced)
    assert explainer.facts.input_size_wh == (64, 32)
    assert explainer.explain(made_picture()).heatmap.shape == (15, 31)


def test_a_model_that_was_called_once_remembers_its_size(traced):
    model = any_networks.Subclassed(HEADS["softmax"]())
    model(np.zeros((2, 40, 32, 3), np.float32))
    explainer = load_explainer(model, engine="tensorflow")
    check(explainer, traced)
    assert explainer.facts.input_size_wh == (32, 40)


def test_two_models_that_were_never_called_are_not_taken_for_each_other():
    def heatmap():
        keras.utils.clear_session()  # the same names, then
        model = any_networks.never_called(HEADS["softmax"]())
        return load_explainer(model, input_size=SIZE, engine="litert").explain(made_picture(), 0).heatmap

    assert (heatmap() != heatmap()).any()


class WithACompiledCall(any_networks.Subclassed):
    @tf.function
    def call(self, images):
        return super().call(images)


def test_a_model_that_compiles_its_own_call_is_looked_into(traced):
    check(load_explainer(WithACompiledCall(HEADS["softmax"]()), input_size=SIZE, engine="litert"), traced)


def test_a_recurrent_head_runs_on_tensorflow(traced):
    inputs = keras.Input((SIZE, SIZE, 3))
    rows = layers.Reshape((15, 15 * 12))(applied(body(), inputs))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.LSTM(8)(rows)))
    explainer = load_explainer(model)
    check(explainer, traced)
    assert explainer.engine_name == "tensorflow"
    assert explainer.facts.engine_reason.startswith("LiteRT cannot run this pass: ")


def test_a_fully_convolutional_classifier_is_one(traced):
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
    picture, number = keras.Input((SIZE, SIZE, 3)), keras.Input((4,))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], picture)
    return keras.Model([picture, number], layers.Dense(2)(layers.Concatenate()([pooled, number])))


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


def of_sound():
    return keras.Sequential(
        [keras.Input((100, 3)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (transformer, "this is a transformer: behind its last map attention mixes all places"),
        (two_inputs, "the model takes 2 inputs; livecam explains models that take one picture"),
        (perceptron, "no layer of this model gives a map"),
        (segmentation, r"the model's output is \(1, 15, 15, 5\), not \(1, classes\): a map or boxes"),
        (channels_first, "the model is channels-first .*data_format='channels_last'"),
        (five_channels, r"takes pictures of 5 channels; livecam gives 3 \(colour\) or 1 \(grey\)"),
        (of_sound, r"the model takes \(None, 100, 3\); livecam explains models that take one"),
    ],
)
def test_what_is_not_supported_says_so_in_one_line(build, message):
    with pytest.raises(ModelError, match=message) as caught:
        load_explainer(build(), engine="tensorflow")
    assert "\n" not in str(caught.value)


def test_a_layer_of_a_transformer_can_be_named_all_the_same(traced):
    check(load_explainer(transformer(), engine="tensorflow", layer="patches"), traced, "patches")


# The smallest inputs whose last map is still more than one cell.
APPLICATIONS = {
    "mobilenet": 64, "mobilenetv2": 64, "mobilenetv3small": 64, "mobilenetv3large": 64, "efficientnetb0": 64,
    "efficientnetv2b0": 64, "resnet50": 64, "resnet50v2": 64, "densenet121": 64, "convnexttiny": 64, "xception": 71,
    "inceptionv3": 107, "nasnetmobile": 64, "vgg16": 64,
}  # fmt: skip
# Whose head is average pooling and one dense layer, by the name of that layer.
POOLED_DENSE = {"mobilenet": "conv_preds"} | dict.fromkeys(
    ["mobilenetv2", "efficientnetb0", "efficientnetv2b0", "resnet50", "resnet50v2", "densenet121", "xception",
     "inceptionv3", "nasnetmobile"], "predictions",
)  # fmt: skip


# test_loading holds these against TensorFlow.
ON_LITERT_ELSEWHERE = {"mobilenet", "mobilenetv2", "mobilenetv3small", "efficientnetb0", "densenet121"}


@pytest.fixture(scope="module")
def application(request):
    name = request.param
    keras.utils.clear_session()  # layers without a name of their own are numbered through the process
    keras.utils.set_random_seed(5)
    size = APPLICATIONS[name]
    model = getattr(keras.applications, MODEL_SPECS[name].builder)(weights=None, input_shape=(size, size, 3), classes=7)
    return name, model, load_explainer(model, engine="tensorflow")


@pytest.mark.parametrize("application", APPLICATIONS, indirect=True, scope="module")
def test_every_family_is_explained_at_its_last_map_with_its_own_preprocessing(application):
    name, _, explainer = application
    heatmaps = [explainer.explain(made_picture(), index).heatmap for index in range(7)]
    assert explainer.facts.layer == MODEL_SPECS[name].target_layer
    assert explainer.facts.preprocessing == MODEL_SPECS[name].preprocessing
    assert min(heatmaps[0].shape) > 1
    assert np.isfinite(heatmaps).all()
    assert any((one != heatmaps[0]).any() for one in heatmaps)


@pytest.mark.parametrize("application", POOLED_DENSE, indirect=True, scope="module")
def test_heatmaps_of_pooled_dense_heads_are_their_weights_times_the_activations(application):
    name, model, explainer = application
    normalization = PREPROCESSINGS[MODEL_SPECS[name].preprocessing]
    pixels, _ = FrameFitter(explainer.facts.input_size_wh).fit(made_picture())
    ordered = pixels[..., ::-1] if normalization.colour_order == "rgb" else pixels
    values = (ordered - np.float32(normalization.mean)) / np.float32(normalization.std)
    activations = np.asarray(keras.Model(model.input, model.get_layer(explainer.facts.layer).output)(values))[0]
    weights = model.get_layer(POOLED_DENSE[name]).kernel.numpy().reshape(-1, 7)[:, 3]
    expected = np.maximum(activations @ weights / activations[..., 0].size, 0)
    heatmap = explainer.explain(made_picture(), 3).heatmap
    np.testing.assert_allclose(heatmap, expected, atol=1e-4 * np.abs(activations @ weights).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in APPLICATIONS if name not in ON_LITERT_ELSEWHERE])
def test_large_families_agree_on_litert(name, traced):
    keras.utils.set_random_seed(5)
    size = APPLICATIONS[name]
    model = getattr(keras.applications, MODEL_SPECS[name].builder)(weights=None, input_shape=(size, size, 3), classes=7)
    check(load_explainer(model, engine="litert"), traced, None)
