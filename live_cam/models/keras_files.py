"""Reads the architecture in a Keras model file without running anything, and refuses files that cannot be explained.

Loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import inspect
import io
import json
import math
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from live_cam.errors import ModelError
from live_cam.models.custom_objects import CustomObjects

# The file by which a folder is recognized as a SavedModel.
SAVED_MODEL_GRAPH = "saved_model.pb"
MODEL_FILE_SUFFIXES = (".keras", ".h5", ".hdf5")

_READ_BY_LIVECAM = "livecam reads what model.save() wrote as .keras or .h5, and SavedModel folders"
_OTHER_KINDS = {
    ".pb": "a TensorFlow graph alone",
    ".tflite": "a LiteRT model, a graph without layers to look into",
    ".onnx": "an ONNX model",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint, which has weights without their network",
    ".pkl": "a pickle, which could run any code",
}
# The first bytes of HDF5, of a zip archive, and of pickles since protocol 2.
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"

# Layers that run something outside Keras and contain no Keras layers.
OPAQUE_LAYERS = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_LAMBDAS = {"Lambda", "__lambda__"}
# Entries of an architecture whose text is not the name of a function.
_NO_FUNCTIONS = {"class_name", "config", "module", "name", "registered_name"}
# Layers of Keras 2 that call the function of TensorFlow that they name; these functions only compute.
_FUNCTION_LAYERS = {"TFOpLambda", "SlicingOpLambda"}
_COMPUTING_FUNCTIONS = re.compile(
    r"(compat\.v1\.)?((__operators__|linalg|math|nn)\.\w+|broadcast_to|cast|clip_by_value|concat|expand_dims|gather|"
    r"identity|image\.resize|ones_like|pad|repeat|reshape|reverse|shape|slice|split|squeeze|stack|stop_gradient|"
    r"strided_slice|tile|transpose|unstack|where|zeros_like)"
)
# The packages in which Keras itself looks for classes that a file names.
_KERAS_PACKAGES = {"keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp", "builtins"}

# What h5py raises for damaged files.
_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)

_LARGEST_CONFIG_BYTES = 64 << 20
# Weights hardly compress; a file that unpacks to this many times its size was made to fill the memory.
_LARGEST_EXPANSION = 50
_HARMLESS_BYTES = 256 << 20
_REPLACING = threading.Lock()


def refuse_other_kinds(path: Path) -> None:
    """Refuses a path whose name or kind shows that it is neither a Keras model in one file nor a SavedModel folder.

    Raises:
        ModelError: It is a folder of another kind, a model of another kind, or a file of weights.
    """
    if path.is_dir():
        if not (path / SAVED_MODEL_GRAPH).exists():
            raise ModelError(
                f"{path} is a folder without {SAVED_MODEL_GRAPH}; give a SavedModel folder, as model.export() and "
                "tf.saved_model.save() write it, or a .keras or .h5 file"
            )
        return
    if path.name == SAVED_MODEL_GRAPH:
        raise ModelError(f"{path} is one file of a SavedModel; give its folder, {path.parent}")
    kind = _OTHER_KINDS.get(path.suffix.lower())
    if kind is not None:
        raise ModelError(f"{path} is {kind}: {_READ_BY_LIVECAM}")
    if path.name.lower().endswith(".weights.h5"):
        raise _weights_alone(path)


def read_model_config(path: Path) -> dict[str, Any]:
    """Returns the architecture in a model file as plain values.

    In it, "compile_config" has the training settings, if any, and "keras_version" the version that wrote the file.

    Raises:
        ModelError: The file is damaged, is no Keras model, or has only weights.
    """
    with path.open("rb") as file:
        opening = file.read(8)
    if path.suffix.lower() == ".keras":
        if opening[:4] == _ZIP:
            config, metadata = _configs_in_zip(path)
            return {**_parsed(config, path), "keras_version": _parsed(metadata, path).get("keras_version")}
    elif opening == _HDF5:
        config, training, version = _configs_in_hdf5(path)
        return {**_parsed(config, path), "compile_config": _parsed(training, path), "keras_version": version}
    raise ModelError(f"cannot load the model {path}: it is {_kind_by_content(opening)}; {_READ_BY_LIVECAM}")


def file_format(path: Path) -> str:
    """Returns the kind of a model file and the version of Keras that wrote it: ".keras file, Keras 3.15.1".

    Raises:
        ModelError: As ``read_model_config``.
    """
    kind = ".keras file" if path.suffix.lower() == ".keras" else "HDF5 file"
    version = read_model_config(path)["keras_version"]
    return f"{kind}, Keras {version}" if version else kind


def refuse_foreign_code(
    config: dict[str, Any],
    path: Path,
    unsafe: bool,
    is_own: Callable[[str], bool],
    is_in_keras: Callable[[str], bool],
    custom_objects: CustomObjects | None = None,
) -> None:
    """Refuses an architecture that needs code other than that of Keras.

    Args:
        config: The architecture, as ``read_model_config`` returns it.
        path: Its file, for the message.
        unsafe: Whether the user allows code that is stored in the file.
        is_own: Returns whether the user gave or registered a class or function of that name, which Keras then uses
            whatever module the file names.
        is_in_keras: Returns whether Keras has a function of that name.
        custom_objects: What the user gave, for the message.

    Raises:
        ModelError: It has a Lambda layer that is not allowed, or a class or function that is not known.
    """
    missing: dict[str, str] = {}
    # The training settings are not loaded.
    for described in _descriptions({**config, "compile_config": None}):
        kind = described["class_name"]
        if kind in OPAQUE_LAYERS:
            raise ModelError(f"{path} wraps an opaque model in a {kind}: it has no layers to look into")
        if kind in _LAMBDAS and not unsafe:
            raise ModelError(
                f"{path} has a Lambda layer, which is Python code hidden in the file; if you trust who made it, "
                "unsafe=True loads the model and so runs that code"
            )
        if kind in _FUNCTION_LAYERS and not unsafe:
            called = str(_settings(described).get("function"))
            if _COMPUTING_FUNCTIONS.fullmatch(called) is None:
                raise ModelError(
                    f"{path} calls tf.{called}, which is not known to be harmless; if you trust who made it, "
                    "unsafe=True loads the model and so may run that"
                )
        module, function = described.get("module"), described.get("config")
        is_foreign = not is_keras_module(module)
        names = [str(described.get("registered_name"))]
        if kind == "function" and isinstance(function, str):
            if any(map(is_own, [function, *names])) or (is_in_keras(function) and not is_foreign):
                continue
            if hasattr(builtins, function):
                raise ModelError(f"{path} names Python's own {function}() as a function of Keras; do not use it")
            missing[function] = f"{module}.{function}" if is_foreign else function
        elif is_foreign and not any(map(is_own, names)):
            # Keras would import the module, whatever has the name.
            missing[kind] = f"{module}.{kind}"
    if missing:
        raise missing_code(path, missing, custom_objects)


def missing_code(path: Path, missing: Mapping[str, str], custom_objects: CustomObjects | None) -> ModelError:
    """Returns the error for classes and functions that a file needs and that are not known.

    Args:
        path: The model's file.
        missing: The titles of the classes and functions, by name.
        custom_objects: What the user gave.
    """
    titles, bare_names = ", ".join(sorted(missing.values())), sorted(name.rpartition(">")[2] for name in missing)
    if isinstance(custom_objects, str | Path):
        return ModelError(f"{path} needs {titles}, not defined in {custom_objects}; add {', '.join(bare_names)} there")
    if custom_objects:
        return ModelError(f"{path} needs {titles}, not among custom_objects ({', '.join(custom_objects)}); add it")
    as_dictionary = ", ".join(f'"{name}": {name}' for name in bare_names)
    return ModelError(
        f"{path} needs {titles}, whose code is not in the file; give the Python file that has it with --import FILE, "
        f"in Python custom_objects={{{as_dictionary}}}"
    )


def names_without_module(config: dict[str, Any]) -> set[str]:
    """Returns what Keras finds by its name alone: classes without a module, and functions such as activations."""
    parts = list(_dictionaries({**config, "compile_config": None}))
    names = [part.get("class_name") for part in parts if part.get("module") is None]
    names += [value for part in parts for name, value in part.items() if name not in _NO_FUNCTIONS]
    return {name for name in names if isinstance(name, str)}


def texts_in(config: Any) -> set[str]:
    """Returns all texts in an architecture, among which are the names of all classes and functions."""
    return {part for part in _parts(config) if isinstance(part, str)}


def has_lambda(config: dict[str, Any]) -> bool:
    """Returns whether an architecture has Python code in it."""
    return any(part["class_name"] in _LAMBDAS for part in _descriptions(config))


def names_package(config: dict[str, Any], package: str) -> bool:
    """Returns whether an architecture names a class of a package."""
    return any(str(part.get("module")).partition(".")[0] == package for part in _descriptions(config))


def is_preset_folder(preset: str) -> bool:
    """Returns whether the user means a folder of theirs, by a separator in it, and not a preset of KerasHub."""
    return bool({os.sep, os.altsep} & set(preset))


def missing_keras_hub(model_name: str) -> ModelError:
    """Returns the error for a model of KerasHub if that is not installed."""
    return ModelError(f'{model_name} needs keras_hub, which is not installed: pip install ".[hub]" in the checkout')


def needs_code(config: dict[str, Any]) -> bool:
    """Returns whether an architecture names functions or classes that are not part of Keras."""
    return any(
        not is_keras_module(part.get("module")) or part["class_name"] in {*_LAMBDAS, "function"}
        for part in _descriptions(config)
    )


def _settings(described: dict[str, Any]) -> dict[str, Any]:
    settings = described.get("config")
    return settings if isinstance(settings, dict) else {}


def is_keras_module(module: Any) -> bool:
    """Returns whether a module is one in which Keras looks for classes by itself; None is."""
    return module is None or str(module).partition(".")[0] in _KERAS_PACKAGES


def _descriptions(value: Any) -> Iterator[dict[str, Any]]:
    """Yields all parts of an architecture that name a class."""
    return (part for part in _dictionaries(value) if isinstance(part.get("class_name"), str))


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    return (part for part in _parts(value) if isinstance(part, dict))


def _parts(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, dict | list):
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _configs_in_zip(path: Path) -> tuple[bytes, bytes]:
    """Returns the architecture and the metadata, as JSON."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if "config.json" not in sizes:
                raise ModelError(f"{path} is a zip archive without a Keras model in it; {_READ_BY_LIVECAM}")
            if any(name.startswith("/") or ".." in name for name in sizes):
                raise ModelError(f"{path} is a zip archive that would write outside its folder; do not use it")
            _check_expansion(sum(sizes.values()), path)
            _check_config_size(sizes["config.json"] + sizes.get("metadata.json", 0), path)
            return archive.read("config.json"), archive.read("metadata.json") if "metadata.json" in sizes else b"{}"
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _damaged(path, error) from error


