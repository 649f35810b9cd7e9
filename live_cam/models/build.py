"""Builds a network by name, or loads one from a file, with one-line errors in place of those of Keras.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from live_cam.errors import ModelError, SettingError
from live_cam.models import hub
from live_cam.models.custom_objects import CustomObjects, objects_by_name, reason_of
from live_cam.models.keras2_file import load_corrected, load_with_tf_keras
from live_cam.models.keras_files import (
    check_weights_file,
    is_preset_folder,
    limited_weights,
    missing_code,
    missing_keras_hub,
    names_package,
    names_without_module,
    read_model_config,
    refuse_foreign_code,
    texts_in,
)
from live_cam.models.keras_network import is_name_in_keras, is_registered, lacks_weights
from live_cam.models.network import Network
from live_cam.models.registry import BUNDLED, ModelSpec, find_spec
from live_cam.settings import DEFAULT_MODEL

# A firewall that drops packets instead of refusing them would stall a download for minutes.
_DOWNLOAD_STALL_SECONDS = 30.0
# The networks reduce their input by a factor of 32; below that, no cell of a map is left.
_SMALLEST_INPUT = 32
# For pixels in 0..1; see _correct_variance.
_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)
_LONGEST_REASON = 160
# How Keras says that it has no class or function of a name.
_UNKNOWN = re.compile(r"(?:Unknown \w+: |Could not locate \w+ |Could not interpret [\w ]+identifier: )'?([\w>.]+)")


def load_model(name: str, weights_path: str | Path | None = None, input_size: int | None = None) -> keras.Model:
    """Builds a network by name and loads its weights.

    Args:
        name: A model of ``live_cam.models.registry``.
        weights_path: A ``.weights.h5`` or ``.h5`` file. Default: the bundled or downloaded ImageNet weights.
        input_size: Side of the square input in pixels. Default: the size that the weights were trained on.

    Returns:
        A model from (n, size, size, 3) float32, preprocessed as its row says, to (n, 1000) probabilities.

    Raises:
        SettingError: There is no such model, or it does not support this input size.
        ModelError: The weights cannot be loaded, do not fit, or are not finite.
    """
    spec = find_spec(name)
    size = spec.input_size if input_size is None else input_size
    if size < _SMALLEST_INPUT:
        raise SettingError(f"an input size of {size} is too small for {spec.name}; give {_SMALLEST_INPUT} or more")
    if size != spec.input_size and not spec.any_size:
        raise SettingError(f"{spec.name} works at {spec.input_size}x{spec.input_size} only; leave out the input size")
    with _quiet_keras():
        if weights_path is not None:
            model = _model_with_own_weights(spec, size, Path(weights_path))
        elif spec.weights == BUNDLED:
            model = _builder(spec)(weights="imagenet", input_shape=(size, size, 3))
        else:
            model = _model_with_downloaded_weights(spec, size)
    _check_finite(model.weights, f"the weights of {spec.name}" if weights_path is None else str(weights_path))
    return model


def load_model_file(path: str | Path, unsafe: bool = False, custom_objects: CustomObjects | None = None) -> Network:
    """Loads a whole model, architecture and weights, that Keras saved.

    Args:
        path: A ``.keras``, ``.h5`` or ``.hdf5`` file of Keras 3 or 2.
        unsafe: Whether code in the file, in a Lambda layer, may run. By default such a file is refused.
        custom_objects: Classes and functions that the file needs, by name, or the Python file that defines them.

    Raises:
        ModelError: The file cannot be read, is damaged, has no weights, or needs code that is missing or not allowed.
    """
    path = Path(path)
    _check_readable(path, "model")
    # Checked before Keras opens it: Keras 2 runs code in a .h5 file even in safe mode.
    config = read_model_config(path)
    own = _own_objects(custom_objects, config, path)
    refuse_foreign_code(
        config, path, unsafe, lambda name: name in own or is_registered(name), is_name_in_keras, custom_objects
    )
    check_weights_file(path)
    if names_package(config, "keras_hub") and importlib.util.find_spec("keras_hub") is None:
        raise missing_keras_hub(str(path))

    def load(path: Path, corrections: dict[str, Any] | None = None) -> keras.Model:
        return keras.models.load_model(path, {**(corrections or {}), **own}, compile=False, safe_mode=not unsafe)

    is_of_keras2 = str(config.get("keras_version")).startswith("2.")
    try:
        with _quiet_keras(), limited_weights(keras.layers.Layer, path):
            if is_of_keras2 and path.suffix.lower() != ".keras":
                model = load_corrected(path, config, load)
            else:
                model = load(path)
    except ModelError:
        raise
    except Exception as error:  # Keras, h5py and zipfile raise many kinds of errors for a damaged file
        if is_of_keras2:
            return _network_of_keras2(path, config, unsafe, own, custom_objects)
        raise _not_loaded(path, error, custom_objects) from error
    if lacks_weights(model):
        raise ModelError(
            f"{path} has no weights: the model was saved before it was called or trained; save it again after that"
        )
    _check_finite(model.weights, str(path))
    _remember_loss(model, config.get("compile_config"))
    return hub.network_of(model)


def _network_of_keras2(
    path: Path, config: dict[str, Any], unsafe: bool, own: dict[str, Any], custom_objects: CustomObjects | None
) -> Network:
    try:
        with _quiet_keras():
            network, weights = load_with_tf_keras(path, config, unsafe, own)
    except ModelError:
        raise
    except Exception as error:  # tf_keras raises as many kinds as Keras
        raise _not_loaded(path, error, custom_objects) from error
    _check_finite(weights, str(path))
    return network


def load_preset(preset: str) -> Network:
    """Loads an image classifier of KerasHub; see ``hub.load_preset``.

    Raises:
        ModelError: It cannot be downloaded or loaded, or its weights are not finite.
        SettingError: There is no such preset.
    """
    try:
        with _quiet_keras(), _stall_limit():
            model = hub.load_preset(preset)
    except (ModelError, SettingError):
        raise
    except Exception as error:  # KerasHub, kagglehub and Keras raise many kinds of errors
        advice = (
            "save it again with task.save_to_preset()"
            if is_preset_folder(preset)
            else "connect to the internet once, or give a folder that task.save_to_preset() wrote, as hub:./folder"
        )
        raise ModelError(f"cannot load hub:{preset}: {_first_line(error)}; {advice}") from error
    _check_finite(model.weights, f"hub:{preset}")
    return hub.network_of(model)


def _own_objects(custom_objects: CustomObjects | None, config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the user's classes and functions by the names that a model file has for them.

    Raises:
        ModelError: The user's Python file fails, or it has something of the same name as Keras, and the model file
            does not say which of the two it needs.
    """
    own = objects_by_name(custom_objects)
    if isinstance(custom_objects, str | Path):
        by_name_only = names_without_module(config)
        for name in own:
            if name in by_name_only and is_name_in_keras(name) and not is_registered(name):
                raise ModelError(
                    f"{custom_objects} and Keras both have {name}, and {path} does not say which one it needs; rename "
                    f'yours, or let the file say keras.saving.get_custom_objects()["{name}"] = {name} to use it'
                )
    # Registered as "package>name" when the model was saved, and perhaps no longer.
    registered = {name for name in texts_in(config) if name.rpartition(">")[2] in own}
    return {name: own[name.rpartition(">")[2]] for name in registered} | own


