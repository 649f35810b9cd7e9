"""Models with classes and functions of the user's own: given by name, or in a Python file that is run."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from any_networks import SIZE, body, functional
from conftest import RunLivecam
from keras import layers

from live_cam.errors import ModelError, SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.explain.model_cache import Cache
from live_cam.jobs.job_identity import picture_identity
from live_cam.models.custom_objects import code_digest, objects_by_name
from live_cam.settings import ExplainerSettings, JobSettings

# No class is registered: a registered one would be known to the whole process.
CODE = """
import keras
from factors import FACTOR


class Scaled(keras.layers.Layer):
    def __init__(self, offset, **options):
        super().__init__(**options)
        self.offset = offset

    def call(self, values):
        return values * FACTOR + self.offset

    def get_config(self):
        return {**super().get_config(), "offset": self.offset}


def steep(values):
    return keras.ops.relu(values) * 3
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The user's file, and a module beside it."""
    (tmp_path / "factors.py").write_text("FACTOR = 2\n")
    (tmp_path / "my_layers.py").write_text(CODE)
    yield tmp_path / "my_layers.py"
    sys.modules.pop("factors", None)


def with_own_classes(code: Path, is_nested: bool = False) -> keras.Model:
    own = objects_by_name(code)
    keras.utils.set_random_seed(3)
    inner = functional([own["Scaled"](0.5), layers.Dense(6, activation=own["steep"])])
    if is_nested:
        inner = keras.Sequential([keras.Input((SIZE, SIZE, 3)), inner])
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(inner(inputs)))


def network_values(explainer):
    return explainer.preprocess(synthetic_image()).pixels[..., ::-1].astype(np.float32) / 255


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_python_file_gives_a_model_its_classes_and_functions(code, suffix, is_nested, tmp_path):
    model = with_own_classes(code, is_nested)
    model.save(tmp_path / f"own{suffix}")
    explainer = load_explainer(tmp_path / f"own{suffix}", custom_objects=code, engine="tensorflow")
    np.testing.assert_allclose(
        explainer.forward(synthetic_image()), np.asarray(model(network_values(explainer)))[0], atol=1e-6
    )
    expected = load_explainer(model, engine="tensorflow").explain(synthetic_image(), 1)
    np.testing.assert_allclose(explainer.explain(synthetic_image(), 1).heatmap, expected.heatmap, atol=1e-6)


@pytest.mark.slow
def test_classes_and_functions_can_be_given_by_name(code, tmp_path):
    model = with_own_classes(code)
    model.save(tmp_path / "own.keras")
    own = objects_by_name(code)
    custom_objects = {"Scaled": own["Scaled"], "steep": own["steep"]}
    explainer = load_explainer(tmp_path / "own.keras", custom_objects=custom_objects)
    assert explainer.engine_name == "litert"
    np.testing.assert_allclose(
        explainer.forward(synthetic_image()), np.asarray(model(network_values(explainer)))[0], atol=1e-5
    )
    # What they do is not known to the cache.
    assert Cache().entry_count_and_bytes()[0] == 0


@pytest.mark.parametrize("changed", ["my_layers.py", "factors.py", "package/inner.py"])
def test_the_digest_of_the_code_changes_with_every_file_that_it_imports_from_its_folder(code, changed, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "inner.py").write_text("import os\n")
    (tmp_path / "factors.py").write_text("from package import inner\nimport my_layers\nFACTOR = 2\n")
    (tmp_path / "unrelated.py").write_text("")
    before = code_digest(code)
    (tmp_path / "unrelated.py").write_text("import os\n")
    assert code_digest(code) == before
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "\n")
    assert code_digest(code) != before


@pytest.mark.slow
def test_a_converted_model_is_used_until_the_code_changes(code, tmp_path):
    with_own_classes(code).save(tmp_path / "own.keras")

    def lines_and_outputs():
        sys.modules.pop("factors", None)  # as in a new process
        lines = []
        explainer = load_explainer(tmp_path / "own.keras", custom_objects=str(code), on_build=lines.append)
        return lines, explainer.forward(synthetic_image())

    first_lines, first = lines_and_outputs()
    assert first_lines[0] == f"loading TensorFlow and own.keras, running {code} ..."
    lines, outputs = lines_and_outputs()
    assert lines == []
    assert (outputs == first).all()
    (tmp_path / "factors.py").write_text("FACTOR = 5\n")
    lines, outputs = lines_and_outputs()
    assert lines
    assert np.abs(outputs - first).max() > 1e-3


