"""What a user means by the name, the file or the object of a model, before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.cache import file_sha256
from live_cam.errors import ModelError, SettingError
from live_cam.models.model_file import MODEL_FILE_SUFFIXES, needs_code, refuse_other_kinds
from live_cam.models.specs import BUNDLED, find_spec

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class ModelReference:
    """A model that is known but not loaded.

    Attributes:
        name: As the user knows it.
        identity: What tells this model's numbers from another's, for the cache key; None: not to be kept on disk.
        load: Builds or reads it, for an input size or None for its own; loads TensorFlow.
        preprocessing: The normalization it was trained with; None where that must be found out from the model.
        input_size: Pixels a side; None where the model says so itself.
        has_imagenet_labels: Whether its outputs are the 1000 ImageNet classes.
    """

    name: str
    identity: dict[str, Any] | None
    load: Callable[[int | None], keras.Model]
    preprocessing: str | None = None
    input_size: int | None = None
    has_imagenet_labels: bool = False


def referenced(
    model: str | Path | keras.Model, weights: str | Path | None = None, unsafe: bool = False
) -> ModelReference:
    """Finds out what the user means by ``model`` without loading it.

    Args:
        model: A name, a path or the model itself.
        weights: A file of weights for a name.
        unsafe: Whether code of its own in a file is run.

    Raises:
        ModelError: There is no such file, or it is of another kind.
        SettingError: There is no such name.
    """
    loaded_keras = sys.modules.get("keras")  # It can only be a Keras model if Keras is loaded.
    if loaded_keras is not None and isinstance(model, loaded_keras.Model):
        return ModelReference(model.name, _object_identity(model), lambda input_size: model)
    if Path(model).suffix.lower() in MODEL_FILE_SUFFIXES or Path(model).exists():
        return _referenced_file(Path(model), weights, unsafe)
    spec = find_spec(str(model))
    if weights is not None:
        identity = {"name": spec.name, "weights": _readable_sha256(Path(weights), "weights")}
    elif spec.weights == BUNDLED:
        from live_cam.models.torch_weights import bundled_weights_version

        identity = {"name": spec.name, "weights": bundled_weights_version()}
    else:
        identity = {"name": spec.name, "weights": "imagenet"}

    def load(input_size: int | None) -> keras.Model:
        from live_cam.models.build import load_model

        return load_model(spec.name, weights, input_size)

    return ModelReference(spec.name, identity, load, spec.preprocessing, spec.input_size, spec.labels == "imagenet")


def _referenced_file(path: Path, weights: str | Path | None, unsafe: bool) -> ModelReference:
    refuse_other_kinds(path)
    if weights is not None:
        raise SettingError(f"{path} brings its own weights; leave out the weights, or give the model's name")
    digest = _readable_sha256(path, "model")

    def load(input_size: int | None) -> keras.Model:
        from live_cam.models.build import load_model_file

        return load_model_file(path, unsafe)

    return ModelReference(path.name, {"file": digest, "unsafe": unsafe}, load)


def _readable_sha256(path: Path, kind: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelError(f"cannot read the {kind} file {path}: {error.strerror}; check the path") from error


def _object_identity(model: keras.Model) -> dict[str, Any] | None:
    """None where there is something in the model that no digest of its settings and weights would cover."""
    layers = model._flatten_layers()
    # Weights that are not there yet will be random ones.
    if not all(type(layer).__module__.startswith("keras.") and layer.built for layer in layers):
        return None
    config = model.to_json()
    if needs_code(json.loads(config)):
        return None
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).data)
    return {"config": config, "weights": digest.hexdigest()}
