"""What a model file holds, read without running anything in it: neither Keras nor TensorFlow is loaded here."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from live_cam.errors import ModelError

MODEL_FILE_SUFFIXES = (".keras", ".h5", ".hdf5")

_READ_BY_LIVECAM = "livecam reads what model.save() wrote as .keras or .h5"
_OTHER_KINDS = {
    ".pb": "a TensorFlow SavedModel, a graph without layers to look into",
    ".tflite": "a LiteRT model, a graph without layers to look into",
    ".onnx": "an ONNX model",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint of weights without their network",
    ".pkl": "a pickle, which could run anything",
}
# The opening bytes of HDF5, of a zip archive and of pickles since protocol 2.
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"

# Layers whose work is done by something outside Keras, and that have no layers inside.
OPAQUE_LAYERS = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_LAMBDAS = {"Lambda", "__lambda__"}
# Where Keras itself looks for classes that a file names.
_KERAS_PACKAGES = {"keras", "keras_hub", "keras_cv", "keras_nlp", "builtins"}

_LARGEST_CONFIG_BYTES = 64 << 20
# Weights hardly shrink; what unpacks to this many times its size is made to fill the memory.
_LARGEST_EXPANSION = 50
_HARMLESS_BYTES = 256 << 20


def refuse_other_kinds(path: Path) -> None:
    """Refuses, by its name alone, what is no Keras model in one file.

    Raises:
        ModelError: It is a folder, or a model of another kind.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder; a SavedModel is a graph without layers to look into: {_READ_BY_LIVECAM}")
    kind = _OTHER_KINDS.get(path.suffix.lower())
    if kind is not None:
        raise ModelError(f"{path} is {kind}: {_READ_BY_LIVECAM}")
    if path.name.lower().endswith(".weights.h5"):
        raise _weights_alone(path)


def read_model_config(path: Path) -> dict[str, Any]:
    """The architecture in a model file, as plain values; and under "compile_config" how it was trained, if known.

    Raises:
        ModelError: The file is damaged, is no Keras model, or holds weights alone.
    """
    with path.open("rb") as file:
        opening = file.read(8)
    if path.suffix.lower() == ".keras":
        if opening[:4] == _ZIP:
            return _parsed(_config_in_zip(path), path)
    elif opening == _HDF5:
        config, training = _configs_in_hdf5(path)
        return {**_parsed(config, path), "compile_config": _parsed(training, path)}
    raise ModelError(f"cannot load the model {path}: it is {_kind_by_content(opening)}; {_READ_BY_LIVECAM}")


def refuse_foreign_code(config: dict[str, Any], path: Path, unsafe: bool, is_registered: Callable[[str], bool]) -> None:
    """Refuses an architecture that needs more than Keras' own layers.

    Args:
        config: The architecture, see ``read_model_config``.
        path: Its file, for the message.
        unsafe: Whether the user allows code that is hidden in the file.
        is_registered: Whether the user made a custom class of that name known to Keras.

    Raises:
        ModelError: It has a Lambda layer that is not allowed, or a class that is not Keras' and not registered.
    """
    # What it was trained with is not loaded.
    for described in _descriptions({**config, "compile_config": None}):
        kind = described["class_name"]
        if kind in OPAQUE_LAYERS:
            raise ModelError(f"{path} wraps an opaque model in a {kind}: there are no layers to look into")
        if kind in _LAMBDAS and not unsafe:
            raise ModelError(
                f"{path} has a Lambda layer, which is Python code hidden in the file; if you trust who made it, "
                "--unsafe-model (in Python unsafe=True) loads the model and so runs that code"
            )
        module = described.get("module")
        if not _is_keras_module(module) and not is_registered(str(described.get("registered_name"))):
            raise ModelError(
                f"{path} needs {module}.{kind}, whose code is not in the file; in Python register that class with "
                "keras.saving.register_keras_serializable() before load_explainer()"
            )


def needs_code(config: dict[str, Any]) -> bool:
    """Whether an architecture names functions or classes that are not Keras' own."""
    return any(
        not _is_keras_module(part.get("module")) or part["class_name"] in {*_LAMBDAS, "function"}
        for part in _descriptions(config)
    )


def _is_keras_module(module: Any) -> bool:
    return module is None or str(module).partition(".")[0] in _KERAS_PACKAGES


def _descriptions(value: Any) -> Iterator[dict[str, Any]]:
    """All parts of an architecture that name a class."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class_name"), str):
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _config_in_zip(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {one.filename: one.file_size for one in archive.infolist()}
            if "config.json" not in sizes:
                raise ModelError(f"{path} is a zip archive without a Keras model in it; {_READ_BY_LIVECAM}")
            if any(name.startswith("/") or ".." in name for name in sizes):
                raise ModelError(f"{path} is a zip archive that writes outside its folder; do not use it")
            _check_expansion(sum(sizes.values()), path)
            _check_config_size(sizes["config.json"], path)
            return archive.read("config.json")
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error


def _configs_in_hdf5(path: Path) -> tuple[bytes, bytes]:
    """The architecture, and how it was trained."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise _weights_alone(path)
            sizes: list[int] = []
            file.visititems(lambda name, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
            _check_expansion(sum(sizes), path)
            configs = [file.attrs["model_config"], file.attrs.get("training_config", "{}")]
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    config, training = (one.encode() if isinstance(one, str) else bytes(one) for one in configs)
    _check_config_size(len(config) + len(training), path)
    return config, training


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(config, dict):
        raise ModelError(f"cannot load the model {path}: its architecture is no JSON object; save it anew")
    return config


def _check_expansion(unpacked_bytes: int, path: Path) -> None:
    if unpacked_bytes > max(_HARMLESS_BYTES, _LARGEST_EXPANSION * path.stat().st_size):
        raise ModelError(
            f"{path} would unpack to {unpacked_bytes / 1e9:.1f} GB from {path.stat().st_size / 1e6:.1f} MB: "
            "that is no trained model; do not use it"
        )


def _check_config_size(byte_count: int, path: Path) -> None:
    if byte_count > _LARGEST_CONFIG_BYTES:
        raise ModelError(f"{path} describes its layers in {byte_count / 1e6:.0f} MB: that is no model; do not use it")


def _weights_alone(path: Path) -> ModelError:
    return ModelError(f"{path} holds weights without their network; give --model NAME --weights {path}")


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return ModelError(f"cannot load the model {path}: it is damaged or cut off ({reason}); get or save it again")


def _kind_by_content(opening: bytes) -> str:
    if opening == _HDF5:
        return "HDF5 under another name, to be called .h5"
    if opening[:4] == _ZIP:
        return "a zip archive, of PyTorch or of a .keras file under another name"
    if opening[:1] == _PICKLE:
        return "a pickle, which could run anything and is not opened"
    return "neither a .keras archive nor HDF5"