def _configs_in_hdf5(path: Path) -> tuple[bytes, bytes, str]:
    """Returns the architecture and the training settings, as JSON, and the version of Keras."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise _weights_alone(path)
            missing = {"training_config": "{}", "keras_version": ""}
            texts = [file.attrs.get(name, missing.get(name)) for name in ("model_config", *missing)]
            if not all(isinstance(text, str | bytes) for text in texts):
                raise ValueError("an attribute that should be text is none")
    except _HDF5_ERRORS as error:
        raise _damaged(path, error) from error
    config, training, version = (text.encode() if isinstance(text, str) else bytes(text) for text in texts)
    _check_config_size(len(config) + len(training), path)
    return config, training, version.decode(errors="replace")


def read_config(path: Path) -> dict[str, Any]:
    """Returns the architecture in a JSON file.

    Raises:
        ModelError: The file cannot be read, or has something else.
    """
    try:
        _check_config_size(path.stat().st_size, path)
        return _parsed(path.read_bytes(), path)
    except OSError as error:
        raise ModelError(f"cannot read the model file {path}: {error.strerror}; check the path") from error


def check_weights_file(path: Path, kind: str = "model") -> None:
    """Checks that the weights in a HDF5 file, or in a ``.keras`` file, were not made to fill the memory.

    Args:
        path: The file.
        kind: What it is, for messages.

    Raises:
        ModelError: They were, or the file is damaged.
    """
    try:
        if path.suffix.lower() != ".keras":
            byte_count = _dataset_bytes(path)
        else:
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".h5")]
                byte_count = sum(_dataset_bytes(io.BytesIO(archive.read(name))) for name in members)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, *_HDF5_ERRORS) as error:
        raise _damaged(path, error, kind) from error
    _check_expansion(byte_count, path)


@contextlib.contextmanager
def limited_weights(layer_class: Any, path: Path) -> Iterator[None]:
    """Refuses a file whose layers would have many times the weights that it stores, before the memory is full.

    Keras makes the weights of all layers before it reads any.

    Args:
        layer_class: ``Layer`` of Keras or tf_keras; its ``add_weight`` is replaced in the block, for this thread.
        path: The file that is loaded in the block.

    Raises:
        ModelError: It is such a file, or the block raised it.
    """
    add_weight, thread = layer_class.add_weight, threading.get_ident()
    signature = inspect.signature(add_weight)
    byte_count, refusals = 0, []

    @functools.wraps(add_weight)
    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal byte_count
        if threading.get_ident() == thread:
            byte_count += 4 * math.prod(signature.bind(*arguments, **named).arguments.get("shape") or ())
            try:
                _check_expansion(byte_count, path)
            except ModelError as error:
                refusals.append(error)
                raise
        return add_weight(*arguments, **named)

    with _REPLACING:
        layer_class.add_weight = counted
        try:
            yield
        except Exception:
            if refusals:  # Keras wraps it.
                raise refusals[0] from None
            raise
        finally:
            layer_class.add_weight = add_weight


def _dataset_bytes(file: Path | io.BytesIO) -> int:
    """Returns how many bytes the arrays in a HDF5 file have."""
    import h5py

    sizes: list[int] = []
    with h5py.File(file, "r") as opened:
        opened.visititems(lambda name, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(config, dict):
        raise ModelError(f"cannot load the model {path}: its architecture is no JSON object; save it again")
    return config


def _check_expansion(unpacked_bytes: int, path: Path) -> None:
    if unpacked_bytes > max(_HARMLESS_BYTES, _LARGEST_EXPANSION * path.stat().st_size):
        raise ModelError(
            f"{path} would unpack to {unpacked_bytes / 1e9:.1f} GB from {path.stat().st_size / 1e6:.1f} MB: "
            "it is no trained model; do not use it"
        )


def _check_config_size(byte_count: int, path: Path) -> None:
    if byte_count > _LARGEST_CONFIG_BYTES:
        raise ModelError(f"{path} describes its layers in {byte_count / 1e6:.0f} MB: it is no model; do not use it")


def _weights_alone(path: Path) -> ModelError:
    return ModelError(
        f"{path} has weights without their network; give the network's name as model, and {path} as weights"
    )


def _damaged(path: Path, error: Exception, kind: str = "model") -> ModelError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return ModelError(f"cannot load the {kind} {path}: it is damaged or cut off ({reason}); get or save it again")


def _kind_by_content(opening: bytes) -> str:
    if opening == _HDF5:
        return "HDF5 under another name; rename it to .h5"
    if opening[:4] == _ZIP:
        return "a zip archive, of PyTorch or of a .keras file under another name"
    if opening[:1] == _PICKLE:
        return "a pickle, which could run any code and is not opened"
    return "neither a .keras archive nor HDF5"
