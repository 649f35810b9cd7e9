"""Finds out which model a user means by a name, a path or an object, without loading it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.errors import ModelError, SettingError
from live_cam.models.custom_objects import CustomObjects, check_custom_objects, code_digest
from live_cam.models.keras_files import (
    MODEL_FILE_SUFFIXES,
    file_format,
    is_keras_module,
    is_preset_folder,
    needs_code,
    read_model_config,
    refuse_other_kinds,
    texts_in,
)
from live_cam.models.registry import BUNDLED, find_spec, is_known

if TYPE_CHECKING:
    import keras

    from live_cam.models.network import Network
    from live_cam.settings import ExplainerSettings

# What the name of a preset of KerasHub begins with.
HUB_PREFIX = "hub:"
# The packages whose layers their configs describe.
_LIBRARIES = ("keras.", "keras_hub.")
# Of a SavedModel or preset; optimizers keep up to three times the weights beside them.
_LARGEST_FOLDER_BYTES = 16e9


@dataclass(frozen=True, eq=False)
class ModelReference:
    """A model that is known but not loaded.

    Attributes:
        name: The name that the user knows it by.
        identity: What distinguishes this model from all others, for the cache key; None if it cannot be cached.
        load: Builds or loads the model for an input size, or for its own if that is None; loads TensorFlow.
        preprocessing: The normalization that it was trained with; None if it must be detected.
        input_size: Side of the square input in pixels; None if the model declares it.
        has_imagenet_labels: Whether its outputs are the 1000 ImageNet classes.
        code: The user's Python file, which runs when the model is loaded.
    """

    name: str
    identity: dict[str, Any] | None
    load: Callable[[int | None], Network]
    preprocessing: str | None = None
    input_size: int | None = None
    has_imagenet_labels: bool = False
    code: str | Path | None = None


def resolve_model(
    model: str | Path | keras.Model,
    weights: str | Path | None = None,
    unsafe: bool = False,
    custom_objects: CustomObjects | None = None,
) -> ModelReference:
    """Returns what the user means by ``model``, without loading it.

    Args:
        model: A name, a path, "hub:" with a preset of KerasHub, or the model itself. A name wins over a file or folder
            of that name in the working directory; with a separator ("./resnet50") or the suffix of a model file it is a
            path.
        weights: A weights file for a model given by name.
        unsafe: Whether code that is stored in a model may run.
        custom_objects: Classes and functions that a model file needs, by name, or the Python file that defines them.

    Raises:
        ModelError: There is no such file or folder, or it is no Keras model or SavedModel.
        SettingError: There is no such name, or ``model`` or another argument is something else.
    """
    check_custom_objects(custom_objects)
    loaded_keras = sys.modules.get("keras")  # It can only be a Keras model if Keras is loaded.
    if loaded_keras is not None and isinstance(model, loaded_keras.Model):
        return ModelReference(model.name, _object_identity(model), lambda input_size: _network_of(model))
    if not isinstance(model, str | Path):
        raise SettingError(f"expected a model's name, the path of a file or a keras.Model, got {type(model).__name__}")
    if str(model).startswith(HUB_PREFIX):
        return _resolve_preset(str(model), weights)
    if _means_a_file(model):
        return _resolve_file(Path(model), weights, unsafe, custom_objects)
    spec = find_spec(str(model))
    if custom_objects is not None:
        raise SettingError(f"{spec.name} needs no classes of yours; leave them out, or give the path of a model file")
    # The bundled weights are fixed by the source, downloaded ones by the version of Keras: both are part of the key.
    identity = {
        "row": dataclasses.asdict(spec),
        "weights": None if weights is None else _readable_sha256(Path(weights), "weights"),
    }

    def load(input_size: int | None) -> Network:
        from live_cam.models.build import load_model

        origin = "" if spec.weights == BUNDLED else " of keras.applications"
        trained = "ImageNet weights" if weights is None else "your weights"
        network = _network_of(load_model(spec.name, weights, input_size))
        network.format = f"built in: {spec.title}{origin}, {trained}"
        return network

    return ModelReference(spec.name, identity, load, spec.preprocessing, spec.input_size, spec.labels == "imagenet")


def folder_of(model: Any) -> Path | None:
    """Returns the folder that the user means by ``model``, a SavedModel or a preset; None if it is something else."""
    if not isinstance(model, str | Path):
        return None
    if str(model).startswith(HUB_PREFIX):
        preset = str(model).removeprefix(HUB_PREFIX)
        return Path(preset) if is_preset_folder(preset) else None
    return Path(model) if _means_a_file(model) and Path(model).is_dir() else None


def resolve_settings(settings: ExplainerSettings) -> ModelReference:
    """Returns which model the settings mean; see ``resolve_model``."""
    return resolve_model(settings.model, settings.weights, settings.unsafe, settings.custom_objects)


def _network_of(model: keras.Model) -> Network:
    from live_cam.models.hub import network_of

    return network_of(model)


def _means_a_file(model: str | Path) -> bool:
    """Returns whether the user means a file or folder; the bare name of a model always means that model."""
    if Path(model).suffix.lower() in MODEL_FILE_SUFFIXES or {os.sep, os.altsep} & set(str(model)):
        return True
    is_name = isinstance(model, str) and is_known(model)
    return not is_name and Path(model).exists()


def _resolve_file(
    path: Path, weights: str | Path | None, unsafe: bool, custom_objects: CustomObjects | None
) -> ModelReference:
    refuse_other_kinds(path)
    if weights is not None:
        raise SettingError(f"{path} has its own weights; leave out the weights, or give the name of a model")
    if path.is_dir():
        return _resolve_saved_model(path, unsafe)
    digest: dict[str, Any] = {"file": _readable_sha256(path, "model"), "unsafe": unsafe}
    identity: dict[str, Any] | None = digest
    code = custom_objects if isinstance(custom_objects, str | Path) else None
    if code is not None:
        identity = {**digest, "code": code_digest(code)}
    elif custom_objects is not None or _uses_registered_code(path):
        identity = None

    def load(input_size: int | None) -> Network:
        from live_cam.models.build import load_model_file

        network = load_model_file(path, unsafe, custom_objects)
        network.format = file_format(path)
        return network

    return ModelReference(path.name, identity, load, code=code)


def _uses_registered_code(path: Path) -> bool:
    """Returns whether a model file needs what the user registered with Keras, which no digest of the file covers."""
    loaded_keras = sys.modules.get("keras")  # Nothing can be registered before Keras is loaded.
    if loaded_keras is None:
        return False
    try:
        names = texts_in(read_model_config(path))
    except ModelError:  # loading it says why
        return False
    objects = map(loaded_keras.saving.get_registered_object, names)
    return any(found is not None and not is_keras_module(getattr(found, "__module__", "")) for found in objects)


def _resolve_saved_model(folder: Path, unsafe: bool) -> ModelReference:
    # Other folders beside these are not parts of a SavedModel.
    digests = _folder_digests(folder, "*", "variables/*", "assets/*")

    def load(input_size: int | None) -> Network:
        from live_cam.models.saved_model import load_saved_model

        return load_saved_model(folder, unsafe)

    return ModelReference(folder.resolve().name, {"saved_model": digests, "unsafe": unsafe}, load)


def _resolve_preset(name: str, weights: str | Path | None) -> ModelReference:
    preset = name.removeprefix(HUB_PREFIX)
    if weights is not None:
        raise SettingError(f"{name} has its own weights; leave out the weights")
    if "://" in preset:
        raise SettingError(
            f"{name} is an address; livecam loads KerasHub's own presets and folders: download it, or load it with "
            "KerasHub and give the classifier to load_explainer()"
        )

    def load(input_size: int | None) -> Network:
        from live_cam.models.build import load_preset

        network = load_preset(preset)
        network.format = f"KerasHub preset, {'a folder' if is_folder else 'downloaded'}"
        return network

    is_folder = is_preset_folder(preset)
    # The version of KerasHub, which is part of every key, decides which files the name of a preset stands for.
    identity = {"preset": _folder_digests(Path(preset), "**/*") if is_folder else preset}
    # All its presets with 1000 classes were trained on ImageNet.
    return ModelReference(name, identity, load, has_imagenet_labels=not is_folder)


def _folder_digests(folder: Path, *patterns: str) -> dict[str, str]:
    """Returns the SHA-256 of the files in a folder that match one of the patterns, by their path in it.

    Raises:
        ModelError: There is no such folder, a file cannot be read, or they are too large to be a classifier.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; check the path")
    try:
        # A link to a device has no end.
        files = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
        byte_count = sum(path.stat().st_size for path in files)
        if byte_count > _LARGEST_FOLDER_BYTES:
            limit = f"{_LARGEST_FOLDER_BYTES / 1e9:.0f} GB"
            raise ModelError(f"{folder} has {byte_count / 1e9:.0f} GB; livecam opens models of up to {limit}")
        return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    except OSError as error:
        raise ModelError(f"cannot read the model folder {folder}: {error.strerror}; check the path") from error


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes as hexadecimal digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _readable_sha256(path: Path, kind: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"cannot read the {kind} file {path}: {error.strerror}; check the path") from error


def _object_identity(model: keras.Model) -> dict[str, Any] | None:
    """Returns what distinguishes a model object; None if it has code, which no digest of config and weights covers."""
    from live_cam.models.keras_network import lacks_weights, layers_of

    # Weights that do not exist yet will be random.
    if lacks_weights(model) or not all(type(layer).__module__.startswith(_LIBRARIES) for layer in layers_of(model)):
        return None
    config = model.to_json()
    if needs_code(json.loads(config)):
        return None
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return {"config": config, "weights": digest.hexdigest()}