def _not_loaded(path: Path, error: Exception, custom_objects: CustomObjects | None) -> ModelError:
    unknown = _UNKNOWN.search(str(error))
    if unknown is None and custom_objects is not None:
        _, was_nested, cause = str(error).rpartition("Exception encountered: ")
        reason = cause.strip().splitlines()[0] if was_nested and cause.strip() else reason_of(error)
        return ModelError(f"cannot load the model {path} with your classes: {reason}")
    if unknown is None:
        return ModelError(f"cannot load the model {path}: {_first_line(error)}; save it again with model.save()")
    name = unknown[1]
    # A layer named "TrueDivide" is the operation keras.ops.true_divide.
    if hasattr(keras.ops, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) or name == "GetItem":
        return ModelError(
            f"{path} needs {name!r}, which is no layer of Keras: .h5 files cannot store operations between layers; "
            "save the model as .keras"
        )
    return missing_code(path, {name: name}, custom_objects)


def _remember_loss(model: keras.Model, compile_config: Any) -> None:
    """Compiles a model with the loss, or the loss of each output, it was trained with: they tell what outputs mean."""
    loss = compile_config.get("loss") if isinstance(compile_config, dict) else None
    with contextlib.suppress(Exception), _quiet_keras():  # there may be other losses than outputs
        if loss is not None:
            model.compile(loss=_loaded_loss(loss))


