"""SavedModel folders, as Keras 3, TensorFlow and tf_keras write them, are explained like the models they were."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import environment_with
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.models.reference import resolve_model

SIZE = 32
ENGINES = ("tensorflow", "litert")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def small_model(channels=3):
    inputs = keras.Input((SIZE, SIZE, channels))
    values = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    values = layers.Conv2D(8, 3, strides=2, activation="silu", name="first")(values)
    values = layers.SeparableConv2D(12, 3, padding="same", name="separable")(values)
    values = layers.Activation("silu", name="swish")(layers.BatchNormalization(name="norm")(values))
    branch = layers.Conv2D(12, 3, padding="same", activation="relu", name="branch")(values)
    values = layers.Add(name="features")([values, branch])
    values = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(values))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(4, name="logits")(values)))


class Module(tf.Module):
    """A classifier without layers: its ops have no scopes."""

    def __init__(self):
        super().__init__()
        random = np.random.default_rng(1)
        self.kernels = [tf.Variable(random.normal(0, 0.2, (3, 3, *size)).astype("f4")) for size in ((3, 8), (8, 6))]
        self.dense = tf.Variable(random.normal(0, 1, (6, 4)).astype("f4"))

    def maps_and_logits(self, images):
        maps = tf.nn.relu(tf.nn.conv2d(images, self.kernels[0], 2, "SAME"))
        maps = tf.nn.relu(tf.nn.conv2d(maps, self.kernels[1], 1, "SAME"))
        return maps, tf.reduce_mean(maps, [1, 2]) @ self.dense

    @tf.function(input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), name="images")])
    def __call__(self, images):
        return tf.nn.softmax(self.maps_and_logits(images)[1])


def signature_of(function, *specs):
    """Returns a function with one signature, for ``tf.saved_model.save``."""
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


IMAGES = tf.TensorSpec((None, SIZE, SIZE, 3), name="images")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    model = small_model()
    for weight in model.get_layer("norm").weights:
        weight.assign(np.random.default_rng(2).uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "exported"
    model.export(folder, verbose=False)
    return folder


@pytest.fixture(scope="module")
def module():
    return Module()


@pytest.fixture(scope="module")
def saved_module(module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("module") / "module"
    tf.saved_model.save(module, folder)
    return folder


def network_pixels(explainer, image):
    """(1, h, w, 3) float32 RGB in 0..255."""
    return explainer.preprocess(image).pixels[..., ::-1].astype(np.float32)


def eager_heatmap(maps_and_logits, values, index):
    """Grad-CAM by a GradientTape and numpy: relu(mean gradients . maps)."""
    with tf.GradientTape() as tape:
        maps, logits = maps_and_logits(tf.constant(values))
        score = logits[0, index]
    weights = np.mean(tape.gradient(score, maps)[0], axis=(0, 1))
    return np.maximum(np.asarray(maps)[0] @ weights, 0)


def probabilities(explanation):
    by_index = {prediction.class_index: prediction.probability for prediction in explanation.predictions}
    return [by_index[index] for index in sorted(by_index)]


def check_equal(explainer, values, maps_and_logits, expected):
    """Checks predictions and each class's heatmap against the original."""
    for index in range(len(expected)):
        explanation = explainer.explain(synthetic_image(), index)
        np.testing.assert_allclose(probabilities(explanation), expected, atol=1e-5)
        heatmap = eager_heatmap(maps_and_logits, values, index)
        np.testing.assert_allclose(explanation.heatmap, heatmap, atol=1e-5 * heatmap.max() + 1e-9, rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("save", [lambda model, folder: model.export(folder, verbose=False), tf.saved_model.save])
def test_a_keras_model_is_explained_as_an_eager_computation_does(save, engine, model, tmp_path):
    save(model, str(tmp_path / "saved"))
    explainer = load_explainer(tmp_path / "saved", engine=engine, top_k=4)
    values = network_pixels(explainer, synthetic_image())
    inner = keras.Model(model.inputs, [model.get_layer("features").output, model.get_layer("logits").output])
    assert explainer.info.layer == "features"
    assert explainer.info.preprocessing == "raw"
    assert explainer.info.engine == engine
    check_equal(explainer, values, inner, np.asarray(model(values))[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_module_of_raw_ops_is_explained_as_an_eager_computation_does(engine, module, saved_module):
    explainer = load_explainer(saved_module, engine=engine, top_k=4)
    values = network_pixels(explainer, synthetic_image()) / 255
    assert explainer.info.layer == "Relu_1"
    check_equal(explainer, values, module.maps_and_logits, np.asarray(module(values))[0])


WRITE_BY_TF_KERAS = """
import sys
import numpy as np, tensorflow as tf, tf_keras
from tf_keras import layers
kind, folder, side = sys.argv[1], sys.argv[2], 64
tf_keras.utils.set_random_seed(1)
if kind == "cnn":
    body = [layers.Conv2D(8, 3, strides=2, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="swish", name="features")]
    model = tf_keras.Sequential([layers.Input((side, side, 3)), *body, layers.GlobalAveragePooling2D()])
    features, base = model.get_layer("features").output, model
else:
    base = getattr(tf_keras.applications, kind)(weights=None, include_top=False, input_shape=(side, side, 3),
                                               **({"alpha": 0.35} if kind == "MobileNetV2" else {}))
    features = base.output
# Random weights of a deep network leave nothing of the picture; these keep the size of the activations.
for layer in base.layers:
    for weight in layer.weights:
        if "kernel" in weight.name:
            fan_in = np.prod(weight.shape[:2]) if "depthwise" in weight.name else np.prod(weight.shape[:-1])
            weight.assign(np.random.default_rng(1).normal(0, (2 / fan_in) ** 0.5, weight.shape))
pooled = base.output if kind == "cnn" else layers.GlobalAveragePooling2D()(base.output)
logits = layers.Dense(3, name="logits")
inner = tf_keras.Model(base.input, [features, logits(pooled)])
pooling = [] if kind == "cnn" else [layers.GlobalAveragePooling2D()]
model = tf_keras.Sequential([base, *pooling, logits, layers.Softmax()])
values = np.load(folder + "/values.npy")
probabilities = model(values, training=False)[0]
model.save(folder + "/saved", save_format="tf")
maps_of = []
for index in range(3):
    with tf.GradientTape() as tape:
        maps, scores = inner(values, training=False)
        score = scores[0, index]
    maps_of.append(np.maximum(maps[0].numpy() @ np.mean(tape.gradient(score, maps)[0], axis=(0, 1)), 0))
np.savez(folder + "/expected.npz", maps=maps_of, probabilities=probabilities)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "preprocessing", "layer", "engines"),
    [
        ("cnn", "unit", "features", ENGINES),
        ("MobileNetV2", "tf", "out_relu", ENGINES),
        ("EfficientNetB0", "raw", "top_activation", ENGINES),
        # On LiteRT, test_keras2_files has a graph of this network.
        ("ResNet50", "caffe", "conv5_block3_out", ["tensorflow"]),
    ],
)
def test_what_tf_keras_wrote_is_explained_as_tf_keras_does(kind, preprocessing, layer, engines, tmp_path):
    scale, offset = {"unit": (1 / 255, 0), "tf": (1 / 127.5, -1), "raw": (1, 0), "caffe": (1, 0)}[preprocessing]
    image = cv2.resize(synthetic_image(), (64, 64))
    values = image[np.newaxis, ..., ::-1].astype(np.float32) * scale + offset
    if preprocessing == "caffe":
        values = image[np.newaxis].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    np.save(tmp_path / "values.npy", values)
    # In a process of its own: tf_keras and Keras 3 do not share one well.
    command = [sys.executable, "-c", WRITE_BY_TF_KERAS, kind, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment_with(), check=False)
    assert done.returncode == 0, done.stderr
    expected = np.load(tmp_path / "expected.npz")
    for engine in engines:
        explainer = load_explainer(tmp_path / "saved", engine=engine)
        assert (explainer.info.preprocessing, explainer.info.layer) == (preprocessing, layer)
        for index, heatmap in enumerate(expected["maps"]):
            explanation = explainer.explain(image, index)
            np.testing.assert_allclose(probabilities(explanation), expected["probabilities"], atol=1e-5)
            np.testing.assert_allclose(explanation.heatmap, heatmap, atol=1e-4 * heatmap.max() + 1e-12)
        assert max(heatmap.max() for heatmap in expected["maps"]) > 0


@pytest.mark.slow
def test_the_command_line_explains_a_photograph(exported, photograph_path, run_livecam, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\ndog\n")
    output = tmp_path / "heat.jpg"
    arguments = ["--image", photograph_path, "--model", f"{exported}/", "--labels", labels, "--output", output]
    done = run_livecam(*arguments, "--layer", "branch")
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(output)).shape == cv2.imread(str(photograph_path)).shape
    assert "the model normalizes its input itself" in done.stderr + done.stdout


def test_layers_have_the_names_that_keras_gives_them(exported):
    assert load_explainer(exported, engine="tensorflow", layer="separable").info.layer == "separable"
    with pytest.raises(SettingError, match="unknown layer 'featuers'; did you mean features?"):
        load_explainer(exported, engine="tensorflow", layer="featuers")
    with pytest.raises(SettingError, match=r"the output of layer 'logits' is \(1, 4\), not a map .* try features"):
        load_explainer(exported, engine="tensorflow", layer="logits")


def test_the_only_signature_is_taken_whatever_its_name(module, tmp_path):
    tf.saved_model.save(module, tmp_path / "saved", signatures={"classify": module.__call__.get_concrete_function()})
    assert load_explainer(tmp_path / "saved", engine="tensorflow").info.output_count == 4


def test_signatures_without_a_default_are_listed(module, tmp_path):
    function = module.__call__.get_concrete_function()
    tf.saved_model.save(module, tmp_path / "saved", signatures={"classify": function, "embed": function})
    with pytest.raises(ModelError, match="several signatures and none is called serving_default: classify, embed;"):
        load_explainer(tmp_path / "saved")


def test_a_model_without_signature_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "saved")
    with pytest.raises(ModelError, match=r"has no signature to call; save it with model\.export\(\)"):
        load_explainer(tmp_path / "saved")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64"])
def test_inputs_of_other_numbers_are_given_them(dtype, module, tmp_path):
    images = tf.TensorSpec((None, SIZE, SIZE, 3), dtype, name="images")
    scale = 1 / 255 if dtype == "uint8" else 1
    function = signature_of(lambda images: module(tf.cast(images, tf.float32) * scale), images)
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    explainer = load_explainer(tmp_path / "saved", engine="auto", preprocess="raw" if scale < 1 else "unit", top_k=4)
    values = network_pixels(explainer, synthetic_image()) / 255
    atol = 1e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(probabilities(explainer.explain(synthetic_image(), 0)), module(values)[0], atol=atol)


def test_strings_are_refused(module, tmp_path):
    def classify(photos):
        images = tf.map_fn(lambda photo: tf.image.decode_jpeg(photo, 3), photos, fn_output_signature=tf.uint8)
        return module(tf.image.resize(images, (SIZE, SIZE)))

    function = signature_of(classify, tf.TensorSpec((None,), tf.string, name="photos"))
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(
        ModelError, match=r"takes strings \(photos\), such as the bytes of a JPEG; livecam gives pixels"
    ):
        load_explainer(tmp_path / "saved")


def test_an_open_size_needs_one(module, tmp_path):
    function = signature_of(
        lambda images: tf.nn.softmax(module.maps_and_logits(images)[1]), tf.TensorSpec((None, None, None, 3))
    )
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(SettingError, match="does not declare its input size; give the input size"):
        load_explainer(tmp_path / "saved")
    assert load_explainer(tmp_path / "saved", input_size=48, engine="tensorflow").info.input_size_wh == (48, 48)


def test_several_inputs_are_listed(module, tmp_path):
    inputs = [tf.TensorSpec(IMAGES.shape, name=name) for name in ("left", "right")]
    function = signature_of(lambda left, right: module(left - right), *inputs)
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(ModelError, match="the model takes 2 inputs: left, right; livecam explains"):
        load_explainer(tmp_path / "saved")


def test_an_input_that_is_not_used_does_not_count(module, tmp_path):
    flag = tf.TensorSpec((), tf.bool, name="training")
    tf.saved_model.save(
        module, tmp_path / "saved", signatures=signature_of(lambda images, training: module(images), IMAGES, flag)
    )
    # TensorFlow lists it as an argument of the function, whose op could use it.
    with pytest.raises(ModelError, match="the model takes 2 inputs: images, training"):
        load_explainer(tmp_path / "saved")


def test_a_fixed_batch_is_refused(module, tmp_path):
    function = signature_of(lambda images: module(images), tf.TensorSpec((8, SIZE, SIZE, 3)))
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(ModelError, match="the model takes 8 images at a time; livecam gives one"):
        load_explainer(tmp_path / "saved")


def test_one_of_several_outputs_is_chosen_by_its_name(module, tmp_path):
    def call(images):
        _, logits = module.maps_and_logits(images)
        return {"scores": tf.nn.softmax(logits), "other": tf.nn.softmax(-logits), "best": tf.argmax(logits, 1)}

    tf.saved_model.save(module, tmp_path / "saved", signatures=signature_of(call, IMAGES))
    with pytest.raises(ModelError, match="several outputs; give the output name: other .*, scores"):
        load_explainer(tmp_path / "saved", engine="tensorflow")
    with pytest.raises(SettingError, match="unknown output 'score'; did you mean scores"):
        load_explainer(tmp_path / "saved", engine="tensorflow", output_name="score")
    explainer = load_explainer(tmp_path / "saved", engine="tensorflow", output_name="other", top_k=4)
    expected = call(network_pixels(explainer, synthetic_image()) / 255)["other"][0]
    np.testing.assert_allclose(probabilities(explainer.explain(synthetic_image(), 0)), expected, atol=1e-5)


def test_the_only_output_with_scores_needs_no_name(module, tmp_path):
    def call(images):
        return {"best": tf.argmax(module(images), 1), "name": tf.constant(["cat"]), "scores": module(images)}

    tf.saved_model.save(module, tmp_path / "saved", signatures=signature_of(call, IMAGES))
    assert load_explainer(tmp_path / "saved", engine="tensorflow").info.head == "softmax"


def test_class_numbers_are_no_scores(module, tmp_path):
    function = signature_of(lambda images: {"best": tf.argmax(module(images), 1)}, IMAGES)
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(ModelError, match=r"returns no scores: best \(int64\); livecam needs floating-point scores"):
        load_explainer(tmp_path / "saved")


def test_the_error_names_the_op_that_has_no_gradient(module, tmp_path):
    def call(images):
        maps, _ = module.maps_and_logits(images)
        return tf.nn.softmax(tf.reduce_mean(tf.round(maps), [1, 2]) @ module.dense)

    tf.saved_model.save(module, tmp_path / "saved", signatures=signature_of(call, IMAGES))
    with pytest.raises(ModelError, match=r"no gradient from the model's output to 'Relu_1': Round between has none"):
        load_explainer(tmp_path / "saved", engine="tensorflow", layer="Relu_1")


def test_a_model_without_feature_map_is_refused(tmp_path):
    module = tf.Module()
    module.dense = tf.Variable(tf.random.normal((SIZE * SIZE * 3, 4)))
    function = signature_of(lambda images: tf.reshape(images, (-1, SIZE * SIZE * 3)) @ module.dense, IMAGES)
    tf.saved_model.save(module, tmp_path / "saved", signatures=function)
    with pytest.raises(ModelError, match="no layer of this model has a feature map"):
        load_explainer(tmp_path / "saved")


def test_control_flow_inside_is_explained(module, tmp_path):
    def call(images):
        bright = tf.reduce_mean(images) > 2  # as a model that takes both 0..1 and 0..255
        return module(tf.cond(bright, lambda: images / 255, lambda: images))

    tf.saved_model.save(module, tmp_path / "saved", signatures=signature_of(call, IMAGES))
    explainer = load_explainer(tmp_path / "saved", preprocess="raw", top_k=4)
    values = network_pixels(explainer, synthetic_image()) / 255
    check_equal(explainer, values, module.maps_and_logits, np.asarray(module(values))[0])


@pytest.mark.parametrize("resource", [True, False])
def test_a_saved_model_of_tensorflow_1_is_explained(resource, module, tmp_path):
    v1 = tf.compat.v1
    kernels, dense = [kernel.numpy() for kernel in module.kernels], module.dense.numpy()
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, (None, SIZE, SIZE, 3))
        values = images
        for number, kernel in enumerate(kernels):
            with v1.variable_scope(f"layer{number}"):
                weights = v1.get_variable("kernel", kernel.shape, use_resource=resource)
                weights.load(kernel, session)
                values = tf.nn.relu(tf.nn.conv2d(values, weights, 2 - number, "SAME"))
        weights = v1.get_variable("dense", dense.shape, use_resource=resource)
        weights.load(dense, session)
        scores = tf.nn.softmax(tf.reduce_mean(values, [1, 2]) @ weights)
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"images": images}, {"scores": scores})
    explainer = load_explainer(tmp_path / "saved", top_k=4)
    pixels = network_pixels(explainer, synthetic_image()) / 255
    check_equal(explainer, pixels, module.maps_and_logits, np.asarray(module(pixels))[0])
    assert explainer.info.layer == "layer1"


def test_two_models_of_one_process_keep_their_own_functions(module, saved_module, tmp_path):
    other = Module()
    other.dense.assign(-module.dense)
    tf.saved_model.save(other, tmp_path / "other")
    explainers = [load_explainer(folder, engine="tensorflow", top_k=4) for folder in (saved_module, tmp_path / "other")]
    values = network_pixels(explainers[0], synthetic_image()) / 255
    for explainer, original in zip(explainers, (module, other), strict=True):
        explanation = explainer.explain(synthetic_image(), 0)
        np.testing.assert_allclose(probabilities(explanation), original(values)[0], atol=1e-5)


def test_the_second_load_comes_from_the_cache(saved_module):
    load_explainer(saved_module)
    lines = []
    load_explainer(saved_module, on_build=lines.append)
    assert lines == []


@pytest.mark.parametrize("changed", ["saved_model.pb", "variables/variables.index", "variables/new"])
def test_the_identity_covers_the_names_and_bytes_of_all_files(changed, saved_module, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(saved_module, folder)
    assert resolve_model(folder).identity == resolve_model(saved_module).identity
    path = folder / changed
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\0")
    assert resolve_model(folder).identity != resolve_model(saved_module).identity
    assert resolve_model(saved_module, unsafe=True).identity != resolve_model(saved_module).identity


def test_files_may_be_links_as_in_the_cache_of_a_hub(saved_module, tmp_path):
    for path in filter(Path.is_file, saved_module.rglob("*")):
        link = tmp_path / "linked" / path.relative_to(saved_module)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    assert load_explainer(tmp_path / "linked", engine="tensorflow").info.output_count == 4


def test_a_folder_of_something_else_and_a_file_of_the_folder_are_refused(exported, tmp_path):
    with pytest.raises(ModelError, match=r"is a folder without saved_model\.pb; give a SavedModel folder"):
        load_explainer(tmp_path)
    with pytest.raises(ModelError, match=f"is one file of a SavedModel; give its folder, {exported}$"):
        load_explainer(exported / "saved_model.pb")


def test_weights_beside_a_saved_model_are_refused(exported):
    with pytest.raises(SettingError, match="has its own weights; leave out the weights"):
        load_explainer(exported, weights="some.weights.h5")