def test_a_class_that_was_registered_when_the_model_was_saved_is_found(code, tmp_path):
    with_own_classes(code).save(tmp_path / "own.h5")
    (tmp_path / "registered.py").write_text(
        CODE.replace("class Scaled", "@keras.saving.register_keras_serializable('elsewhere')\nclass Scaled")
    )
    with_own_classes(tmp_path / "registered.py").save(tmp_path / "registered.h5")
    del keras.saving.get_custom_objects()["elsewhere>Scaled"]
    for name in ("own.h5", "registered.h5"):
        explainer = load_explainer(tmp_path / name, custom_objects=code, engine="tensorflow")
        assert explainer.info.head == "softmax"


def test_missing_classes_and_functions_are_named_together(code, tmp_path):
    with_own_classes(code).save(tmp_path / "own.keras")
    with pytest.raises(
        ModelError,
        match=r"own\.keras needs livecam_import_\w+\.Scaled, steep, whose code is not in the file; give the Python "
        r'file that has it with --import FILE, in Python custom_objects=\{"Scaled": Scaled, "steep": steep\}$',
    ):
        load_explainer(tmp_path / "own.keras")


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_class_that_a_h5_file_needs_is_named(code, is_nested, tmp_path):
    own = objects_by_name(code)
    model = functional([own["Scaled"](0.5), layers.Dense(3)])
    if is_nested:
        model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), model])
    model.save(tmp_path / "own.h5")
    with pytest.raises(ModelError, match=r"own\.h5 needs Scaled, whose code is not in the file; .*--import FILE"):
        load_explainer(tmp_path / "own.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_what_the_given_code_does_not_have_is_named(code, suffix, tmp_path):
    with_own_classes(code).save(tmp_path / f"own{suffix}")
    (tmp_path / "other.py").write_text(CODE.replace("def steep", "def flat"))
    with pytest.raises(ModelError, match=r"needs steep, not defined in .*other\.py; add steep there$"):
        load_explainer(tmp_path / f"own{suffix}", custom_objects=tmp_path / "other.py")
    own = {"Scaled": objects_by_name(code)["Scaled"]}
    with pytest.raises(ModelError, match=r"needs steep, not among custom_objects \(Scaled\); add it$"):
        load_explainer(tmp_path / f"own{suffix}", custom_objects=own)


SHADOWS = """
import keras

class Dense(keras.layers.Dense):
    def call(self, values):
        return super().call(values) * 0

def relu(values):
    return values * 0
"""


def test_a_file_does_not_replace_what_keras_has(tmp_path):
    (tmp_path / "shadows.py").write_text(SHADOWS)
    model = functional([layers.Dense(3)])
    model.save(tmp_path / "model.h5")
    model.save(tmp_path / "model.keras")
    for name in ("model.h5", "model.keras"):
        with pytest.raises(
            ModelError, match=rf"shadows\.py and Keras both have \w+, and .*{name} does not say which one it needs"
        ):
            load_explainer(tmp_path / name, custom_objects=tmp_path / "shadows.py")
    # A .keras file says whose class it needs.
    (tmp_path / "shadows.py").write_text(SHADOWS.partition("def relu")[0])
    explainer = load_explainer(tmp_path / "model.keras", custom_objects=tmp_path / "shadows.py", engine="tensorflow")
    expected = np.asarray(model(network_values(explainer)))[0]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(explainer.forward(synthetic_image()), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import keras\n\nfoo()\n", r"my_layers\.py, line 3: NameError: name 'foo' is not defined; correct the file"),
        ("import keras\nclass = 3\n", r"my_layers\.py, line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('usage: train.py')\n", r"my_layers\.py, line 2: SystemExit: usage: train\.py"),
        ("import broken\n", r"broken\.py, line 2: ZeroDivisionError: division by zero"),
        ("import not_installed_anywhere\n", r"my_layers\.py, line 1: ModuleNotFoundError: No module named"),
        ("raise ValueError('one\\ntwo')\n", r"my_layers\.py, line 1: ValueError: one; correct"),
    ],
)
def test_an_error_in_the_file_takes_one_line_with_its_place(content, message, code, tmp_path):
    with_own_classes(code).save(tmp_path / "own.keras")
    code.write_text(content)
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    with pytest.raises(ModelError, match=message) as caught:
        load_explainer(tmp_path / "own.keras", custom_objects=code)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in sys.path


