"""KerasHub's image classifiers, with their preprocessors: against KerasHub's own predictions and an eager Grad-CAM."""

from __future__ import annotations

import json
import socket
import sys

import cv2
import h5py
import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from hub_networks import CLASSES, CONVOLUTIONAL, OFFSET, SCALE, SIZE, TRANSFORMERS, classifier, preprocessor_of, resnet
from keras import layers

from live_cam.errors import LiveCamError, ModelError, SettingError
from live_cam.explain.load import load_explainer
from live_cam.models.hub import network_of
from live_cam.models.labels import imagenet_labels
from live_cam.models.reference import resolve_model
from live_cam.preprocess import FrameFitter, normalization_kernel

SLOW = pytest.mark.slow
IMAGE_RGB = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
IMAGE_BGR = np.ascontiguousarray(IMAGE_RGB[..., ::-1])
# Behind the target layer, the exact GELU has a gradient with an operation that LiteRT lacks.
WITHOUT_LITERT = ["MobileNetV5", "MobileNetV5 without attention"]
# These end in a feature map, behind their attention.
EXPLAINED = [*CONVOLUTIONAL, "MobileNetV5", "MiT"]
FIRST_IS_FAST = [EXPLAINED[0], *(pytest.param(name, marks=SLOW) for name in EXPLAINED[1:])]


def new_classifier(name):
    keras.utils.set_random_seed(1)
    # VGG's own head has 4096 maps, which take long to convert.
    options = {"pooling_hidden_dim": 32} if name == "VGG" else {}
    return classifier({**CONVOLUTIONAL, **TRANSFORMERS}[name](), preprocessor_of(), **options)


@pytest.fixture(scope="module")
def task():
    return new_classifier("ResNet")


