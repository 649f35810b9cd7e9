"""From a model to an explainer: both engines agree, the cache is met only by what it was made for."""

from __future__ import annotations

import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import live_cam
from live_cam.cache import Cache
from live_cam.engines.agreement import disagreement
from live_cam.errors import ModelError, SettingError
from live_cam.loading import load_explainer
from live_cam.pass_loader import made_picture

SIZE = 32


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def shared_cache(monkeypatch, request):
    """The session's cache, for what is slow to convert."""
    monkeypatch.undo()


def small_network(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
            layers.Conv2D(12, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture
def model_path(tmp_path):
    path = tmp_path / "small.keras"
    small_network().save(path)
    return path


def entry_count():
    return Cache().entry_count_and_bytes()[0]


def test_same_request_meets_its_entry(model_path):
    first = load_explainer(model_path)
    lines = []
    second = load_explainer(model_path, on_build=lines.append)
    assert (entry_count(), lines) == (1, [])
    assert second.facts == first.facts
    np.testing.assert_array_equal(first.explain(made_picture()).heatmap, second.explain(made_picture()).heatmap)


@pytest.mark.parametrize(
    "changes", [{"preprocess": "tf"}, {"layer": "first"}, {"score": "probability"}, {"input_size": SIZE}]
)
def test_another_request_never_meets_it(model_path, changes):
    load_explainer(model_path)
    load_explainer(model_path, **changes)
    assert entry_count() == 2


def test_another_file_of_the_same_name_never_meets_it(model_path):
    before = load_explainer(model_path).explain(made_picture())
    small_network(seed=1).save(model_path)
    after = load_explainer(model_path).explain(made_picture())
    assert entry_count() == 2
    assert before.predictions[0].value != after.predictions[0].value


def test_a_damaged_entry_is_rebuilt_and_gives_the_same_numbers(model_path):
    before = load_explainer(model_path).explain(made_picture())
    (program,) = Cache().root.glob("*/program.tflite")
    program.write_bytes(program.read_bytes()[:-100])
    after = load_explainer(model_path).explain(made_picture())
    np.testing.assert_array_equal(before.heatmap, after.heatmap)


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(model_path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    lines = []
    explainer = load_explainer(model_path, on_build=lines.append)
    assert explainer.engine_name == "litert"
    assert "cannot keep the converted model" in lines[-1]


def test_the_bare_forward_is_kept_beside_it_and_agrees(model_path):
    explainer = load_explainer(model_path)
    outputs = explainer.forward(made_picture())
    assert entry_count() == 2
    values = {one.class_index: one.value for one in explainer.explain(made_picture()).predictions}
    assert values == pytest.approx({index: outputs[index] for index in values}, abs=1e-6)


class WithoutKernel(layers.Layer):
    def call(self, values):
        return tf.math.lgamma(values + 2)  # LiteRT has no such op


def network_without_kernel():
    model = small_network()
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *model.layers[:-1], WithoutKernel(), model.layers[-1]])


def test_tensorflow_serves_where_litert_cannot_and_says_why():
    explainer = load_explainer(network_without_kernel())
    assert explainer.engine_name == "tensorflow"
    assert "LiteRT cannot run this pass" in explainer.facts.engine_reason
    assert "\n" not in explainer.facts.engine_reason
    assert explainer.explain(made_picture()).heatmap.max() > 0


def test_litert_that_was_asked_for_and_cannot_be_is_an_error():
    with pytest.raises(ModelError, match="the litert engine cannot serve: LiteRT cannot run this pass"):
        load_explainer(network_without_kernel(), engine="litert")


def test_a_model_with_code_of_its_own_is_not_kept_on_disk():
    load_explainer(network_without_kernel())
    assert entry_count() == 0


def vgg_like():
    """Pools and dense ReLU layers between the last map and the scores, as in VGG16."""
    return keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="convolution"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


APPLICATIONS = keras.applications
NETWORKS = {
    "small": (small_network, None),
    "VGG-like, last pool": (vgg_like, "pool"),
    "VGG-like, through the pool": (vgg_like, "convolution"),
    "MobileNetV2": (lambda: APPLICATIONS.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35), None),
    "MobileNetV2 Conv_1": (
        lambda: APPLICATIONS.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35),
        "Conv_1",
    ),
    "MobileNetV2 block_6": (
        lambda: APPLICATIONS.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35),
        "block_6_expand_relu",
    ),
    "MobileNetV3Small": (lambda: APPLICATIONS.MobileNetV3Small(weights=None, input_shape=(96, 96, 3)), None),
    "MobileNet": (lambda: APPLICATIONS.MobileNet(weights=None, input_shape=(96, 96, 3), alpha=0.25), None),
    "DenseNet121": (lambda: APPLICATIONS.DenseNet121(weights=None, input_shape=(64, 64, 3)), None),
    "EfficientNetB0": (lambda: APPLICATIONS.EfficientNetB0(weights=None, input_shape=(64, 64, 3)), None),
}
SLOW = {"MobileNetV3Small", "MobileNet", "DenseNet121", "EfficientNetB0", "MobileNetV2 block_6"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS])
def test_both_engines_say_the_same(name):
    build, layer = NETWORKS[name]
    keras.utils.set_random_seed(3)
    model = build()
    one, other = (load_explainer(model, layer=layer, engine=engine, top_k=1000) for engine in ("litert", "tensorflow"))
    assert (one.engine_name, other.engine_name) == ("litert", "tensorflow")
    # A class that has positive evidence: of a random network's, half have none.
    target = next(index for index in range(10) if other.explain(made_picture(), index).heatmap.max() > 0)
    explanation, expected = one.explain(made_picture(), target), other.explain(made_picture(), target)
    assert sorted(one.value for one in explanation.predictions) == pytest.approx(
        sorted(one.value for one in expected.predictions), abs=1e-4
    )
    peak = expected.heatmap.max()
    assert peak > 0
    np.testing.assert_allclose(explanation.heatmap / peak, expected.heatmap / peak, atol=1e-3)


