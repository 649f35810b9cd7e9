"""What is detected about a model: the preprocessing it expects, and signs that it is wrong."""

from __future__ import annotations

import any_networks
import keras
import numpy as np
import pytest
from any_networks import HEADS, SIZE, applied, body, functional
from keras import layers

from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.gradmodel.diagnostics import saturated_share
from live_cam.models.keras_network import KerasNetwork
from live_cam.models.network import InputShape
from live_cam.models.registry import detect_family


def detected_preprocessing(model):
    return KerasNetwork(model).preprocessing(InputShape((64, 64), 3))


def head():
    return [layers.GlobalAveragePooling2D(), layers.Dense(2)]


def on_top(base, before=None, name=None):
    inputs = keras.Input((64, 64, 3))
    values = inputs if before is None else before(inputs)
    return keras.Model(inputs, applied([base, *head()], values), name=name)


def application(builder, **changes):
    return getattr(keras.applications, builder)(weights=None, include_top=False, input_shape=(64, 64, 3), **changes)


@pytest.fixture(scope="module")
def mobilenet():
    return application("MobileNetV2", alpha=0.35)


def test_a_base_network_is_recognized_by_its_layers_at_any_depth(mobilenet):
    base = keras.Model(mobilenet.input, mobilenet.output, name="mine")
    for model in (on_top(base), keras.Sequential([keras.Input((64, 64, 3)), on_top(base)])):
        detected = detected_preprocessing(model)
        assert (detected.name, detected.reason) == ("tf", "its layers are those of MobileNetV2")


def test_a_base_network_whose_end_was_cut_off_is_recognized(mobilenet):
    cut = keras.Model(mobilenet.input, mobilenet.get_layer("block_6_expand_relu").output, name="mine")
    assert detected_preprocessing(on_top(cut)).name == "tf"


def test_a_base_network_is_recognized_by_its_name_if_its_layers_are_unknown():
    base = any_networks.base()
    base.name = "vgg16"
    inputs = keras.Input((SIZE, SIZE, 3))
    assert detected_preprocessing(keras.Model(inputs, applied([base, *head()], inputs))).name == "caffe"


@pytest.mark.parametrize(
    "before",
    [
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0]),
        keras.applications.mobilenet_v2.preprocess_input,
        keras.applications.resnet50.preprocess_input,
        lambda values: values / 255,
        layers.Lambda(lambda values: values / 255),
    ],
)
def test_a_model_that_normalizes_before_its_base_network_gets_raw_pixels(mobilenet, before):
    assert detected_preprocessing(on_top(mobilenet, before)).name == "raw"


def test_augmentation_layers_are_no_normalization(mobilenet):
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    assert detected_preprocessing(on_top(mobilenet, augmentation)).name == "tf"


def test_a_base_network_that_normalizes_by_itself_is_recognized():
    detected = detected_preprocessing(on_top(application("MobileNetV3Small")))
    assert detected.name == "raw"
    assert detected.reason.startswith("the model normalizes its input itself, in rescaling")


def test_arithmetic_behind_the_first_trained_layer_is_no_normalization():
    inputs = keras.Input((SIZE, SIZE, 3))
    values = layers.Conv2D(4, 3)(inputs) / 6 + 3
    assert detected_preprocessing(keras.Model(inputs, applied(head(), values))).name == "unit"


def test_a_rescaling_layer_anywhere_in_a_subclassed_model_is_recognized():
    class Rescaled(any_networks.Subclassed):
        def __init__(self):
            super().__init__(HEADS["softmax"]())
            self.scale = layers.Rescaling(1 / 255)

    assert detected_preprocessing(Rescaled()).name == "raw"
    assert detected_preprocessing(any_networks.Subclassed(HEADS["softmax"]())).name == "unit"


@pytest.mark.parametrize(
    ("names", "networks", "family"),
    [
        (["conv2_block1_1_bn", "conv2_block1_out"], [], "ResNet"),
        (["conv2_block1_1_bn", "conv2_block1_out", "conv2_block1_preact_bn"], [], "ResNetV2"),
        (["block1_conv1", "block1_conv2"], [], None),  # common names
        ([], ["mobilenetv2_1.00_224"], "MobileNetV2"),
        ([], ["resnet50v2"], "ResNetV2"),
        ([], ["resnet101"], "ResNet"),
        ([], ["vgg19"], "VGG"),
        ([], ["inception_resnet_v2"], "InceptionResNetV2"),
        ([], ["my_mobilenet"], None),
    ],
)
def test_the_family_is_recognized(names, networks, family):
    detected = detect_family(names, networks)
    assert (detected.name if detected else None) == family