@pytest.fixture(scope="module")
def preset(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "mine"
    task.save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def photograph(photograph_path):
    return cv2.imread(str(photograph_path))


def head_of(task):
    """Returns the parts of a classifier: what makes the target map of the backbone's output, and what follows it."""
    kind = type(task).__name__
    if kind == "VGGImageClassifier":
        *convolutions, pooler, dense = task.head.layers
        return convolutions, [pooler, dense]
    if kind == "HGNetV2ImageClassifier":
        return [lambda maps: maps[task.backbone.stage_names[-1]], task.last_conv], [task.pooler, task.output_dense]
    if kind == "MobileNetImageClassifier":
        return [], [task.pooler, task.output_conv, task.flatten, task.output_dense]
    if kind == "MobileNetV5ImageClassifier":
        return [], [task.global_pool, task.conv_head, task.flatten, task.classifier]
    return [], [task.pooler, task.output_dense]


def eager_grad_cam(task, class_index):
    """Grad-CAM (Selvaraju et al. 2017, eq. 1-2), computed eagerly from KerasHub's own parts."""
    before, after = head_of(task)
    activations = task.backbone(task.preprocessor(IMAGE_RGB[np.newaxis]))
    for part in before:
        activations = part(activations)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        scores = activations
        for part in after:
            scores = part(scores)
        score = scores[0, class_index]
    weights = tape.gradient(score, activations).numpy()[0].mean((0, 1))
    return np.maximum(activations.numpy()[0] @ weights, 0)


def check_against_kerashub(task, explainer):
    expected = task.predict(IMAGE_RGB[np.newaxis], verbose=0)[0]
    np.testing.assert_allclose(explainer.forward(IMAGE_BGR), expected, rtol=1e-5, atol=1e-5)
    for class_index in range(CLASSES):
        expected_map = eager_grad_cam(task, class_index)
        heatmap = explainer.explain(IMAGE_BGR, class_index).heatmap
        np.testing.assert_allclose(heatmap, expected_map, rtol=1e-3, atol=1e-5 * max(1, expected_map.max()))


@pytest.mark.parametrize("engine", ["tensorflow", "litert"])
@pytest.mark.parametrize("name", FIRST_IS_FAST)
def test_a_classifier_gives_kerashubs_predictions_and_the_eager_map(name, engine):
    task = new_classifier(name)
    if engine == "litert" and name in WITHOUT_LITERT:
        with pytest.raises(ModelError, match=r"LiteRT cannot run this model: .*Erfc"):
            load_explainer(task, engine=engine)
        return
    explainer = load_explainer(task, engine=engine)
    assert (explainer.engine_name, explainer.info.preprocessing) == (engine, "keras-hub")
    check_against_kerashub(task, explainer)


@SLOW
@pytest.mark.parametrize("name", [name for name in TRANSFORMERS if name not in EXPLAINED])
def test_a_transformer_is_refused(name):
    with pytest.raises(ModelError, match="this is a transformer: attention behind its last feature map mixes all"):
        load_explainer(new_classifier(name))


@SLOW
def test_there_is_no_other_kind_of_classifier():
    tested = {type(build()) for build in (CONVOLUTIONAL | TRANSFORMERS).values()}
    kinds = {getattr(keras_hub.models, name) for name in dir(keras_hub.models) if name.endswith("ImageClassifier")}
    assert {kind.backbone_cls for kind in kinds if kind.backbone_cls} == tested


# HGNetV2's and EfficientNetV2's files have layers that are never built.
@pytest.mark.parametrize(
    "name", ["ResNet", pytest.param("EfficientNetV2", marks=SLOW), pytest.param("HGNetV2", marks=SLOW)]
)
def test_a_keras_file_is_explained_like_the_classifier(name, tmp_path):
    task = new_classifier(name)
    task.save(tmp_path / "x.keras")
    check_against_kerashub(task, load_explainer(tmp_path / "x.keras", engine="tensorflow"))


@pytest.mark.slow
def test_a_preset_folder_is_explained_like_the_classifier_and_cached(task, preset, photograph, monkeypatch):
    monkeypatch.chdir(preset.parent)
    lines = []
    explainer = load_explainer("hub:./mine", on_build=lines.append)
    check_against_kerashub(task, explainer)
    assert (explainer.model_name, explainer.label(1)) == ("hub:./mine", "1")
    assert lines[0] == "loading TensorFlow and hub:./mine ..."
    again = []
    cached = load_explainer("hub:./mine", on_build=again.append)
    assert (again, cached.info) == ([], explainer.info)
    np.testing.assert_array_equal(cached.preprocess(photograph).pixels, explainer.preprocess(photograph).pixels)


def test_a_changed_file_in_a_preset_folder_makes_another_model(preset, monkeypatch):
    before = resolve_model(f"hub:{preset}").identity
    (preset / "note.json").write_text("{}")
    assert resolve_model(f"hub:{preset}").identity != before
    (preset / "note.json").unlink()
    assert resolve_model(f"hub:{preset}").identity == before


def detected(task, wanted_size=None):
    network = network_of(task)
    shape = network.input_shape(wanted_size)
    return shape, network.preprocessing(shape)


def test_the_size_is_that_of_the_preprocessor_unless_another_is_wanted():
    task = classifier(resnet(), preprocessor_of(image_size=(48, 80)))
    assert detected(task)[0].size_wh == (80, 48)
    assert detected(task, 96)[0].size_wh == (96, 96)


@pytest.mark.parametrize(
    ("scale", "offset", "black", "white"),
    [
        (SCALE, OFFSET, OFFSET, [255 * scale + offset for scale, offset in zip(SCALE, OFFSET, strict=True)]),
        (1 / 255, None, [0] * 3, [1] * 3),
        ([1 / 127.5], -1, [-1] * 3, [1] * 3),
        (None, [-1.0, -2.0, -3.0], [-1, -2, -3], [254, 253, 252]),
        (None, None, [0] * 3, [255] * 3),
    ],
)
def test_scale_and_offset_are_the_normalization(scale, offset, black, white):
    _, found = detected(classifier(resnet(), preprocessor_of(scale=scale, offset=offset)))
    kernel, bias = normalization_kernel(found.preprocessing, 3)
    pixels = np.array([[0, 0, 0], [255, 255, 255]], np.float32)
    np.testing.assert_allclose(pixels @ kernel + bias, [black, white], rtol=1e-5, atol=1e-5)


def test_the_preprocessing_is_reported_and_the_users_own_wins(task):
    lines = []
    load_explainer(task, engine="tensorflow", on_build=lines.append)
    assert lines[1] == (
        "preprocessing keras-hub: its own preprocessor has mean 123.9 116.3 103.7, std 58.48 57.14 57.47, "
        "bilinear resampling"
    )
    assert load_explainer(task, engine="tensorflow", preprocess="unit").info.preprocessing == "unit"


@pytest.mark.parametrize("scale", [0, [1, 2], float("nan"), [1, 0, 1]])
def test_a_scale_that_is_none_for_three_colors_is_refused(scale):
    task = classifier(resnet(), preprocessor_of(scale=scale))
    with pytest.raises(ModelError, match="its preprocessor multiplies by .* no scale of 0; set the preprocessing$"):
        detected(task)


class OwnConverter(keras_hub.layers.ImageConverter):
    def call(self, inputs):
        return super().call(inputs)[..., ::-1]


@pytest.mark.parametrize(
    ("preprocessor", "name", "reason"),
    [
        (None, "unit", "nothing in the model indicates another one"),
        (keras_hub.models.ImageClassifierPreprocessor(), "raw", "its own preprocessor changes nothing"),
        (layers.Rescaling(1 / 255), "unit", "its own preprocessor, Rescaling, is none of KerasHub's"),
        (len, "unit", "its own preprocessor, len, is none of KerasHub's"),
        (keras_hub.models.ImageClassifierPreprocessor(OwnConverter()), "unit", "is none of KerasHub's"),
    ],
)
def test_a_preprocessor_that_cannot_be_read_is_not_guessed_from_the_layers(preprocessor, name, reason):
    """The layers of KerasHub's ResNet resemble those of keras.applications, which is "caffe"."""
    task = classifier(resnet(), preprocessor)
    _, found = detected(task, SIZE)
    assert found.name == name
    assert reason in found.reason


def test_a_backbone_in_another_model_is_not_taken_for_its_namesake():
    model = keras.Sequential([resnet(), layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)])
    assert detected(model, SIZE)[1].name == "unit"


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("side", [250, 40])
def test_images_are_resized_as_the_preprocessor_does(interpolation, side, photograph):
    square = np.ascontiguousarray(photograph[20 : 20 + side, 100 : 100 + side])
    converter = keras_hub.layers.ImageConverter((SIZE, SIZE), interpolation=interpolation)
    expected = np.asarray(converter(square[np.newaxis]), np.float32)
    _, found = detected(classifier(resnet(), preprocessor_of(interpolation=interpolation)))
    resampling = found.preprocessing.resampling
    differences = [
        np.abs(np.clip(expected, 0, 255) - FrameFitter((SIZE, SIZE), "stretch", kind).fit(square)[0]).mean()
        for kind in (resampling, None)
    ]
    # In gray levels; OpenCV's cubic kernel is a little sharper.
    assert differences[0] < 0.7
    assert differences[0] <= differences[1]  # Enlarging needs no antialiasing.


