"""Which model a user means by a name, a path or an object, without loading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from live_cam.errors import ModelError, SettingError
from live_cam.models.reference import resolve_model


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("typed", ["resnet50", "ResNet50", "res_net-50"])
def test_a_models_name_wins_over_a_folder_of_that_name(working_directory, typed):
    (working_directory / typed).mkdir()
    assert resolve_model(typed).name == "resnet50"


def test_a_models_name_wins_over_a_file_of_that_name(working_directory):
    (working_directory / "resnet50").write_bytes(b"something")
    assert resolve_model("resnet50").has_imagenet_labels


@pytest.mark.parametrize("typed", ["./resnet50", "resnet50/", Path("resnet50")])
def test_a_path_with_a_separator_means_the_folder(working_directory, typed):
    (working_directory / "resnet50").mkdir()
    with pytest.raises(ModelError, match="resnet50 is a folder without saved_model"):
        resolve_model(typed)


def test_an_absolute_path_means_the_folder(working_directory):
    (working_directory / "resnet50").mkdir()
    with pytest.raises(ModelError, match="resnet50 is a folder without saved_model"):
        resolve_model(str(working_directory / "resnet50"))


def test_the_suffix_of_a_model_file_means_the_file(working_directory):
    with pytest.raises(ModelError, match=r"cannot read the model file resnet50\.h5: No such file"):
        resolve_model("resnet50.h5")
    (working_directory / "resnet50.h5").write_bytes(b"a model")
    assert resolve_model("resnet50.h5").name == "resnet50.h5"


def test_a_path_that_does_not_exist_is_a_missing_file_and_not_an_unknown_name():
    with pytest.raises(ModelError, match=r"cannot read the model file resnet50: No such file or directory"):
        resolve_model("./resnet50")


def test_a_folder_without_a_models_name_is_found_without_a_separator(working_directory):
    (working_directory / "exported").mkdir()
    with pytest.raises(ModelError, match="exported is a folder without saved_model"):
        resolve_model("exported")


def test_the_error_for_an_unknown_name_names_the_nearest():
    with pytest.raises(SettingError, match="unknown model 'resnet51'; did you mean resnet50"):
        resolve_model("resnet51")


def test_a_path_object_may_hold_a_name():
    assert resolve_model(Path("resnet50")).name == "resnet50"


@pytest.mark.parametrize("model", [None, 3, b"resnet50", ["resnet50"]])
def test_what_is_neither_name_nor_path_nor_model_is_refused(model):
    with pytest.raises(SettingError, match=f"expected a model's name, .* got {type(model).__name__}$"):
        resolve_model(model)