def warnings_for(model, **settings):
    lines = []
    load_explainer(model, engine="tensorflow", on_build=lines.append, **settings)
    return [line for line in lines if line.startswith("warning")]


def test_there_is_no_warning_for_a_preprocessing_that_may_be_right():
    keras.utils.set_random_seed(0)
    assert warnings_for(functional(HEADS["softmax"]())) == []


def saturating(bias, activation):
    """A network whose first layer is saturated for any input in 0..255."""
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(
        4, 3, activation=activation, name="stuck",
        kernel_initializer=keras.initializers.RandomNormal(stddev=5, seed=0),
        bias_initializer=keras.initializers.Constant(bias),
    )  # fmt: skip
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, applied([convolution, *head()], inputs))


def test_the_warning_names_a_saturated_first_layer():
    model = saturating(0.0, "sigmoid")
    (line,) = warnings_for(model, preprocess="raw")
    assert "with preprocessing raw, layer stuck is saturated; either the preprocessing is another one" in line
    assert "(try one of unit, tf, torch, caffe, lite), or the model is not trained" in line
    assert warnings_for(model, preprocess="unit") == []


def test_there_is_a_warning_for_a_network_that_always_returns_the_same():
    (line,) = warnings_for(saturating(-1e6, "relu"))
    assert "with preprocessing unit, the model returns the same for a colorful image and for a black one;" in line
    assert line.endswith("or the model is not trained")


def test_the_warning_is_repeated_by_a_run_that_uses_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    saturating(-1e6, "relu").save(tmp_path / "stuck.keras")
    load_explainer(tmp_path / "stuck.keras")
    build_lines, warnings = [], []
    load_explainer(tmp_path / "stuck.keras", on_build=build_lines.append, on_warning=warnings.append)
    assert build_lines == []
    (line,) = warnings
    assert line.startswith("warning: with preprocessing unit, the model returns the same")


class CustomCode(keras.Model):
    """Calls ``prepare`` on its pixels, which may normalize them."""

    def __init__(self, prepare):
        super().__init__()
        self.prepare = prepare
        self.parts = [*body(), *head()]

    def call(self, pixels):
        return applied(self.parts, self.prepare(pixels))


@pytest.mark.parametrize(
    ("prepare", "name"),
    [
        (lambda pixels: pixels / 127.5 - 1, "raw"),
        (lambda pixels: keras.ops.cast(pixels, "float32") * (1 / 255), "raw"),
        (lambda pixels: keras.applications.resnet.preprocess_input(pixels), "raw"),
        (lambda pixels: keras.ops.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0))), "unit"),
        (lambda pixels: pixels, "unit"),
    ],
)
def test_arithmetic_in_the_code_of_a_model_is_recognized_as_normalization(prepare, name):
    explainer = load_explainer(CustomCode(prepare), input_size=SIZE, engine="tensorflow")
    assert explainer.info.preprocessing == name


def test_a_given_preprocessing_is_not_detected():
    lines = []
    explainer = load_explainer(
        functional(HEADS["softmax"]()), engine="tensorflow", preprocess="tf", on_build=lines.append
    )
    assert explainer.info.preprocessing == "tf"
    assert not [line for line in lines if line.startswith("preprocessing")]


def test_the_detected_preprocessing_is_reported():
    lines = []
    load_explainer(functional(HEADS["softmax"]()), engine="tensorflow", on_build=lines.append)
    assert "preprocessing unit: nothing in the model indicates another one; you can set it" in lines


def test_the_preprocessing_of_a_model_given_by_name_is_not_reported():
    lines = []
    explainer = load_explainer("efficientnet-lite0", engine="tensorflow", on_build=lines.append)
    assert explainer.info.preprocessing == "lite"
    assert not [line for line in lines if "preprocessing" in line]


@pytest.mark.parametrize(
    ("values", "share"),
    [([0, 0, 0, 0], 1.0), ([0, 6, 6, 0], 1.0), ([0, 1, 2, 3], 0.5), ([0, 0, 0, 5, 3], 0.8), ([0, 0.001, 3, 6], 0.75)],
)
def test_saturated_share_counts_both_ends(values, share):
    assert saturated_share(np.float32(values)) == pytest.approx(share)


def test_the_synthetic_image_is_not_saturated():
    assert saturated_share(synthetic_image()) < 0.05


def test_the_feature_map_of_the_test_networks_is_15x15():
    assert keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body()]).output_shape == (None, 15, 15, 12)
