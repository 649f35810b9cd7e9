"""``livecam inspect``: what it says about a model is what the model is, and a converted model needs no TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import pytest
from any_networks import SIZE, applied, base, body, functional
from conftest import RunLivecam, environment_with
from keras import layers

from live_cam.cli.inspect import inspect
from live_cam.errors import ModelError

# That of all tests, not of one.
WARM_CACHE = os.environ["XDG_CACHE_HOME"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, and labels for one of them."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((32, 48, 3))
    pooled = applied([*body(), layers.GlobalAveragePooling2D()], inputs)
    kind = layers.Dense(3, activation="softmax", name="kind")(pooled)
    keras.Model(inputs, [kind, layers.Dense(4, name="box")(pooled)], name="pets").save(folder / "box.keras")
    scaled = layers.Rescaling(1 / 255, name="to_unit")(inputs)
    keras.Model(inputs, base_with_head()(layers.Resizing(SIZE, SIZE)(scaled))).save(folder / "scaled.keras")
    functional([layers.Dense(1, activation="sigmoid", name="is_cat")], channels=1).save(folder / "gray.h5")
    (folder / "labels.txt").write_text("Cat\nDog\nOther\n")
    return folder


def base_with_head():
    inner = base()
    return keras.Model(inner.input, layers.Dense(2)(layers.GlobalAveragePooling2D()(inner.output)))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def printed(capsys, path: Path, **options) -> list[str]:
    inspect(model=str(path), quiet=True, **options)
    return capsys.readouterr().out.splitlines()


def test_a_line_for_each_fact(folder, capsys):
    assert printed(capsys, folder / "box.keras", output_name="kind", labels=str(folder / "labels.txt")) == [
        "box.keras",
        f"format         .keras file, Keras {keras.__version__}",
        "input          48x32 pixels, RGB",
        "preprocessing  unit: nothing in the model indicates another one; you can set it",
        "output         kind: softmax, 3 classes",
        "other outputs  box (4)",
        "target layer   features",
        "engine         LiteRT, on the CPU",
        f"labels         {folder / 'labels.txt'}: Cat, Dog, Other",
    ]


def test_what_is_asked_for_is_said_to_be(folder, capsys):
    lines = printed(
        capsys, folder / "box.keras", output_name="box", preprocess="caffe", layer="first", engine="tensorflow"
    )
    assert "input          48x32 pixels, BGR" in lines
    assert "preprocessing  caffe: asked for" in lines
    assert "output         box: 4 numbers" in lines
    assert "target layer   first" in lines
    assert "other layers   features" in lines
    assert "engine         TensorFlow: asked for" in lines
    assert "labels         none given, so 0 to 3" in lines


def test_the_reason_of_the_preprocessing_names_the_layer(folder, capsys):
    lines = printed(capsys, folder / "scaled.keras", engine="tensorflow")
    assert "preprocessing  raw: the model normalizes its input itself, in to_unit" in lines
    assert "output         model" not in "\n".join(lines)


@pytest.mark.parametrize(("version", "format"), [("3.0.5", "HDF5 file, Keras 3.0.5"), (None, "HDF5 file")])
def test_the_format_names_the_version_of_keras_that_wrote_the_file(version, format, folder, capsys, tmp_path):
    path = tmp_path / "gray.h5"
    path.write_bytes((folder / "gray.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        del file.attrs["keras_version"]
        if version:
            file.attrs["keras_version"] = version
    lines = printed(capsys, path, engine="tensorflow")
    assert f"format         {format}" in lines
    assert "input          32x32 pixels, gray" in lines
    assert "output         is_cat: one sigmoid, the probability of the second of 2 classes" in lines


def test_a_doubt_is_among_the_facts(capsys, tmp_path):
    untrained = functional([layers.Dense(3, kernel_initializer="zeros", activation="softmax")])
    untrained.save(tmp_path / "untrained.keras")
    warning = printed(capsys, tmp_path / "untrained.keras", engine="tensorflow")[-1]
    assert warning.startswith("warning        with preprocessing unit, the model returns the same for a colorful image")
    assert warning.endswith("or the model is not trained")


def test_json_has_the_facts_and_a_converted_model_is_not_loaded(folder, capsys):
    facts = json.loads("\n".join(printed(capsys, folder / "box.keras", output_name="box", as_json=True)))
    assert facts == {
        "model": "box.keras",
        "format": f".keras file, Keras {keras.__version__}",
        "input": {"size_wh": [48, 32], "channels": 3, "color_order": "rgb"},
        "preprocessing": {"name": "unit", "reason": "nothing in the model indicates another one; you can set it"},
        "output": {"name": "box", "head": "regression", "count": 4, "all": {"kind": [3], "box": [4]}},
        "layer": "features",
        "layer_choices": ["features"],
        "engine": {"name": "litert", "reason": "CPU"},
        "precision": {"name": "float", "int8": None},
        "labels": {"source": "none", "names": ["0", "1", "2", "3"]},
        "warning": None,
    }
    script = (
        "import sys\nfrom live_cam.cli import main\n"
        f"sys.argv = ['livecam', 'inspect', {str(folder / 'box.keras')!r}, '--output-name', 'box', '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'h5py', 'av'} & sys.modules.keys()\n"
    )
    warm = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment_with(), check=False
    )
    assert (warm.returncode, warm.stderr) == (0, "")
    assert json.loads(warm.stdout) == facts


def test_a_model_known_by_name(run_livecam: RunLivecam, warm_cache: None):
    done = run_livecam("inspect", "EfficientNet-Lite0", env={"XDG_CACHE_HOME": WARM_CACHE})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "efficientnet-lite0"
    assert "format         built in: EfficientNet-Lite0, ImageNet weights" in lines
    assert "preprocessing  lite: its weights were trained with it" in lines
    assert "target layer   top_activation" in lines
    assert "labels         ImageNet: tench, goldfish, great white shark, tiger shark, hammerhead, ..." in lines


def test_the_outputs_are_listed_if_none_is_chosen(folder):
    with pytest.raises(ModelError, match=r"several outputs; give the output name: kind \(3\), box \(4\)$"):
        inspect(model=str(folder / "box.keras"), quiet=True)
