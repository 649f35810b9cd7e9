"""Converted passes on disk, so that a second run starts at once and without TensorFlow.

An entry is a folder named by a digest of everything that the pass was made from. It is written beside its final name
and renamed, and checked when it is loaded: a half-written, damaged or foreign entry is as good as none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from live_cam.predictions import Head

_FACTS_NAME = "entry.json"
_PROGRAM_NAME = "program.tflite"
_UNFINISHED_PREFIX = "unfinished-"

# What decides the numbers that a pass computes, beside the model: a change in one of these is another pass.
_FORMULA_MODULES = (
    "cam.py",
    "one_pass/gradmodel.py",
    "one_pass/heads.py",
    "one_pass/litert_gradients.py",
    "preprocess.py",
    "one_pass/target_layers.py",
    "engines/convert.py",
    "models/build.py",
    "models/efficientnet_lite.py",
    "models/families.py",
    "models/inspect.py",
    "models/own_code.py",
    "models/torch_weights.py",
)
_LIBRARIES = ("tensorflow", "keras", "ai-edge-litert")


@dataclass(frozen=True)
class PassFacts:
    """What is known of a pass without loading the model.

    Attributes:
        layer: The target layer.
        head: What kind of output the model has, see ``predictions.Head``.
        output_count: Length of the model's output.
        input_size_wh: Width and height of the pixels it takes.
        preprocessing: Name of the normalization inside the pass.
        engine: "litert" or "tensorflow".
        engine_reason: Why that one, in a few words.
        doubt: What shows that the preprocessing cannot be right, and what to do; empty where nothing does.
        layer_choices: Target layers worth a look, earliest first.
    """

    layer: str
    head: Head
    output_count: int
    input_size_wh: tuple[int, int]
    preprocessing: str
    engine: str
    engine_reason: str
    doubt: str = ""
    layer_choices: tuple[str, ...] = ()

    @staticmethod
    def of_json(stored: Mapping[str, Any]) -> PassFacts:
        """From what ``dataclasses.asdict`` gave, by way of JSON, which has no tuples.

        Raises:
            KeyError, TypeError: It has other names.
        """
        tuples = {name: tuple(stored[name]) for name in ("input_size_wh", "layer_choices")}
        return PassFacts(**{**stored, **tuples})


@dataclass(frozen=True)
class Entry:
    """A loaded entry; ``program``, a flatbuffer's path, is None where the pass runs on TensorFlow."""

    facts: PassFacts
    program: Path | None


class Cache:
    """The entries under one folder; the user's cache directory unless another is given."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(platformdirs.user_cache_dir("livecam", appauthor=False)) if root is None else root

    def load(self, key: str) -> Entry | None:
        """The entry of that key; None if there is none or it is damaged."""
        folder = self.root / key
        try:
            stored = json.loads((folder / _FACTS_NAME).read_text(encoding="utf-8"))
            facts = PassFacts.of_json(stored["facts"])
            if stored["key"] != key:
                return None
            if stored["program_sha256"] is None:
                return Entry(facts, None)
            program_path = folder / _PROGRAM_NAME
            return Entry(facts, program_path) if file_sha256(program_path) == stored["program_sha256"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, key: str, facts: PassFacts, program: bytes | None) -> Entry:
        """Writes an entry, in place of a damaged one; of two writers at once either one's will do.

        Raises:
            OSError: The cache folder cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=self.root))
        try:
            digest = None
            if program is not None:
                (unfinished / _PROGRAM_NAME).write_bytes(program)
                digest = hashlib.sha256(program).hexdigest()
            stored = {"key": key, "program_sha256": digest, "facts": dataclasses.asdict(facts)}
            (unfinished / _FACTS_NAME).write_text(json.dumps(stored, indent=1), encoding="utf-8")
            return self._renamed(unfinished, key)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _renamed(self, unfinished: Path, key: str) -> Entry:
        folder = self.root / key
        while True:
            try:
                # Onto an existing folder a rename fails: it never mixes two entries.
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
            entry = self.load(key)
            if entry is not None:
                return entry
            # Moved away before it is deleted: a reader sees the damaged entry or none, not half of one.
            damaged = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=self.root))
            with contextlib.suppress(FileNotFoundError):
                folder.rename(damaged / key)
            shutil.rmtree(damaged, ignore_errors=True)
            if not unfinished.is_dir():
                raise OSError(f"the cache folder {self.root} does not keep what is written to it")

    def entry_count_and_bytes(self) -> tuple[int, int]:
        """How many entries there are and how much room they take."""
        if not self.root.is_dir():
            return 0, 0
        folders = [one for one in self.root.iterdir() if (one / _FACTS_NAME).is_file()]
        return len(folders), sum(file.stat().st_size for one in folders for file in one.iterdir())

    def clear(self) -> int:
        """Deletes all entries, unfinished ones too; how many folders that were."""
        folders = [one for one in self.root.iterdir() if one.is_dir()] if self.root.is_dir() else []
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return len(folders)


def pass_key(parts: dict[str, Any]) -> str:
    """The name of the entry for a pass made from ``parts``, this code and these libraries."""
    everything = {
        **parts,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "formulas": formulas_digest(),
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:32]


def formulas_digest() -> str:
    """Digest of the source code that decides what a pass computes."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for name in _FORMULA_MODULES:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
