"""What is found out about a model: how it wants its pixels, and when that cannot be right."""

from __future__ import annotations

import any_networks
import keras
import numpy as np
import pytest
from any_networks import HEADS, SIZE, applied, body, functional
from keras import layers

from live_cam.loading import load_explainer
from live_cam.models.families import family_of
from live_cam.models.inspect import found_preprocessing
from live_cam.one_pass.doubts import saturated_share
from live_cam.pass_loader import made_picture


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


def test_a_base_is_known_by_its_layers_however_deep_it_is_nested(mobilenet):
    base = keras.Model(mobilenet.input, mobilenet.output, name="mine")
    for model in (on_top(base), keras.Sequential([keras.Input((64, 64, 3)), on_top(base)])):
        found = found_preprocessing(model)
        assert (found.name, found.reason) == ("tf", "its layers are those of MobileNetV2")


def test_a_base_that_was_cut_is_known_too(mobilenet):
    cut = keras.Model(mobilenet.input, mobilenet.get_layer("block_6_expand_relu").output, name="mine")
    assert found_preprocessing(on_top(cut)).name == "tf"


def test_a_base_is_known_by_its_name_where_its_layers_are_not():
    base = any_networks.base()
    base.name = "vgg16"
    inputs = keras.Input((SIZE, SIZE, 3))
    assert found_preprocessing(keras.Model(inputs, applied([base, *head()], inputs))).name == "caffe"


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
def test_a_base_whose_pixels_are_normalized_before_it_gets_them_raw(mobilenet, before):
    assert found_preprocessing(on_top(mobilenet, before)).name == "raw"


def test_layers_that_only_turn_the_picture_normalize_nothing(mobilenet):
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    assert found_preprocessing(on_top(mobilenet, augmentation)).name == "tf"


def test_a_base_that_normalizes_inside_itself_is_known_by_that():
    found = found_preprocessing(on_top(application("MobileNetV3Small")))
    assert found.name == "raw"
    assert found.reason.startswith("the model normalizes inside itself, in rescaling")


def test_arithmetic_behind_the_first_trained_layer_normalizes_nothing():
    inputs = keras.Input((SIZE, SIZE, 3))
    values = layers.Conv2D(4, 3)(inputs) / 6 + 3
    assert found_preprocessing(keras.Model(inputs, applied(head(), values))).name == "unit"


def test_of_a_subclassed_model_a_rescaling_layer_counts_wherever_it_is():
    class Own(any_networks.Subclassed):
        def __init__(self):
            super().__init__(HEADS["softmax"]())
            self.scale = layers.Rescaling(1 / 255)

    assert found_preprocessing(Own()).name == "raw"
    assert found_preprocessing(any_networks.Subclassed(HEADS["softmax"]())).name == "unit"


@pytest.mark.parametrize(
    ("names", "networks", "family"),
    [
        (["conv2_block1_1_bn", "conv2_block1_out"], [], "ResNet"),
        (["conv2_block1_1_bn", "conv2_block1_out", "conv2_block1_preact_bn"], [], "ResNetV2"),
        (["block1_conv1", "block1_conv2"], [], None),  # many a network of one's own begins so
        ([], ["mobilenetv2_1.00_224"], "MobileNetV2"),
        ([], ["resnet50v2"], "ResNetV2"),
        ([], ["resnet101"], "ResNet"),
        ([], ["vgg19"], "VGG"),
        ([], ["inception_resnet_v2"], "InceptionResNetV2"),
        ([], ["my_mobilenet"], None),
    ],
)
def test_families(names, networks, family):
    found = family_of(names, networks)
    assert (found.name if found else None) == family


def lines_of(model, **settings):
    lines = []
    load_explainer(model, engine="tensorflow", on_build=lines.append, **settings)
    return [line for line in lines if line.startswith("warning")]


def test_a_choice_that_may_be_right_is_not_doubted():
    keras.utils.set_random_seed(0)
    assert lines_of(functional(HEADS["softmax"]())) == []


def saturating(bias, activation):
    """Its first layer is stuck at one end whatever it sees, in 0..255 at least."""
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(
        4, 3, activation=activation, name="stuck",
        kernel_initializer=keras.initializers.RandomNormal(stddev=5, seed=0),
        bias_initializer=keras.initializers.Constant(bias),
    )  # fmt: skip
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, applied([convolution, *head()], inputs))


def test_a_saturated_first_layer_is_named():
    model = saturating(0.0, "sigmoid")
    (line,) = lines_of(model, preprocess="raw")
    assert "with preprocessing raw layer stuck is saturated; try --preprocess with one of unit, tf, torch" in line
    assert lines_of(model, preprocess="unit") == []


def test_a_network_that_says_always_the_same_is_doubted():
    (line,) = lines_of(saturating(-1e6, "relu"))
    assert "with preprocessing unit the model says the same of a picture and of a black one" in line


def test_a_doubt_is_said_again_by_a_run_that_loads_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    saturating(-1e6, "relu").save(tmp_path / "stuck.keras")
    said = {"building": [], "warning": []}
    for _ in range(2):
        said = {"building": [], "warning": []}
        load_explainer(tmp_path / "stuck.keras", on_build=said["building"].append, on_warning=said["warning"].append)
    assert said["building"] == []
    (line,) = said["warning"]
    assert line.startswith("warning: with preprocessing unit the model says the same")


class OwnCode(keras.Model):
    """Brings its pixels into range in its own ``call``, or does not."""

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
def test_arithmetic_in_the_code_of_a_model_is_a_normalization(prepare, name):
    explainer = load_explainer(OwnCode(prepare), input_size=SIZE, engine="tensorflow")
    assert explainer.facts.preprocessing == name


def test_a_preprocessing_that_is_given_is_not_searched_for():
    lines = []
    explainer = load_explainer(
        functional(HEADS["softmax"]()), engine="tensorflow", preprocess="tf", on_build=lines.append
    )
    assert explainer.facts.preprocessing == "tf"
    assert not [line for line in lines if line.startswith("preprocessing")]


def test_what_was_chosen_is_said():
    lines = []
    load_explainer(functional(HEADS["softmax"]()), engine="tensorflow", on_build=lines.append)
    assert "preprocessing unit: nothing in the model says otherwise; --preprocess sets it" in lines


def test_of_a_model_given_by_name_nothing_is_said_of_preprocessing():
    lines = []
    explainer = load_explainer("efficientnet-lite0", engine="tensorflow", on_build=lines.append)
    assert explainer.facts.preprocessing == "lite"
    assert not [line for line in lines if "preprocessing" in line]


@pytest.mark.parametrize(
    ("values", "share"),
    [([0, 0, 0, 0], 1.0), ([0, 6, 6, 0], 1.0), ([0, 1, 2, 3], 0.5), ([0, 0, 0, 5, 3], 0.8), ([0, 0.001, 3, 6], 0.75)],
)
def test_saturated_share_counts_both_ends(values, share):
    assert saturated_share(np.float32(values)) == pytest.approx(share)


def test_the_made_picture_is_fit_for_this():
    assert saturated_share(made_picture()) < 0.05


def test_the_body_has_a_map_of_15x15():
    assert keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body()]).output_shape == (None, 15, 15, 12)