class FixedEngine:
    """Says always the same."""

    name = "fixed"

    def __init__(self, outputs, heatmap):
        self._outputs, self._heatmap = np.array(outputs, np.float32), np.array(heatmap, np.float32)

    def explain(self, pixels, class_indices):
        return self._outputs, self._heatmap

    def forward(self, pixels):
        return self._outputs


TRUSTED = FixedEngine([0.1, 0.9], [[0, 2], [4, 0]])


@pytest.mark.parametrize(
    ("outputs", "heatmap", "reason"),
    [
        ([0.1, 0.9], [[0, 2], [4, 0]], None),
        ([0.10005, 0.89995], [[0, 2.003], [4, 0]], None),
        ([0.9, 0.1], [[0, 2], [4, 0]], "another top class"),
        ([0.101, 0.899], [[0, 2], [4, 0]], "probabilities differ by 1.0e-03"),
        ([0.1, 0.9], [[0, 2.1], [4, 0]], "heatmaps differ by 2.5e-02 of their peak"),
        ([0.1, 0.9], [[0, np.nan], [4, 0]], "its values are not finite"),
    ],
)
def test_disagreement_is_named(outputs, heatmap, reason):
    assert disagreement(TRUSTED, FixedEngine(outputs, heatmap), None, "softmax") == reason


def test_a_warm_start_loads_no_tensorflow(model_path):
    load_explainer(model_path)
    program = (
        "import sys, live_cam, numpy as np\n"
        f"explainer = live_cam.load_explainer({str(model_path)!r})\n"
        "explainer.explain(np.zeros((48, 64, 3), np.uint8))\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.usefixtures("shared_cache")
def test_default_model_names_the_cat_and_looks_at_it(photograph_path):
    explainer = load_explainer()
    explanation = explainer.explain(cv2.imread(str(photograph_path)))
    assert explanation.predictions[0].label == "Egyptian cat"
    assert explanation.heatmap.shape == (7, 7)
    assert explanation.heatmap[2:5, 2:5].mean() > 3 * explanation.heatmap[:, 6].mean()  # its face, not the right border
    by_label, by_index = explainer.explain(made_picture(), "espresso"), explainer.explain(made_picture(), 967)
    assert by_label.explained == by_index.explained
    assert by_label.explained.label == "espresso"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "efficientnet-lite1"}, "unknown model 'efficientnet-lite1'; did you mean efficientnet-lite0"),
        ({"method": "gradcam"}, "unknown method 'gradcam'; did you mean grad-cam"),
        ({"score": "logits"}, "unknown score 'logits'; did you mean logit"),
        ({"engine": "tflite"}, "unknown engine 'tflite'; did you mean litert"),
        ({"preprocess": "tensorflow"}, "unknown preprocessing 'tensorflow'"),
        ({"input_size": 3}, "input size 3 is out of range"),
        ({"top_k": 0}, "top-k 0 is out of range"),
    ],
)
def test_wrong_settings_name_what_there_is(arguments, message):
    with pytest.raises(SettingError, match=message):
        live_cam.load_explainer(**arguments)


def test_a_missing_model_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the model file .*absent\.keras: No such file"):
        load_explainer(tmp_path / "absent.keras")


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a"] * 5])
def test_labels_of_the_wrong_length_are_refused_before_the_model_is_converted(model_path, labels):
    lines = []
    with pytest.raises(ModelError, match=f"{len(labels)} labels for 4 classes of small.keras; give one label a class"):
        load_explainer(model_path, labels=labels, on_build=lines.append)
    assert [line for line in lines if line.startswith("loading")]
    assert not [line for line in lines if line.startswith("converting")]


@pytest.mark.parametrize("target", [None, 0, 1, 2, 3])
def test_several_classes_in_one_pass_on_litert(target):
    model = small_network()
    explanation = load_explainer(model, top_maps=3).explain(made_picture(), target)
    single = load_explainer(model, top_k=4)
    assert len(explanation.other_maps) == 2
    best = [one.class_index for one in single.explain(made_picture()).predictions]
    others = [prediction.class_index for prediction, _ in explanation.other_maps]
    assert others == [index for index in best if index != explanation.explained.class_index][:2]
    for prediction, heatmap in [(explanation.explained, explanation.heatmap), *explanation.other_maps]:
        expected = single.explain(made_picture(), prediction.class_index).heatmap
        np.testing.assert_allclose(heatmap, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["grad-cam++", "hirescam", "xgrad-cam", "layercam", "eigen-cam", "cam"])
def test_each_method_says_the_same_on_both_engines(method):
    keras.utils.set_random_seed(3)
    model = small_network()
    explanation, expected = (
        load_explainer(model, method=method, engine=engine).explain(made_picture(), 1)
        for engine in ("litert", "tensorflow")
    )
    peak = expected.heatmap.max()
    assert peak > 0
    np.testing.assert_allclose(explanation.heatmap / peak, expected.heatmap / peak, atol=1e-4)


def test_layers_fused_on_both_engines():
    model = small_network()
    explanation, expected = (
        load_explainer(model, method="layercam", layer="first, second", engine=engine).explain(made_picture(), 1)
        for engine in ("litert", "tensorflow")
    )
    assert explanation.heatmap.shape == (15, 15)
    np.testing.assert_allclose(explanation.heatmap, expected.heatmap, atol=1e-4)
