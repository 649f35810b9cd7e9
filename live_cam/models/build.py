"""Builds a network by name, or reads one from a file, with errors a user can act on.

Keras' own words go nowhere: it prints its progress, and its errors fill a page.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live_cam.models.quiet_tensorflow  # noqa: F401

# isort: split
import keras
import numpy as np

from live_cam.errors import ModelError, SettingError
from live_cam.models.model_file import read_model_config, refuse_foreign_code
from live_cam.models.specs import BUNDLED, DEFAULT_MODEL, ModelSpec, find_spec

# A network that swallows packets instead of refusing them would keep a download waiting for minutes.
_DOWNLOAD_STALL_SECONDS = 30.0
# The networks shrink their input 32 times; below that not even one cell of a map is left.
_SMALLEST_INPUT = 32
# Of pixels in 0..1; see _correct_variance.
_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)


def load_model(name: str, weights_path: str | Path | None = None, input_size: int | None = None) -> keras.Model:
    """Builds a network of the table with its weights.

    Args:
        name: A model of `live_cam.models.specs`.
        weights_path: A file of weights in place of the bundled or downloaded ones: ``.weights.h5`` or ``.h5``.
        input_size: Pixels a side of the square it sees; None for the size it was trained on.

    Returns:
        A model from (n, size, size, 3) float32, preprocessed as its row says, to (n, 1000) probabilities.

    Raises:
        SettingError: There is no such model, or it cannot have this input size.
        ModelError: The weights cannot be had, do not fit, or are no numbers.
    """
    spec = find_spec(name)
    size = spec.input_size if input_size is None else input_size
    if size < _SMALLEST_INPUT:
        raise SettingError(f"an input size of {size} is too small for {spec.name}; give {_SMALLEST_INPUT} or more")
    if size != spec.input_size and not spec.any_size:
        raise SettingError(f"{spec.name} works at {spec.input_size}x{spec.input_size} only; leave out --input-size")
    with _keras_silenced():
        if weights_path is not None:
            model = _model_with_own_weights(spec, size, Path(weights_path))
        elif spec.weights == BUNDLED:
            model = _builder(spec)(weights="imagenet", input_shape=(size, size, 3))
        else:
            model = _model_with_downloaded_weights(spec, size)
    _check_finite(model, f"the weights of {spec.name}" if weights_path is None else str(weights_path))
    return model


def load_model_file(path: str | Path, unsafe: bool = False) -> keras.Model:
    """Reads a whole model, architecture and weights, that Keras saved.

    Args:
        path: A ``.keras``, ``.h5`` or ``.hdf5`` file.
        unsafe: Whether code of its own in the file, in a Lambda layer, is run; refused otherwise.

    Raises:
        ModelError: The file cannot be read, is damaged, is without weights, or needs code that is not in it.
    """
    path = Path(path)
    _check_readable(path, "model")
    # Before Keras: older ones run what they find in a .h5 file, safe mode or not.
    config = read_model_config(path)
    refuse_foreign_code(config, path, unsafe, lambda name: keras.saving.get_registered_object(name) is not None)
    try:
        with _keras_silenced():
            model = keras.models.load_model(
                path, {"DepthwiseConv2D": _DepthwiseConvolution}, compile=False, safe_mode=not unsafe
            )
    except Exception as error:  # Keras, h5py and zipfile raise what they like on a damaged file
        raise _not_loaded(path, error) from error
    if not all(layer.built for layer in model._flatten_layers()):
        raise ModelError(
            f"{path} holds no weights: the model was saved before it was called or trained; save it anew after that"
        )
    _check_finite(model, str(path))
    _remember_loss(model, config.get("compile_config"))
    return model


def _not_loaded(path: Path, error: Exception) -> ModelError:
    unknown = re.match(r"Unknown (?:layer|object): ('[^']*')", str(error))
    if unknown is not None:
        return ModelError(
            f"{path} needs {unknown[1]}, which is no layer of Keras: .h5 files do not hold operations between layers, "
            "nor classes that were not registered; save the model as .keras"
        )
    return ModelError(f"cannot load the model {path}: {_first_line(error)}; save it anew with model.save()")


def _remember_loss(model: keras.Model, compile_config: Any) -> None:
    """The loss a model was trained with tells what its outputs mean; anything else about training is not loaded."""
    loss = compile_config.get("loss") if isinstance(compile_config, dict) else None
    with contextlib.suppress(Exception), _keras_silenced():  # a loss of the user's own, not known here
        if loss is not None:
            model.compile(loss=keras.losses.deserialize(loss) if isinstance(loss, dict) else loss)


class _DepthwiseConvolution(keras.layers.DepthwiseConv2D):
    """Reads what Keras 2 wrote, as in Teachable Machine's exports: with ``groups``, always 1, unknown to Keras 3."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.DepthwiseConv2D:
        return keras.layers.DepthwiseConv2D(**{name: value for name, value in config.items() if name != "groups"})


