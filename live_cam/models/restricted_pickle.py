"""Runs the pickles in a torch file without being able to do what they ask.

A pickle is a program. ``pickle.Unpickler`` with a strict ``find_class`` keeps it from calling anything, but not from
asking for a memo of 30 GB or for the hash of a tuple that holds a tuple twice, sixty times over. So these programs run
on a machine of our own that knows only the instructions ``torch.save`` writes for a dict of tensors, on plain values.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np


class MalformedError(ValueError):
    """The file is not what it should be; the text says in which way and fits one line."""


@dataclass(frozen=True)
class StorageType:
    """Stands for ``torch.FloatStorage`` and its like."""

    dtype: np.dtype


@dataclass(frozen=True)
class Storage:
    """A run of elements that follows later in the file."""

    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view into a storage, counted in elements; all but the storage as the file gave it, unchecked."""

    storage: Storage
    offset: Any
    shape: Any
    strides: Any


def _ordered_dict(*arguments: Any) -> dict:
    if arguments:
        raise MalformedError("an OrderedDict in it is made from something")
    return {}


def _rebuild_tensor(*arguments: Any) -> Tensor:
    if len(arguments) != 6 or not isinstance(arguments[0], Storage):
        raise MalformedError("a tensor in it is made from something other than a storage")
    return Tensor(*arguments[:4])


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
}
_STORAGE_TYPES = {
    "torch FloatStorage": StorageType(np.dtype("<f4")),
    "torch LongStorage": StorageType(np.dtype("<i8")),
}
# Every name a file may ask for; nothing is imported, each is one of ours.
ALLOWED_NAMES: dict[str, object] = {**_FUNCTIONS, **_STORAGE_TYPES}


def shown(value: object) -> str:
    """A text from the file, fit for a one-line message; other values may nest without end and are not shown."""
    return repr(value[:60]) if isinstance(value, str) else "(no text)"


def is_size(value: object) -> bool:
    """Whether this is a count that a file could mean; the bound keeps all sums and products of them harmless."""
    return type(value) is int and 0 <= value < 2**40


def run_pickle(stream: BinaryIO) -> object:
    """Runs one pickle and leaves the stream behind it.

    Args:
        stream: Seekable, and as short as the caller allows the program to be.

    Returns:
        Strings, integers, booleans, None, `Tensor`, and tuples, lists and dicts of them.

    Raises:
        MalformedError: It asks for an instruction or a name that no dict of tensors needs, or makes no sense.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name not in _INSTRUCTIONS:
                raise MalformedError(f"it asks for the instruction {opcode.name}, which no dict of tensors needs")
            _INSTRUCTIONS[opcode.name](machine, argument)
    except MalformedError:
        raise
    except ValueError as error:  # of pickletools: cut off, or an argument that cannot be read
        raise MalformedError("its pickled part is cut off or damaged") from error
    return machine.pop()


class _Machine:
    """A stack of values, the stacks below its marks, and the values noted for use again."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._stacks_below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if not self._stack:
            raise MalformedError("its pickled part takes a value where there is none")
        return self._stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]

    def mark(self) -> None:
        self._stacks_below.append(self._stack)
        self._stack = []

    def pop_to_mark(self) -> list[Any]:
        if not self._stacks_below:
            raise MalformedError("its pickled part goes back to a mark that it never set")
        items, self._stack = self._stack, self._stacks_below.pop()
        return items

    def note(self, index: int) -> None:
        self.push(value := self.pop())
        self._memo[index] = value

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise MalformedError("its pickled part uses a value that it never made")
        self.push(self._memo[index])

    def extend_list(self, items: list[Any]) -> None:
        self._container(list).extend(items)

    def extend_dict(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        # Parameter numbers are the only keys beside names, in the version notes.
        if len(keys) != len(values) or not all(isinstance(key, (str, int)) for key in keys):
            raise MalformedError("a dict in it has a key that is no text")
        self._container(dict).update(zip(keys, values, strict=True))

    def _container(self, kind: type) -> Any:
        self.push(container := self.pop())
        if not isinstance(container, kind):
            raise MalformedError("its pickled part fills something that is no container")
        return container

    def find_class(self, name: str) -> None:
        if name not in ALLOWED_NAMES:
            raise MalformedError(f"it asks for {shown(name.replace(' ', '.'))}, which no dict of tensors needs")
        self.push(ALLOWED_NAMES[name])

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        if not isinstance(arguments, tuple) or not any(function is known for known in _FUNCTIONS.values()):
            raise MalformedError("it calls something that is no function")
        self.push(function(*arguments))

    def ignore_state(self) -> None:
        # torch hangs version notes (`_metadata`) on the dict; nothing here needs them.
        self.pop()
        self._container(dict)

    def find_storage(self) -> None:
        match self.pop():
            case ("storage", StorageType(dtype=dtype), str(key), str(), count, None) if is_size(count):
                self.push(Storage(key, dtype, count))
            case _:
                raise MalformedError("it refers to something that is no storage")


def _push_argument(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "BININT": _push_argument,
    "BININT1": _push_argument,
    "BININT2": _push_argument,
    "LONG1": _push_argument,
    "BINUNICODE": _push_argument,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop_many(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop_many(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop_many(3))),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    "APPEND": lambda machine, _: machine.extend_list(machine.pop_many(1)),
    "APPENDS": lambda machine, _: machine.extend_list(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.extend_dict(machine.pop_many(2)),
    "SETITEMS": lambda machine, _: machine.extend_dict(machine.pop_to_mark()),
    "BINPUT": lambda machine, index: machine.note(index),
    "LONG_BINPUT": lambda machine, index: machine.note(index),
    "BINGET": lambda machine, index: machine.recall(index),
    "LONG_BINGET": lambda machine, index: machine.recall(index),
    "GLOBAL": lambda machine, name: machine.find_class(name),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.ignore_state(),
    "BINPERSID": lambda machine, _: machine.find_storage(),
}