@pytest.mark.parametrize(
    ("interpolation", "antialias", "resampling"),
    [
        ("bilinear", True, "antialiased bilinear"),
        ("bicubic", True, "antialiased bicubic"),
        ("nearest", True, "nearest"),
        ("lanczos3", False, "bicubic"),
        ("lanczos5", True, "antialiased bicubic"),
    ],
)
def test_every_resampling_has_its_nearest_one_here(interpolation, antialias, resampling):
    task = classifier(resnet(), preprocessor_of(interpolation=interpolation, antialias=antialias))
    assert detected(task)[1].preprocessing.resampling == resampling
    assert FrameFitter((SIZE, SIZE), "pad", resampling).fit(IMAGE_BGR)[0].shape == (1, SIZE, SIZE, 3)


def test_the_error_without_kerashub_says_how_to_install_it(preset, task, tmp_path, monkeypatch):
    task.save(tmp_path / "x.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # As if it was not installed.
    for model in (tmp_path / "x.keras", f"hub:{preset}", "hub:resnet_18_imagenet"):
        with pytest.raises(
            ModelError, match=rf'^{model} needs keras_hub, which is not installed: pip install "\.\[hub\]" in the check'
        ):
            load_explainer(model, engine="tensorflow")  # which is not cached


def test_a_download_without_a_network_is_one_line(monkeypatch, tmp_path):
    def refuse(*_arguments, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"^cannot load hub:resnet_18_imagenet: [^\n]*; connect to the internet once, or"
    ):
        load_explainer("hub:resnet_18_imagenet")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hub:resnet_18_imagnet", "unknown KerasHub preset 'resnet_18_imagnet'; did you mean resnet_18_imagenet"),
        ("hub:", "unknown KerasHub preset ''; there are: "),
        ("hub:hf://me/mine", "hub:hf://me/mine is an address; livecam loads KerasHub's own presets and folders"),
        ("hub:./missing", "there is no folder missing; check the path"),
        ("hub:./", r"^\. has no task.json: it holds no classifier of KerasHub; save one with task.save_to_preset\(\)$"),
    ],
)
def test_the_error_for_a_wrong_preset_says_what_to_do(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LiveCamError, match=message):
        load_explainer(model)