def _builder(spec: ModelSpec) -> Callable[..., keras.Model]:
    module, _, function = spec.builder.rpartition(".")
    return getattr(importlib.import_module(module) if module else keras.applications, function)


def _model_with_own_weights(spec: ModelSpec, size: int, path: Path) -> keras.Model:
    _check_readable(path, "weights")
    if path.suffix != ".h5":
        raise ModelError(f"the weights file {path} is not named *.h5; give one that Keras' save_weights() wrote")
    model = _random_model(spec, size)
    try:
        model.load_weights(path)
    except OSError as error:
        raise ModelError(f"the weights file {path} is damaged: {_first_line(error)}; get it again") from error
    except Exception as error:  # as above: Keras raises a kind of error for each way not to fit
        reason = _first_line(error)
        raise ModelError(f"the weights {path} do not fit {spec.name}: {reason}; check --model and --weights") from error
    _correct_variance(spec, model)
    return model


def _model_with_downloaded_weights(spec: ModelSpec, size: int) -> keras.Model:
    try:
        with _download_stall_bounded():
            if size == spec.input_size:
                return _builder(spec)(weights="imagenet", input_shape=(size, size, 3))
            # First, so that its layers get the names of the first model of a process.
            model = _random_model(spec, size)
            trained = _builder(spec)(weights="imagenet", input_shape=(spec.input_size, spec.input_size, 3))
    except SettingError:
        raise
    except Exception as error:  # a bare Exception is what keras.utils.get_file raises without a network
        raise ModelError(
            f"cannot download the weights of {spec.name}: {_first_line(error)}; connect to the internet once, "
            f"or give --weights PATH, or use {DEFAULT_MODEL}, whose weights are installed"
        ) from error
    model.set_weights(trained.get_weights())
    _correct_variance(spec, model)
    return model


def _random_model(spec: ModelSpec, size: int) -> keras.Model:
    try:
        return _builder(spec)(weights=None, input_shape=(size, size, 3))
    except ValueError as error:
        raise SettingError(f"{spec.name} cannot have the input size {size}: {_first_line(error)}") from error


def _correct_variance(spec: ModelSpec, model: keras.Model) -> None:
    """Makes an EfficientNetB built with ``weights=None`` the network that its ImageNet weights belong to.

    With the weights comes a variance of 0.229 where 0.229 squared is meant (tensorflow issue 49930). Keras adds a layer
    that makes up for it, but only when it loads the weights itself; here the variance is put right.
    """
    if not spec.builder.startswith("EfficientNetB"):
        return
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, count = normalization.get_weights()
    normalization.set_weights([mean, variance * np.array(_IMAGENET_STD_RGB, np.float32), count])
    normalization.finalize_state()


def _check_readable(path: Path, kind: str) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ModelError(f"the {kind} file {path} is empty; check the path")
    except OSError as error:
        raise ModelError(f"cannot read the {kind} file {path}: {error.strerror}; check the path") from error


def _check_finite(model: keras.Model, owner: str) -> None:
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ModelError(f"{owner}: {weight.path} holds NaN or infinite values; use weights that were saved intact")


def _first_line(error: BaseException) -> str:
    """What an error of Keras begins with; the rest of its page is for programmers."""
    lines = str(error).strip().splitlines()
    # "... could not be loaded. Example error message for object <Conv2D ...>:" announces lines that are cut off here.
    first = lines[0].partition(" Example error message")[0].strip(" .:") if lines else type(error).__name__
    return first if len(first) <= 160 else first[:157] + "..."


@contextlib.contextmanager
def _keras_silenced() -> Iterator[None]:
    was_on = keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if was_on:
            keras.config.enable_interactive_logging()


@contextlib.contextmanager
def _download_stall_bounded() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
