"""From a model to an explainer: both engines agree, and a cache entry is only used for what it was built from."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import live_cam
from live_cam.engines.convert import convert
from live_cam.errors import ModelError, SettingError
from live_cam.explain.agreement import disagreement, synthetic_image
from live_cam.explain.builder import method_named
from live_cam.explain.load import load_explainer
from live_cam.explain.model_cache import Cache
from live_cam.gradmodel import grad_model

SIZE = 32


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def shared_cache(monkeypatch, request):
    """Uses the cache that all tests share, for models that take long to convert."""
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


def test_the_same_request_uses_the_cached_model(model_path):
    first = load_explainer(model_path)
    lines = []
    second = load_explainer(model_path, on_build=lines.append)
    assert (entry_count(), lines) == (1, [])
    assert second.info == first.info
    np.testing.assert_array_equal(first.explain(synthetic_image()).heatmap, second.explain(synthetic_image()).heatmap)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"preprocess": "tf"}, {"layer": "first"}, {"score": "probability"}, {"input_size": SIZE}]
)
def test_another_request_does_not_use_the_cached_model(model_path, changes):
    load_explainer(model_path)
    load_explainer(model_path, **changes)
    assert entry_count() == 2


def test_another_file_of_the_same_name_does_not_use_the_cached_model(model_path):
    before = load_explainer(model_path).explain(synthetic_image())
    small_network(seed=1).save(model_path)
    after = load_explainer(model_path).explain(synthetic_image())
    assert entry_count() == 2
    assert before.predictions[0].value != after.predictions[0].value


def test_a_damaged_entry_is_rebuilt_with_the_same_result(model_path):
    before = load_explainer(model_path).explain(synthetic_image())
    (program,) = Cache().root.glob("*/program.tflite")
    program.write_bytes(program.read_bytes()[:-100])
    after = load_explainer(model_path).explain(synthetic_image())
    np.testing.assert_array_equal(before.heatmap, after.heatmap)


def test_a_cache_that_cannot_be_written_is_reported_and_not_needed(model_path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    lines = []
    explainer = load_explainer(model_path, on_build=lines.append)
    assert explainer.engine_name == "litert"
    assert "cannot store the converted model" in lines[-1]


def test_the_forward_function_is_cached_too_and_agrees(model_path):
    explainer = load_explainer(model_path)
    outputs = explainer.forward(synthetic_image())
    assert entry_count() == 2
    values = {
        prediction.class_index: prediction.value for prediction in explainer.explain(synthetic_image()).predictions
    }
    assert values == pytest.approx({index: outputs[index] for index in values}, abs=1e-6)


class WithoutKernel(layers.Layer):
    def call(self, values):
        return tf.math.lgamma(values + 2)  # LiteRT has no such op


class Doubled(layers.Layer):
    def call(self, values):
        return values * 2


def custom_network():
    model = small_network()
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *model.layers[:-1], Doubled(), model.layers[-1]])


def network_without_kernel():
    model = small_network()
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *model.layers[:-1], WithoutKernel(), model.layers[-1]])


def test_tensorflow_is_used_if_litert_cannot_run_the_model_and_the_reason_is_given():
    explainer = load_explainer(network_without_kernel())
    assert explainer.engine_name == "tensorflow"
    assert "LiteRT cannot run this model" in explainer.info.engine_reason
    assert "\n" not in explainer.info.engine_reason
    assert explainer.explain(synthetic_image()).heatmap.max() > 0


def test_asking_for_litert_is_an_error_if_it_cannot_run_the_model():
    with pytest.raises(ModelError, match="the litert engine cannot be used: LiteRT cannot run this model"):
        load_explainer(network_without_kernel(), engine="litert")


def record_models(monkeypatch):
    """Weak references to all grad-models, and their Keras models, that a test creates."""
    created = []

    class RecordedGradModel(grad_model.GradModel):
        def __init__(self, network, config):
            super().__init__(network, config)
            created.extend([weakref.ref(self), weakref.ref(network.model)])

    monkeypatch.setattr(grad_model, "GradModel", RecordedGradModel)
    return created


def test_a_first_run_does_not_keep_the_keras_model(model_path, monkeypatch):
    created = record_models(monkeypatch)
    gc.disable()  # a loop over frames may never trigger it
    try:
        explainer = load_explainer(model_path)
        assert [reference() for reference in created] == [None, None]
        assert explainer.forward(synthetic_image()).shape == (4,)
        assert [reference() for reference in created] == [None] * 4
    finally:
        gc.enable()


def test_a_first_run_of_score_cam_loads_the_model_once(model_path, monkeypatch):
    created, lines = record_models(monkeypatch), []
    explainer = load_explainer(model_path, method="score-cam", on_build=lines.append)
    explainer.explain(synthetic_image())
    assert len(created) == 2
    assert [line for line in lines if line.startswith("loading")] == ["loading TensorFlow and small.keras ..."]


@pytest.mark.slow
def test_replicas_of_a_model_that_is_not_cached_convert_forward_once():
    lines = []
    explainer = load_explainer(custom_network(), threads=2, on_build=lines.append)
    assert explainer.engine_name == "litert"
    for replica in explainer.replicas():
        replica.forward(synthetic_image())
    assert len([line for line in lines if "without heatmap" in line]) == 1


def test_a_model_with_custom_code_is_not_cached():
    load_explainer(network_without_kernel())
    assert entry_count() == 0


def vgg_like():
    """Pooling and dense ReLU layers between the last feature map and the scores, as in VGG16."""
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
    "MobileNetV2 block_6": (
        lambda: APPLICATIONS.MobileNetV2(weights=None, input_shape=(96, 96, 3), alpha=0.35),
        "block_6_expand_relu",
    ),
    "MobileNetV3Small": (lambda: APPLICATIONS.MobileNetV3Small(weights=None, input_shape=(96, 96, 3)), None),
    "MobileNet": (lambda: APPLICATIONS.MobileNet(weights=None, input_shape=(96, 96, 3), alpha=0.25), None),
    "EfficientNetB0": (lambda: APPLICATIONS.EfficientNetB0(weights=None, input_shape=(64, 64, 3)), None),
}
SLOW = set(NETWORKS) - {"small", "VGG-like, last pool", "VGG-like, through the pool", "MobileNetV2"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS])
def test_both_engines_agree(name):
    build, layer = NETWORKS[name]
    keras.utils.set_random_seed(3)
    model = build()
    litert, tensorflow = (
        load_explainer(model, layer=layer, engine=engine, top_k=1000) for engine in ("litert", "tensorflow")
    )
    assert (litert.engine_name, tensorflow.engine_name) == ("litert", "tensorflow")
    # A class with positive evidence; half the classes of a random network have none.
    target = next(index for index in range(10) if tensorflow.explain(synthetic_image(), index).heatmap.max() > 0)
    explanation, expected = litert.explain(synthetic_image(), target), tensorflow.explain(synthetic_image(), target)
    assert sorted(prediction.value for prediction in explanation.predictions) == pytest.approx(
        sorted(prediction.value for prediction in expected.predictions), abs=1e-4
    )
    peak = expected.heatmap.max()
    assert peak > 0
    np.testing.assert_allclose(explanation.heatmap / peak, expected.heatmap / peak, atol=1e-3)


class FixedEngine:
    """Always returns the same."""

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
def test_the_disagreement_is_described(outputs, heatmap, reason):
    assert disagreement(TRUSTED, FixedEngine(outputs, heatmap), None, "softmax") == reason


def graph_ids():
    return {id(value) for value in gc.get_objects() if issubclass(type(value), tf.Graph)}


def test_a_conversion_leaves_no_graph_behind():
    weight = tf.Variable(tf.ones(8))
    function = tf.function(lambda values: values * weight, input_signature=[tf.TensorSpec((8,), tf.float32)])
    function.get_concrete_function()
    gc.collect()
    before = graph_ids()
    gc.disable()  # as in a run in which it is never triggered
    try:
        convert(function)
        assert graph_ids() <= before
    finally:
        gc.enable()


def test_a_warm_start_loads_no_tensorflow(model_path):
    load_explainer(model_path)
    program = (
        "import sys, live_cam, numpy as np\n"
        f"explainer = live_cam.load_explainer({str(model_path)!r})\n"
        "explainer.explain(np.zeros((48, 64, 3), np.uint8))\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("shared_cache")
def test_the_default_model_recognizes_the_cat_and_looks_at_it(photograph_path):
    explainer = load_explainer()
    explanation = explainer.explain(cv2.imread(str(photograph_path)))
    assert explanation.predictions[0].label == "Egyptian cat"
    assert explanation.heatmap.shape == (7, 7)
    # Its face rather than the right border.
    assert explanation.heatmap[2:5, 2:5].mean() > 3 * explanation.heatmap[:, 6].mean()
    by_label, by_index = explainer.explain(synthetic_image(), "espresso"), explainer.explain(synthetic_image(), 967)
    assert by_label.explained == by_index.explained
    assert by_label.explained.label == "espresso"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "efficientnet-lite1"}, "unknown model 'efficientnet-lite1'; did you mean efficientnet-lite0"),
        ({"method": "gradcan"}, "unknown method 'gradcan'; did you mean grad-cam"),
        ({"score": "logits"}, "unknown score 'logits'; did you mean logit"),
        ({"engine": "tflite"}, "unknown engine 'tflite'; did you mean litert"),
        ({"preprocess": "tensorflow"}, "unknown preprocessing 'tensorflow'"),
        ({"input_size": 3}, "input size 3 is out of range"),
        ({"top_k": 0}, "top-k 0 is out of range"),
        ({"threads": 0}, "0 threads are out of range; give 1 or more"),
        ({"fit": "strech"}, "unknown fit 'strech'; did you mean stretch"),
    ],
)
def test_the_error_for_an_invalid_argument_names_valid_ones(arguments, message):
    with pytest.raises(SettingError, match=message):
        live_cam.load_explainer(**arguments)


def test_the_error_for_a_missing_model_file_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the model file .*absent\.keras: No such file"):
        load_explainer(tmp_path / "absent.keras")


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a"] * 5])
def test_a_wrong_number_of_labels_is_refused_before_the_model_is_converted(model_path, labels):
    lines = []
    with pytest.raises(
        ModelError, match=f"{len(labels)} labels for 4 classes of small.keras; give one label per class"
    ):
        load_explainer(model_path, labels=labels, on_build=lines.append)
    assert [line for line in lines if line.startswith("loading")]
    assert not [line for line in lines if line.startswith("converting")]


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, 0, 1, 2, 3])
def test_several_classes_in_one_call_on_litert(target):
    model = small_network()
    explanation = load_explainer(model, top_maps=3).explain(synthetic_image(), target)
    single = load_explainer(model, top_k=4)
    assert len(explanation.other_maps) == 2
    best = [prediction.class_index for prediction in single.explain(synthetic_image()).predictions]
    others = [prediction.class_index for prediction, _ in explanation.other_maps]
    assert others == [index for index in best if index != explanation.explained.class_index][:2]
    for prediction, heatmap in [(explanation.explained, explanation.heatmap), *explanation.other_maps]:
        expected = single.explain(synthetic_image(), prediction.class_index).heatmap
        np.testing.assert_allclose(heatmap, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("Grad-CAM", "grad-cam"),
        ("gradcam", "grad-cam"),
        ("GradCAM++", "grad-cam++"),
        ("grad_cam_pp", "grad-cam++"),
        ("Grad-CAM plusplus", "grad-cam++"),
        ("HiResCAM", "hirescam"),
        ("X-Grad-CAM", "xgrad-cam"),
        ("Layer CAM", "layercam"),
        ("ScoreCAM", "score-cam"),
        ("CAM", "cam"),
    ],
)
def test_a_method_is_found_in_any_spelling(name, method):
    assert method_named(name) == method


def test_the_explainer_has_the_usual_name_of_its_method(model_path):
    load_explainer(model_path)
    explainer = load_explainer(model_path, method="GradCAM")
    assert (explainer.method, explainer.settings.method, entry_count()) == ("grad-cam", "grad-cam", 1)


@pytest.mark.parametrize("method", ["grad-cam++", "hirescam", "xgrad-cam", "layercam", "eigen-cam", "cam"])
def test_each_method_agrees_on_both_engines(method):
    keras.utils.set_random_seed(3)
    model = small_network()
    explanation, expected = (
        load_explainer(model, method=method, engine=engine).explain(synthetic_image(), 1)
        for engine in ("litert", "tensorflow")
    )
    peak = expected.heatmap.max()
    assert peak > 0
    np.testing.assert_allclose(explanation.heatmap / peak, expected.heatmap / peak, atol=1e-4)


def test_maps_of_several_layers_are_combined_on_both_engines():
    model = small_network()
    explanation, expected = (
        load_explainer(model, method="layercam", layer="first, second", engine=engine).explain(synthetic_image(), 1)
        for engine in ("litert", "tensorflow")
    )
    assert explanation.heatmap.shape == (15, 15)
    np.testing.assert_allclose(explanation.heatmap, expected.heatmap, atol=1e-4)