def test_a_preset_has_its_own_weights(tmp_path):
    with pytest.raises(SettingError, match="hub:resnet_18_imagenet has its own weights; leave out the weights"):
        load_explainer("hub:resnet_18_imagenet", weights=tmp_path / "other.h5")


def test_only_kerashubs_own_presets_have_the_names_of_imagenet(preset):
    assert resolve_model("hub:resnet_18_imagenet").has_imagenet_labels
    assert not resolve_model(f"hub:{preset}").has_imagenet_labels


def test_kerashub_has_the_classes_of_imagenet_in_our_order():
    names = [keras_hub.utils.imagenet_id_to_name(index).replace("_", " ").lower() for index in range(1000)]
    # A word in brackets tells apart classes of the same name.
    assert names == [label.partition(" (")[0].lower() for label in imagenet_labels()]


def edited(preset, tmp_path, edit):
    """Returns a copy of a preset whose task.json was edited."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for path in preset.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "task.json").read_text())
    edit(config)
    (folder / "task.json").write_text(json.dumps(config))
    return folder


def lambda_instead_of_the_preprocessor(mark):
    layer = layers.Lambda(eval(f"lambda x: (open({str(mark)!r}, 'w'), x)[1]"))
    return lambda config: config["config"].update(preprocessor=keras.saving.serialize_keras_object(layer))


def gadget_instead_of_the_preprocessor(mark):
    gadget = {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", str(mark)]}}
    return lambda config: config["config"].update(preprocessor={**gadget, "registered_name": None})


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda_instead_of_the_preprocessor, "task.json has a Lambda layer, which is Python code hidden in the file"),
        (gadget_instead_of_the_preprocessor, "task.json needs subprocess.Popen, whose code is not in the file"),
    ],
)
@pytest.mark.parametrize("unsafe", [False, True])
def test_a_preset_folder_runs_no_code(edit, message, unsafe, preset, tmp_path):
    mark = tmp_path / "ran"
    folder = edited(preset, tmp_path, edit(mark))
    with pytest.raises(ModelError, match=message):
        load_explainer(f"hub:{folder}", unsafe=unsafe)
    assert not mark.exists()


def test_weights_in_a_preset_folder_that_would_fill_the_memory_are_not_read(preset, tmp_path):
    folder = edited(preset, tmp_path, lambda config: None)
    with h5py.File(folder / "task.weights.h5", "w") as file:
        file.create_dataset("bomb", (100_000, 100_000), "float32", compression="gzip", chunks=(1000, 1000))
    with pytest.raises(ModelError, match=r"would unpack to 40\.0 GB from .*: it is no trained model; do not use it"):
        load_explainer(f"hub:{folder}")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"registered_name": "Custom>Missing", "config": {}}'])
def test_a_damaged_preset_folder_is_one_line(content, preset, tmp_path):
    folder = edited(preset, tmp_path, lambda config: None)
    (folder / "task.json").write_text(content)
    with pytest.raises(ModelError, match=r"^cannot load [^\n]*; (get or save|save) it again[^\n]*$"):
        load_explainer(f"hub:{folder}")