def test_an_error_of_a_class_takes_one_line(code, tmp_path):
    with_own_classes(code).save(tmp_path / "own.keras")
    code.write_text(CODE.replace("self, offset", "self, offset, other"))
    with pytest.raises(ModelError, match=r"own\.keras with your classes: .*missing 1 required positional argument"):
        load_explainer(tmp_path / "own.keras", custom_objects=code)


class Failing(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = body()

    def call(self, values):
        raise ValueError("this model\ncannot be called")


def test_an_error_of_a_model_takes_one_line_with_its_place():
    with pytest.raises(
        ModelError,
        match=r"the model fails when it is called: .*test_custom_objects\.py, line \d+: ValueError: this model$",
    ):
        load_explainer(Failing(), input_size=SIZE)


@pytest.mark.parametrize(
    ("custom_objects", "message"),
    [
        (3, "custom_objects must be classes and functions by name, or the path of a .py file, not 3"),
        ({3: layers.Dense}, "custom_objects must be classes and functions by name"),
        ("layers.txt", "layers.txt is no Python file"),
    ],
)
def test_what_are_no_custom_objects_is_refused(custom_objects, message):
    with pytest.raises(SettingError, match=message):
        load_explainer("any.keras", custom_objects=custom_objects)


def test_a_model_given_by_name_takes_no_custom_objects():
    with pytest.raises(SettingError, match="mobilenetv2 needs no classes of yours; leave them out"):
        load_explainer("mobilenetv2", custom_objects={"Dense": layers.Dense})


def test_a_job_is_recognized_by_the_names_of_its_functions_and_the_bytes_of_its_file(code):
    def identity(custom_objects):
        return picture_identity(JobSettings(explainer=ExplainerSettings(custom_objects=custom_objects)))

    # Other objects, as in another process.
    first, second = ({"steep": lambda values: values} for _ in range(2))
    assert first != second
    assert identity(first) == identity(second)
    before = identity(code)
    code.write_text(CODE + "\n")
    assert identity(code) != before


# --- the command line


@pytest.mark.slow
def test_the_file_runs_once_and_not_again_for_a_converted_model(
    code: Path, run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path
):
    with_own_classes(code).save(tmp_path / "own.keras")
    code.write_text(
        f"{CODE}\nprint('hello')\nwith open({str(tmp_path / 'runs')!r}, 'a') as file:\n    file.write('x')\n"
    )
    options = ["--model", "own.keras", "--import", "my_layers.py", "--output"]
    cold = run_livecam(photograph_path, *options, "cold.png", cwd=tmp_path)
    assert cold.returncode == 0, cold.stderr
    assert "running my_layers.py ..." in cold.stderr
    # Standard output is for results.
    assert "hello" in cold.stderr
    assert "hello" not in cold.stdout
    warm = run_livecam(photograph_path, *options, "warm.png", cwd=tmp_path)
    assert (warm.returncode, warm.stderr) == (0, "")
    assert (tmp_path / "warm.png").read_bytes() == (tmp_path / "cold.png").read_bytes()
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize("command", [(), ("serve",), ("bench",), ("evaluate",), ("inspect",)])
def test_every_command_that_takes_a_model_can_import(run_livecam: RunLivecam, command):
    shown = run_livecam(*command, "--help", env={"COLUMNS": "300"}).stdout
    assert "Run this Python file first" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "own.keras", "--import", "missing.py"], "cannot read the Python file missing.py: No such file"),
        (["--model", "mobilenetv2", "--import", "my_layers.py"], "mobilenetv2 needs no classes of yours"),
    ],
)
def test_a_wrong_file_takes_one_line_before_anything_is_loaded(
    code: Path, run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path, arguments, words
):
    (tmp_path / "own.keras").write_bytes(b"a model")
    done = run_livecam(photograph_path, "--output", "heat.png", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"livecam: {words}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "heat.png").exists()
