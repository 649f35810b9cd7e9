"""Model files that Keras 2 wrote: predictions and heatmaps are those of Keras 2, and no code in them runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from conftest import RunLivecam

from live_cam.errors import ModelError
from live_cam.explain.load import load_explainer

SIZE = 64
IMAGE_BGR = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)[..., ::-1].copy()
NAMES = ("cnn", "sequential", "functional", "machine", "operations")
OTHER_NETWORKS = ("mobilenet", "resnet50", "efficientnetb0")
PREPROCESSINGS = {"cnn": "unit", "operations": "raw", "resnet50": "caffe", "efficientnetb0": "raw"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def written_by_keras2(folder: Path, *names: str) -> Path:
    writer = Path(__file__).with_name("keras2_writer.py")
    done = subprocess.run([sys.executable, writer, folder, *names], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_by_keras2(tmp_path_factory.mktemp("keras2"), *NAMES)


@pytest.fixture(scope="module")
def large_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_by_keras2(tmp_path_factory.mktemp("keras2"), *OTHER_NETWORKS)


def assert_is_that_of_keras2(folder: Path, name: str, suffix: str, engine: str) -> None:
    explainer = load_explainer(folder / f"{name}{suffix}", engine=engine)
    computed = np.load(folder / f"{name}.npz")
    assert explainer.engine_name == engine
    assert explainer.info.preprocessing == PREPROCESSINGS.get(name, "tf")
    np.testing.assert_allclose(explainer.forward(IMAGE_BGR), computed["outputs"], atol=1e-5)
    for class_index, expected in enumerate(computed["heatmaps"]):
        heatmap = explainer.explain(IMAGE_BGR, class_index).heatmap
        np.testing.assert_allclose(heatmap, expected, atol=1e-4 * max(1e-3, expected.max()))


@pytest.mark.parametrize(("name", "suffix"), [("machine", ".h5"), ("sequential", ".keras")])
def test_outputs_and_heatmaps_are_those_of_keras_2(files: Path, name: str, suffix: str):
    assert_is_that_of_keras2(files, name, suffix, "tensorflow")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        # The larger networks below are "sequential" in .h5 and "functional" in .keras.
        ("cnn", ".h5"), ("cnn", ".keras"), ("sequential", ".keras"), ("functional", ".h5"), ("machine", ".h5"),
        ("machine", ".keras"), ("operations", ".h5"), ("operations", ".keras"),
    ],
)  # fmt: skip
def test_litert_computes_what_keras_2_computes(files: Path, name: str, suffix: str):
    assert_is_that_of_keras2(files, name, suffix, "litert")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "suffix"),
    [("mobilenet", ".keras"), ("resnet50", ".keras"), ("efficientnetb0", ".h5")],
)
def test_transfer_models_on_other_networks_are_those_of_keras_2(large_files: Path, name: str, suffix: str):
    # LiteRT, which is only used if it agrees with TensorFlow.
    assert_is_that_of_keras2(large_files, name, suffix, "litert")


@pytest.mark.slow
def test_a_teachable_machine_export_runs_as_downloaded(files: Path, run_livecam: RunLivecam, tmp_path: Path):
    (tmp_path / "labels.txt").write_text("0 Cat\n1 Golden Retriever\n2 Nothing\n")
    cv2.imwrite(str(tmp_path / "photo.png"), IMAGE_BGR)
    model = files / "machine.h5"
    done = run_livecam(
        *("--model", model, "--labels", tmp_path / "labels.txt", "--image", tmp_path / "photo.png"),
        *("--output", tmp_path / "heat.png", "--report", tmp_path / "report.json", "--engine", "tensorflow"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["model"], report["layer"]) == ("machine.h5", "out_relu")
    assert cv2.imread(str(tmp_path / "heat.png")).shape == (SIZE, SIZE, 3)


@pytest.mark.slow
def test_a_layer_is_named_as_in_keras_2(files: Path):
    info = load_explainer(files / "sequential.keras", engine="tensorflow", layer="block_6_expand_relu").info
    assert info.layer == "block_6_expand_relu"
    assert {"out_relu", "block_6_expand_relu"} <= set(info.layer_choices)


def test_without_tf_keras_the_error_says_what_to_install(files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    path = files / "sequential.keras"
    with pytest.raises(ModelError) as caught:
        load_explainer(path)
    assert str(caught.value) == f'{path} was saved by Keras 2; pip install ".[keras2]"'


def hostile(files: Path, folder: Path, name: str, change) -> Path:
    """A copy of a .h5 file whose architecture is changed."""
    path = folder / f"{name}.h5"
    path.write_bytes((files / f"{name}.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def functions_called(config) -> list[dict]:
    layers = config["config"]["layers"]
    return [layer["config"] for layer in layers if layer["class_name"] == "TFOpLambda"]


@pytest.mark.parametrize("function", ["io.write_file", "py_function", "keras.utils.get_file", "raw_ops.WriteFile"])
def test_a_file_that_calls_other_functions_of_tensorflow_is_refused(files: Path, tmp_path: Path, function: str):
    def change(config) -> None:
        functions_called(config)[0]["function"] = function

    path = hostile(files, tmp_path, "operations", change)
    with pytest.raises(ModelError, match=rf"^{path} calls tf\.{function}, which is not known to be harmless; [^\n]*$"):
        load_explainer(path)


def test_a_file_that_names_a_function_of_python_is_refused(files: Path, tmp_path: Path):
    def change(config) -> None:
        activation = {"class_name": "function", "module": "builtins", "config": "eval", "registered_name": "function"}
        config["config"]["layers"][-1]["config"]["activation"] = activation

    path = hostile(files, tmp_path, "cnn", change)
    with pytest.raises(ModelError, match=r"names Python's own eval\(\) as a function of Keras; do not use it$"):
        load_explainer(path)


def test_an_op_that_is_stored_in_a_file_is_checked_like_those_of_a_saved_model(files: Path, tmp_path: Path):
    node = {
        "name": "spy",
        "op": "DebugIdentity",
        "input": ["image"],
        "attr": {
            "T": {"type": "DT_FLOAT"},
            "debug_urls": {"list": {"s": [base64.b64encode(f"file://{tmp_path}/spied".encode()).decode()]}},
        },
    }
    settings = {"name": "spy", "trainable": True, "dtype": "float32", "node_def": node, "constants": {}}

    def change(config) -> None:
        layers = config["config"]["layers"]
        position = next(number for number, layer in enumerate(layers) if layer["class_name"] == "Conv2D")
        layers.insert(position, {"class_name": "TensorFlowOpLayer", "config": settings})

    path = hostile(files, tmp_path, "cnn", change)
    with pytest.raises(ModelError, match=r"runs the op DebugIdentity, which may do more than compute"):
        load_explainer(path)
    assert not (tmp_path / "spied").exists()


WRITE_LAMBDA = """
import sys, tf_keras as keras
from tf_keras import layers
inner = keras.Sequential([
    layers.Input((64, 64, 3)), layers.Lambda(lambda x: (__import__("pathlib").Path(MARK).touch(), x)[1]),
    layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax"),
])
outer = keras.Sequential([layers.Input((64, 64, 3)), inner])
for name, model in (("flat", inner), ("nested", outer)):
    model.save(f"{FOLDER}/{name}.h5")
    model.save(f"{FOLDER}/{name}.keras")
"""


@pytest.fixture(scope="module")
def files_with_lambda(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("lambda")
    mark = folder / "ran"
    code = f"MARK, FOLDER = {str(mark)!r}, {str(folder)!r}\n{WRITE_LAMBDA}".replace("(MARK)", f"({str(mark)!r})")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    return folder, mark


@pytest.mark.parametrize("name", ["flat.h5", "flat.keras", "nested.h5", "nested.keras"])
def test_a_lambda_of_keras_2_does_not_run(files_with_lambda: tuple[Path, Path], name: str):
    folder, mark = files_with_lambda
    mark.unlink(missing_ok=True)
    with pytest.raises(
        ModelError, match=rf"{name} has a Lambda layer, which is Python code hidden in the file; [^\n]*$"
    ):
        load_explainer(folder / name)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["flat.h5", pytest.param("nested.keras", marks=pytest.mark.slow)])
def test_a_lambda_of_keras_2_runs_if_the_user_allows_it(files_with_lambda: tuple[Path, Path], name: str):
    folder, mark = files_with_lambda
    mark.unlink(missing_ok=True)
    load_explainer(folder / name, unsafe=True, engine="tensorflow")
    assert mark.exists()
