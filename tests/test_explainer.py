"""What an explainer accepts and refuses: images, targets and network inputs. A wrong one never gives a stale result."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from any_networks import CLASSES, HEADS, SIZE, functional
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import live_cam
from live_cam.errors import SettingError, SourceError
from live_cam.explain.explainer import ModelExplainer, NetworkInput
from live_cam.explain.load import build_explainer, load_explainer
from live_cam.predictions import NO_CLASS
from live_cam.settings import ExplainerSettings
from live_cam.sources.image import as_bgr_image

OTHER_IMAGE = np.full((48, 64, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def explainer() -> ModelExplainer:
    keras.utils.set_random_seed(1)
    model = functional(HEADS["softmax"]())
    model.name = "small"
    return load_explainer(model, engine="litert")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)


def assert_same(explanation, expected):
    assert explanation.predictions == expected.predictions
    assert explanation.explained == expected.explained
    np.testing.assert_array_equal(explanation.heatmap, expected.heatmap)


REFUSED_IMAGES = {
    "gray": (lambda image: image[..., 0], r"got \(40, 60\), uint8: convert gray images with cv2\.cvtColor"),
    "gray with a channel": (lambda image: image[..., :1], r"got \(40, 60, 1\), uint8: convert gray images"),
    "BGRA": (lambda image: np.dstack([image, image[..., 0]]), r"got \(40, 60, 4\), uint8: remove the alpha channel"),
    "two channels": (lambda image: image[..., :2], r"got \(40, 60, 2\), uint8$"),
    "float": (lambda image: image / 255, r"got \(40, 60, 3\), float64: scale the values to 0\.\.255"),
    "NaN": (lambda image: np.full(image.shape, np.nan, np.float32), r"got \(40, 60, 3\), float32: scale the values"),
    "16 bits": (lambda image: image.astype(np.uint16) * 257, r"got \(40, 60, 3\), uint16: scale the values"),
    "signed": (lambda image: image.astype(np.int8), r"got \(40, 60, 3\), int8: scale the values"),
    "bool": (lambda image: image > 100, r"got \(40, 60, 3\), bool: scale the values"),
    "objects": (lambda image: image.astype(object), r"got \(40, 60, 3\), object: scale the values"),
    "batch": (lambda image: image[np.newaxis], r"got \(1, 40, 60, 3\), uint8: give the images of a batch one by one"),
    "channels first": (lambda image: image.transpose(2, 0, 1), r"got \(3, 40, 60\), uint8: .*transpose\(1, 2, 0\)"),
    "empty": (lambda image: image[:0], r"got \(0, 60, 3\), uint8: it is empty"),
    "no pixel": (lambda image: np.uint8(3), r"got uint8$"),
    "list": (lambda image: image.tolist(), r"got list$"),
    "None": (lambda image: None, r"got None, as cv2\.imread returns for a file that it cannot read"),
    "bytes": (lambda image: image.tobytes(), r"got bytes$"),
    "PIL without pixels": (lambda image: Image.new("RGB", (0, 5)), r"got a PIL image of 0x5 pixels"),
}


@pytest.mark.parametrize("kind", REFUSED_IMAGES)
def test_what_is_no_bgr_image_is_refused(kind, explainer, image):
    change, message = REFUSED_IMAGES[kind]
    expected_start = r"^expected a BGR image of shape \(height, width, 3\), uint8, "
    explainer.explain(image)
    for call in (explainer.explain, explainer.forward, explainer.preprocess):
        with pytest.raises(SettingError, match=expected_start + message) as caught:
            call(change(image))
        assert "\n" not in str(caught.value)


def read_only(image):
    copy = image.copy()
    copy.flags.writeable = False
    return copy


VIEWS = {
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "RGB view": lambda image: image[..., ::-1],
    "every other pixel": lambda image: image[::2, ::2],
    "transposed": lambda image: image.transpose(1, 0, 2),
    "Fortran order": np.asfortranarray,
    "cropped": lambda image: image[3:30, 5:50],
    "repeated": lambda image: np.broadcast_to(image[:1, :1], image.shape),
    "read-only": read_only,
    "subclass": lambda image: image.view(np.memmap),
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_are_explained_like_contiguous_copies(view, explainer, image):
    seen = VIEWS[view](image)
    expected = explainer.explain(np.array(seen, np.uint8, order="C"))
    explainer.explain(OTHER_IMAGE)
    assert_same(explainer.explain(seen), expected)


DTYPES = st.sampled_from(["u1", "i1", "u2", "i4", "f2", "f4", "f8", "?", "c8", "O", "S1", "U1", "M8[s]"])
SHAPES = st.one_of(
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5)),
    st.tuples(st.integers(1, 80), st.integers(1, 80), st.just(3)),
)
STEPS = st.sampled_from([1, -1, 2, -3])
TARGETS = st.one_of(
    st.none(),
    st.integers(0, CLASSES - 1),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(-2, CLASSES).flatmap(lambda index: st.sampled_from([np.int8(index), np.int64(index), np.array(index)])),
    st.integers(-2, CLASSES).map(str),
)


@st.composite
def arrays(draw):
    """Arrays of any shape and dtype, with strides of any sign."""
    shape = draw(SHAPES)
    if draw(st.booleans()) or len(shape) != 3:
        return np.zeros(shape, draw(DTYPES))
    noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, shape, np.uint8)
    return noise[:: draw(STEPS), :: draw(STEPS)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays(), target=TARGETS)
def test_any_array_and_target_is_refused_or_explained_like_its_contiguous_copy(explainer, array, target):
    explainer.explain(OTHER_IMAGE)
    try:
        explanation = explainer.explain(array, target)
    except SettingError:
        return
    assert array.ndim == 3
    assert array.shape[2] == 3
    assert array.size > 0
    assert array.dtype == np.uint8
    class_index = None if target is None else int(target)
    explainer.explain(OTHER_IMAGE)
    assert_same(explanation, explainer.explain(np.array(array, order="C"), class_index))


@pytest.mark.parametrize("target", [np.int64(2), np.uint8(2), np.array(2), "2", np.str_("2")])
def test_a_target_may_be_any_integer(target, explainer, image):
    assert_same(explainer.explain(image, target), explainer.explain(image, 2))


def test_a_class_out_of_range_is_refused_before_it_reaches_the_engine(explainer, image):
    network_input = explainer.preprocess(image)
    for index in (CLASSES, -1):
        with pytest.raises(SettingError, match=f"no class {index}: the model has 4 classes, 0 to 3"):
            explainer.explain_input(network_input, index)
    with pytest.raises(SettingError, match="no class 4: the model has 4 classes, 0 to 3"):
        explainer.explain_input(network_input, 0, CLASSES)
    assert explainer.explain_input(network_input, 0, NO_CLASS).explained.class_index == 0


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, SIZE, SIZE + 1, 3), np.uint8),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((1, SIZE, SIZE, 3), np.float32),
    ],
)
@pytest.mark.parametrize("engine", ["litert", "tensorflow"])
def test_the_input_of_another_network_is_refused_before_it_reaches_the_engine(engine, pixels):
    explainer = load_explainer(functional(HEADS["softmax"]()), engine=engine)
    wrong = NetworkInput(pixels, (0.0, 0.0, 1.0, 1.0))
    for call in (explainer.explain_input, explainer.forward_input):
        with pytest.raises(
            SettingError, match=r"expected the input that preprocess\(\) returns, \(1, 32, 32, 3\) uint8"
        ):
            call(wrong)


def rotated_jpeg(path: Path, image: np.ndarray) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    Image.fromarray(image[..., ::-1]).save(path, quality=95, exif=exif)
    return path


def transparent_png(path: Path, image: np.ndarray) -> Path:
    opacity = np.arange(image.shape[0] * image.shape[1], dtype=np.uint8).reshape(image.shape[:2])
    Image.fromarray(np.dstack([image[..., ::-1], opacity])).save(path)
    return path


def deep_png(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image[..., 0].astype(np.uint16) * 257)
    return path


def palette_png(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image[..., ::-1]).quantize(16).save(path)
    return path


def gray_png(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image[..., 0]).save(path)
    return path


@pytest.mark.parametrize("write", [rotated_jpeg, transparent_png, deep_png, palette_png, gray_png])
def test_a_path_and_a_pil_image_are_explained_like_the_decoded_array(write, explainer, image, tmp_path):
    path = write(tmp_path / f"image.{write.__name__[-4:].replace('jpeg', 'jpg').strip('_')}", image)
    array = as_bgr_image(path)
    assert array.shape == ((60, 40, 3) if write is rotated_jpeg else (40, 60, 3))
    expected = explainer.explain(array)
    assert_same(explainer.explain(path), expected)
    assert_same(explainer.explain(str(path)), expected)
    with Image.open(path) as opened:
        assert_same(explainer.explain(opened), expected)


def test_an_array_is_taken_while_another_thread_imports_pil(monkeypatch):
    """A module is in ``sys.modules`` before its classes are: TensorFlow, loaded in the background, imports PIL."""
    monkeypatch.setitem(sys.modules, "PIL.Image", types.ModuleType("PIL.Image"))
    image = np.zeros((2, 2, 3), np.uint8)
    assert as_bgr_image(image) is image


def test_colors_of_a_path_and_of_a_pil_image_are_bgr(explainer, image, tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), image)
    expected = explainer.explain(image)
    assert_same(explainer.explain(path), expected)
    assert_same(explainer.explain(Image.fromarray(image[..., ::-1])), expected)


def test_image_files_that_cannot_be_read_are_a_source_error(explainer, image, tmp_path):
    with pytest.raises(SourceError, match=r"no such file: .*absent\.png"):
        explainer.explain(tmp_path / "absent.png")
    path = tmp_path / "cut.png"
    Image.fromarray(image).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as opened, pytest.raises(SourceError, match="^cannot read the PIL image: .*truncated"):
        explainer.explain(opened)


def test_pil_is_not_imported(explainer, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert explainer.explain(image).heatmap.shape == (15, 15)


def test_an_explainer_has_what_the_pipeline_needs(explainer):
    assert (explainer.model_name, explainer.method) == ("small", "grad-cam")
    assert (explainer.layer, explainer.layer_choices) == ("features", ("features",))
    assert (explainer.engine_name, explainer.engine_reason) == ("litert", "CPU")
    assert (explainer.input_size_wh, explainer.fit) == ((SIZE, SIZE), "stretch")
    assert explainer.contrast_index == NO_CLASS
    assert (explainer.class_index("3"), explainer.label(3)) == (3, "3")


def test_replicas_explain_like_the_original_and_share_no_memory(image):
    explainer = load_explainer(functional(HEADS["softmax"]()), threads=2, contrast=1)
    expected = explainer.explain(image, 0)
    replicas = explainer.replicas()
    assert len(replicas) == 2
    inputs = [replica.preprocess(image) for replica in replicas]
    assert not np.shares_memory(inputs[0].pixels, inputs[1].pixels)
    for replica, network_input in zip(replicas, inputs, strict=True):
        np.testing.assert_allclose(replica.explain_input(network_input, 0).heatmap, expected.heatmap, atol=1e-6)


def test_load_explainer_has_the_arguments_and_defaults_of_the_settings():
    parameters = inspect.signature(load_explainer).parameters
    fields = {field.name: field.default for field in dataclasses.fields(ExplainerSettings)}
    assert set(parameters) - set(fields) == {"check_image", "on_build", "on_warning"}
    assert {name: parameters[name].default for name in fields} == fields


def test_build_explainer_refuses_a_check_image_that_is_none():
    with pytest.raises(SettingError, match=r"got \(5, 5\), uint8: convert gray images"):
        build_explainer(ExplainerSettings(), check_image=np.zeros((5, 5), np.uint8))


def test_the_public_names_can_be_imported():
    assert set(live_cam.__all__) <= set(dir(live_cam))
    assert {getattr(live_cam, name).__name__ for name in live_cam.__all__} == set(live_cam.__all__)
    for name in ("LiveCamError", "SourceError", "SinkError", "DisplayError", "ModelError", "SettingError"):
        assert issubclass(getattr(live_cam, name), live_cam.LiveCamError)
    with pytest.raises(AttributeError, match="module 'live_cam' has no attribute 'Explainr'"):
        live_cam.Explainr  # noqa: B018