def _loaded_loss(loss: Any) -> Any:
    if isinstance(loss, list | tuple):
        return [_loaded_loss(part) for part in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {name: _loaded_loss(part) for name, part in loss.items()}
    with contextlib.suppress(Exception):  # a custom loss cannot be loaded
        return keras.losses.get(loss)
    return None


def _builder(spec: ModelSpec) -> Callable[..., keras.Model]:
    module, _, function = spec.builder.rpartition(".")
    return getattr(importlib.import_module(module) if module else keras.applications, function)


def _model_with_own_weights(spec: ModelSpec, size: int, path: Path) -> keras.Model:
    _check_readable(path, "weights")
    if path.suffix != ".h5":
        raise ModelError(f"the weights file {path} is not named *.h5; give one that model.save_weights() wrote")
    check_weights_file(path, "weights file")
    model = _random_model(spec, size)
    try:
        model.load_weights(path)
    except OSError as error:
        raise ModelError(f"the weights file {path} is damaged: {_first_line(error)}; get it again") from error
    except Exception as error:  # Keras raises many kinds of errors for weights that do not fit
        reason = _first_line(error)
        raise ModelError(
            f"the weights {path} do not fit {spec.name}: {reason}; give the name of their network"
        ) from error
    _correct_variance(spec, model)
    return model


def _model_with_downloaded_weights(spec: ModelSpec, size: int) -> keras.Model:
    try:
        with _stall_limit():
            if size == spec.input_size:
                return _builder(spec)(weights="imagenet", input_shape=(size, size, 3))
            # Built first, so that its layers get the names that they have in the first model of a process.
            model = _random_model(spec, size)
            trained = _builder(spec)(weights="imagenet", input_shape=(spec.input_size, spec.input_size, 3))
    except SettingError:
        raise
    except Exception as error:  # keras.utils.get_file raises a bare Exception without a network
        raise ModelError(
            f"cannot download the weights of {spec.name}: {_first_line(error)}; connect to the internet once, "
            f"or give a weights file, or use {DEFAULT_MODEL}, whose weights are installed"
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
    """Corrects the input normalization of an EfficientNetB that was built with ``weights=None``.

    Its ImageNet weights contain a variance of 0.229 where 0.229 squared is meant (tensorflow issue 49930). Keras adds a
    layer that compensates for that, but only if it loads the weights itself.
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


def _check_finite(weights: Iterable[Any], owner: str) -> None:
    for weight in weights:
        values = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            name = getattr(weight, "path", weight.name)  # Keras 2 has no paths
            raise ModelError(f"{owner}: {name} has NaN or infinite values; use weights that were saved intact")


def _first_line(error: BaseException) -> str:
    """Returns the beginning of an error message of Keras, in one line."""
    lines = str(error).strip().splitlines()
    # "... could not be loaded. Example error message for object <Conv2D ...>:" would announce lines that are cut off.
    first = lines[0].partition(" Example error message")[0].strip(" .:") if lines else type(error).__name__
    return first if len(first) <= _LONGEST_REASON else first[: _LONGEST_REASON - 3] + "..."


@contextlib.contextmanager
def _quiet_keras() -> Iterator[None]:
    """Keeps Keras from printing its progress and from warning."""
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
def _stall_limit() -> Iterator[None]:
    """Gives downloads inside the ``with`` block a time limit for every read; Keras' downloader has no option for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
