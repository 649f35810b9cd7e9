"""The user's own classes and functions that a model file needs: given by name, or defined in a Python file that is run.

Loads neither Keras nor TensorFlow, unless the user's file does.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import sys
import sysconfig
import traceback
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from live_cam.errors import ModelError, SettingError

# The objects by name, or the Python file that defines them.
CustomObjects: TypeAlias = Mapping[str, Any] | str | Path

# What a file imports from these is not its own, and Keras finds it by itself.
_LIBRARIES = {"keras", "tf_keras", "tensorflow", "numpy"}
_LONGEST_REASON = 160
# Where the code of this package, of other packages and of Python is.
_INSTALLED = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib", "stdlib", "platstdlib")),
)


def check_custom_objects(custom_objects: CustomObjects | None) -> None:
    """Checks that custom objects are given by name, or as a Python file that can be read; runs nothing.

    Raises:
        ModelError: The file cannot be read.
        SettingError: They are something else.
    """
    if isinstance(custom_objects, str | Path):
        path = Path(custom_objects)
        if path.suffix != ".py":
            raise SettingError(f"{path} is no Python file; give the .py file that defines the model's own layers")
        _content(path)
    elif custom_objects is not None and not (
        isinstance(custom_objects, Mapping) and all(isinstance(name, str) for name in custom_objects)
    ):
        raise SettingError(
            "custom_objects must be classes and functions by name, or the path of a .py file, "
            f"not {custom_objects!r:.60}"
        )


def code_digest(path: str | Path) -> str:
    """Returns the SHA-256 of a Python file and of the modules beside it that it imports, also indirectly.

    Raises:
        ModelError: The file cannot be read.
    """
    digest = hashlib.sha256()
    for source in _sources(Path(path)):
        content = _content(source)
        digest.update(f"{source.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def objects_by_name(custom_objects: CustomObjects | None) -> dict[str, Any]:
    """Returns the custom objects by name; runs the file that defines them, unless it ran before.

    Of a file, these are all functions, and all classes that Keras can save, which it defines or imports from elsewhere
    than Keras.

    Raises:
        ModelError: The file cannot be read, or fails; the message names the file and the line.
    """
    if custom_objects is None:
        return {}
    if isinstance(custom_objects, Mapping):
        return dict(custom_objects)
    module = _module(Path(custom_objects).resolve())
    own = {name: value for name, value in vars(module).items() if _is_own(value)}
    return {value.__name__: value for value in own.values()} | own


def _is_own(value: Any) -> bool:
    is_class = inspect.isclass(value) and hasattr(value, "get_config")
    return (is_class or inspect.isfunction(value)) and value.__module__.partition(".")[0] not in _LIBRARIES


def _module(path: Path) -> types.ModuleType:
    """Runs a Python file as a module; its folder is where it imports from first."""
    name = f"livecam_import_{code_digest(path)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path)
    # Where dataclasses and pickles look for the classes of a module.
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        # Standard output may be for programs.
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(_content(path), str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        del sys.modules[name]
        raise ModelError(f"{reason_of(error)}; correct the file, or leave it out") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def reason_of(error: BaseException) -> str:
    """Returns why the user's code failed, in one line: "my_layers.py, line 7: NameError: name 'foo' is not defined".

    The place is the last one outside of installed packages; it is left out if there is none.
    """
    # Keras wraps what a layer raises.
    while str(error).startswith("Exception encountered when calling") and error.__context__ is not None:
        error = error.__context__
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    message = str(error)
    if isinstance(error, SyntaxError):
        places.append((str(error.filename), error.lineno))
        message = error.msg
    own = [place for place in places if not place[0].startswith("<") and not place[0].startswith(_INSTALLED)]
    place = f"{own[-1][0]}, line {own[-1][1]}: " if own else ""
    first_line = (message.strip().splitlines() or [""])[0][:_LONGEST_REASON]
    return f"{place}{type(error).__name__}: {first_line}".rstrip(" :")


def _sources(path: Path) -> list[Path]:
    found: list[Path] = []
    waiting = [path]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.append(source)
            waiting += sorted(_imported_files(source, path.parent))
    return found


def _imported_files(source: Path, folder: Path) -> Iterator[Path]:
    """Yields the files in a folder that a module imports, of a package all files."""
    try:
        nodes = list(ast.walk(ast.parse(_content(source))))
    except (SyntaxError, ValueError, RecursionError):  # running it says so
        return
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    for top in {name.partition(".")[0] for name in names} - {""}:
        if (folder / f"{top}.py").is_file():
            yield folder / f"{top}.py"
        if (folder / top).is_dir():
            yield from (folder / top).rglob("*.py")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the Python file {path}: {error.strerror}; check the path") from error
