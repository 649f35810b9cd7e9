"""Model files: exports, hostile ones, damaged ones. No code in them runs."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import any_networks
import h5py
import keras
import numpy as np
import pytest
from any_networks import HEADS, SIZE, applied, body, functional, policy
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.explain.model_cache import Cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("wrapping", "suffix"),
    [
        *((wrapping, ".keras") for wrapping in ("functional", "nested", "nested twice", "operations inside")),
        *((wrapping, ".h5") for wrapping in ("functional", "nested", "nested twice")),
    ],
)
def test_a_saved_model_gives_the_same_explanation_as_the_model(wrapping, suffix, tmp_path):
    keras.utils.set_random_seed(1)
    model = any_networks.WRAPPINGS[wrapping](HEADS["softmax"]())
    path = tmp_path / f"model{suffix}"
    model.save(path)
    explanation = load_explainer(path, engine="tensorflow").explain(synthetic_image(), 1)
    expected = load_explainer(model, engine="tensorflow").explain(synthetic_image(), 1)
    np.testing.assert_allclose(explanation.heatmap, expected.heatmap, atol=1e-6)
    assert explanation.predictions == expected.predictions


def test_the_error_for_what_a_h5_file_cannot_store_recommends_the_keras_format(tmp_path):
    any_networks.operations_inside(HEADS["softmax"]()).save(tmp_path / "model.h5")
    with pytest.raises(
        ModelError, match="needs 'TrueDivide', which is no layer of Keras: .* save the model as .keras$"
    ):
        load_explainer(tmp_path / "model.h5")


def test_a_file_without_weights_is_refused(tmp_path):
    any_networks.never_called(HEADS["softmax"]()).save(tmp_path / "empty.keras")
    with pytest.raises(ModelError, match=r"empty\.keras has no weights: .* save it again"):
        load_explainer(tmp_path / "empty.keras", input_size=SIZE)


def test_a_model_with_mixed_precision_can_be_loaded_from_a_file(tmp_path):
    with policy("mixed_float16"):
        functional(HEADS["softmax"]()).save(tmp_path / "half.keras")
    assert load_explainer(tmp_path / "half.keras", engine="litert").engine_name == "litert"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_remembers_that_its_outputs_are_numbers(suffix, tmp_path):
    model = functional([layers.Dense(3)])
    model.compile(optimizer="adam", loss="mse")
    model.save(tmp_path / f"numbers{suffix}")
    assert load_explainer(tmp_path / f"numbers{suffix}", engine="tensorflow").info.head == "regression"


def test_a_custom_loss_is_not_needed(tmp_path):
    model = functional([layers.Dense(3)])
    model.compile(optimizer="adam", loss=lambda true, given: keras.ops.mean(true - given))
    model.save(tmp_path / "own.keras")
    assert load_explainer(tmp_path / "own.keras", engine="tensorflow").info.head == "logits"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_remembers_which_of_its_outputs_are_numbers(suffix, tmp_path):
    inputs = keras.Input((SIZE, SIZE, 3))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], inputs)
    model = keras.Model(inputs, [layers.Dense(3, name="color")(pooled), layers.Dense(3, name="size")(pooled)])
    model.compile(optimizer="adam", loss={"color": lambda true, given: keras.ops.mean(given), "size": "mae"})
    model.save(tmp_path / f"two{suffix}")
    for output, head in (("color", "logits"), ("size", "regression")):
        explainer = load_explainer(tmp_path / f"two{suffix}", output_name=output, engine="tensorflow")
        assert explainer.info.head == head


def lambda_model(mark: Path) -> keras.Model:
    """Touches a file when its code runs."""
    inputs = keras.Input((SIZE, SIZE, 3))
    code = layers.Lambda(
        eval(f"lambda x: (__import__('pathlib').Path({str(mark)!r}).touch(), x / 255)[1]"), name="hidden"
    )
    return keras.Model(inputs, applied([*body(), layers.GlobalAveragePooling2D(), *HEADS["softmax"]()], code(inputs)))


def in_a_nested_model(mark: Path) -> keras.Model:
    inner = lambda_model(mark)
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, inner(inputs))


@pytest.mark.parametrize("build", [lambda_model, in_a_nested_model])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_does_not_run_unless_allowed(suffix, build, tmp_path):
    path, mark = tmp_path / f"hostile{suffix}", tmp_path / "ran"
    build(mark).save(path)
    mark.unlink(missing_ok=True)
    with pytest.raises(
        ModelError,
        match=r"has a Lambda layer, which is Python code hidden in the file; .* unsafe=True [^\n]* runs that code$",
    ):
        load_explainer(path)
    assert not mark.exists()
    explainer = load_explainer(path, unsafe=True, engine="litert")
    assert mark.exists()
    assert explainer.explain(synthetic_image(), 0).heatmap.shape == (15, 15)
    assert explainer.info.preprocessing == "raw"


@pytest.mark.parametrize("value", [np.int64(2**62), h5py.Empty("f"), np.zeros(3)])
def test_an_architecture_that_is_no_text_is_refused(value, tmp_path):
    path = tmp_path / "tampered.h5"
    functional(HEADS["softmax"]()).save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = value
    with pytest.raises(ModelError, match=r"^cannot load the model .*: it is damaged or cut off \([^\n]*$"):
        load_explainer(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_allowing_code_once_does_not_allow_it_later(suffix, tmp_path):
    path, mark = tmp_path / f"hostile{suffix}", tmp_path / "ran"
    lambda_model(mark).save(path)
    load_explainer(path, unsafe=True)
    assert Cache().entry_count_and_bytes()[0] == 1
    with pytest.raises(ModelError, match="has a Lambda layer"):
        load_explainer(path)


def keras_zip(path: Path, config: bytes, weights: bytes = b"", compression=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


@pytest.mark.parametrize("module", ["os", "subprocess", "my_package.layers"])
def test_a_file_that_names_code_elsewhere_does_not_import_it(module, tmp_path):
    config = {"module": module, "class_name": "Popen", "config": {"args": ["touch", str(tmp_path / "ran")]}}
    path = keras_zip(tmp_path / "gadget.keras", json.dumps(config).encode())
    with pytest.raises(ModelError, match=f"needs {module}.Popen, whose code is not in the file; .*--import FILE"):
        load_explainer(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "config",
    [
        {"module": "antigravity", "class_name": "X", "registered_name": "Dense", "config": {}},
        {"module": "os", "class_name": "function", "config": "relu", "registered_name": "function"},
        {"module": "os", "class_name": "__typespec__", "spec_name": "X", "registered_name": "Dense", "config": []},
    ],
)
def test_the_name_of_something_in_keras_does_not_excuse_a_foreign_module(config, tmp_path):
    path = keras_zip(tmp_path / "gadget.keras", json.dumps({**config, "build_config": {}}).encode())
    with pytest.raises(ModelError, match=rf"needs {config['module']}\.\w+, whose code is not in the file"):
        load_explainer(path)
    assert "antigravity" not in sys.modules


@keras.saving.register_keras_serializable("livecam_tests")
class Doubled(layers.Layer):
    def call(self, values):
        return values * 2


def test_a_registered_class_is_accepted(tmp_path):
    functional([Doubled(), layers.Dense(3)]).save(tmp_path / "own.keras")
    assert load_explainer(tmp_path / "own.keras").info.head == "logits"
    # The file's bytes do not tell what the class does.
    assert Cache().entry_count_and_bytes()[0] == 0


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".pkl", ".pt"])
def test_a_pickle_is_not_opened(suffix, tmp_path):
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(ModelError, match="a pickle, which could run any code|a PyTorch file"):
        load_explainer(path)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_inside_an_archive_is_not_opened(tmp_path):
    """Keras reads weights from .npz too; numpy would unpickle arrays of objects."""
    functional(HEADS["softmax"]()).save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        config = archive.read("config.json")
    weights = io.BytesIO()
    np.savez(weights, **{"__root__": np.array([Bomb(tmp_path / "ran")], object)})
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config)
        archive.writestr("model.weights.npz", weights.getvalue())
    with pytest.raises(ModelError, match="cannot load the model [^\n]*$"):
        load_explainer(path)
    assert not (tmp_path / "ran").exists()


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    path = keras_zip(tmp_path / "bomb.keras", b"{}", bytes(400 << 20), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelError, match=r"would unpack to 0\.4 GB from 0\.4 MB: it is no trained model"):
        load_explainer(path)


def test_weights_that_would_fill_the_memory_are_not_read(tmp_path):
    path = tmp_path / "bomb.h5"
    functional(HEADS["softmax"]()).save(path)
    with h5py.File(path, "r+") as file:
        # Takes no room in the file: nothing was written to it yet.
        file.create_dataset("huge", (1 << 38,), "float32", chunks=(1 << 16,))
    with pytest.raises(ModelError, match=r"would unpack to 1099\.5 GB"):
        load_explainer(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_layers_that_would_fill_the_memory_are_not_made(suffix, tmp_path):
    """Keras makes all weights of an architecture before it looks for them in the file."""
    path = tmp_path / f"bomb{suffix}"
    functional([layers.Flatten(), *(layers.Dense(2, name=f"wide{number}") for number in range(9))]).save(path)

    def widened(text: str) -> str:
        config = json.loads(text.replace('"units": 2', '"units": 30000'))
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)  # The widths of the layers before.
        return json.dumps(config)

    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = widened(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as archive:
            config, weights = archive.read("config.json").decode(), archive.read("model.weights.h5")
        keras_zip(path, widened(config).encode(), weights)
    with pytest.raises(ModelError, match=r"would unpack to [\d.]+ GB from [\d.]+ MB: it is no trained model"):
        load_explainer(path)


@pytest.mark.parametrize("kind", ["archive", "weights"])
def test_weights_in_an_archive_or_alone_that_would_fill_the_memory_are_not_read(kind, tmp_path):
    weights = tmp_path / "weights.h5"
    with h5py.File(weights, "w") as file:
        file.create_dataset("huge", (1 << 38,), "float32", chunks=(1 << 16,))
    functional(HEADS["softmax"]()).save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        config = archive.read("config.json")
    bomb = keras_zip(tmp_path / "bomb.keras", config, weights.read_bytes())
    with pytest.raises(ModelError, match=r"would unpack to 1099\.5 GB"):
        load_explainer(bomb) if kind == "archive" else load_explainer("mobilenetv2", weights=weights)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_the_error_for_a_truncated_file_is_one_line(suffix, part, tmp_path):
    path = tmp_path / f"cut{suffix}"
    functional(HEADS["softmax"]()).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"cannot load the model [^\n]*: it is damaged or cut off [^\n]*$"):
        load_explainer(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.keras", b"hello, this is no model", "it is neither a .keras archive nor HDF5"),
        ("text.h5", b"hello, this is no model", "it is neither a .keras archive nor HDF5"),
        ("other.h5", b"PK\x03\x04 and so on", "it is a zip archive, of PyTorch or of a .keras file under another name"),
        ("other.keras", b"\x89HDF\r\n\x1a\n and so on", "it is HDF5 under another name; rename it to .h5"),
        ("model.pb", b"\x08\x01", "is a TensorFlow graph alone: livecam reads .* and SavedModel folders"),
        ("model.tflite", b"TFL3", "is a LiteRT model, a graph without layers"),
        ("model.onnx", b"\x08\x01", "is an ONNX model: livecam reads what model.save"),
    ],
)
def test_the_error_for_a_file_of_another_kind_says_what_it_is(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        load_explainer(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_an_archive_without_a_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.keras", "w") as archive:
        archive.writestr("cat.jpg", b"")
    with pytest.raises(ModelError, match="is a zip archive without a Keras model in it"):
        load_explainer(tmp_path / "photos.keras")


def test_an_opaque_layer_is_refused(tmp_path):
    functional(HEADS["softmax"]()).export(tmp_path / "exported", verbose=False)
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.TFSMLayer(str(tmp_path / "exported"), call_endpoint="serve")]
    )
    with pytest.raises(ModelError, match="the model is opaque: TFSMLayer '.*' has no layers to look into"):
        load_explainer(model)


@pytest.mark.parametrize("name", ["model.weights.h5", "model.h5"])
def test_weights_without_their_network_are_refused(name, tmp_path):
    functional(HEADS["softmax"]()).save_weights(tmp_path / "model.weights.h5")
    path = (tmp_path / "model.weights.h5").rename(tmp_path / name)
    with pytest.raises(
        ModelError, match=rf"{name} has weights without their network; give the network's name as model, and "
    ):
        load_explainer(path)


def test_a_whole_model_refuses_other_weights(tmp_path):
    functional(HEADS["softmax"]()).save(tmp_path / "model.keras")
    with pytest.raises(SettingError, match="has its own weights"):
        load_explainer(tmp_path / "model.keras", weights=tmp_path / "other.weights.h5")
