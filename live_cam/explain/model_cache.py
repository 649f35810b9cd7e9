"""Converted models on disk, so that a second run starts at once and without TensorFlow.

An entry is a folder whose name is a digest of everything that the model was built from. It is written under a temporary
name and renamed. It is checked when it is loaded; an entry that is damaged or incomplete counts as missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from live_cam.explain.model_info import ModelInfo
from live_cam.models.reference import file_sha256
from live_cam.version import __version__

_INFO_NAME = "entry.json"
_PROGRAM_NAME = "program.tflite"
_TIME_RATIOS_NAME = "time-ratios.json"
_UNFINISHED_PREFIX = "unfinished-"
_ENTRY_FOLDER = re.compile(rf"[0-9a-f]{{32}}|{_UNFINISHED_PREFIX}.*")

# The packages and modules whose source decides what a converted model computes.
SOURCES = (
    "engines",
    "explain/agreement.py",
    "explain/builder.py",
    "explain/calibration.py",
    "explain/int8_builder.py",
    "explain/int8_check.py",
    "explain/model_info.py",
    "explain/programs.py",
    "gradmodel",
    "models",
    "predictions.py",
    "preprocess.py",
)
_LIBRARIES = ("tensorflow", "keras", "keras-hub", "ai-edge-litert")


@dataclass(frozen=True)
class Entry:
    """A loaded entry.

    Attributes:
        info: What is known about the model.
        program: Path of the flatbuffer; None if LiteRT cannot run the model.
    """

    info: ModelInfo
    program: Path | None


class Cache:
    """The entries in a folder.

    Args:
        root: The folder. Default: the user's cache directory.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(platformdirs.user_cache_dir("livecam", appauthor=False)) if root is None else root

    def load(self, key: str) -> Entry | None:
        """Returns the entry of that key; None if there is none or it is damaged."""
        folder = self.root / key
        try:
            stored = json.loads((folder / _INFO_NAME).read_text(encoding="utf-8"))
            info = ModelInfo.from_json(stored["info"])
            if stored["key"] != key:
                return None
            if stored["program_sha256"] is None:
                return Entry(info, None)
            program_path = folder / _PROGRAM_NAME
            return Entry(info, program_path) if file_sha256(program_path) == stored["program_sha256"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, key: str, info: ModelInfo, program: bytes | None) -> Entry:
        """Writes an entry and loads it; replaces a damaged one. Several processes may do so at the same time.

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
            stored = {"key": key, "program_sha256": digest, "info": dataclasses.asdict(info)}
            (unfinished / _INFO_NAME).write_text(json.dumps(stored, indent=1), encoding="utf-8")
            return self._rename_into_place(unfinished, key)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def time_ratio(self, key: str, cpu: str) -> float | None:
        """Returns how long an entry's program takes on a CPU model, relative to float; None if it is not known."""
        return self._time_ratios(key).get(cpu)

    def store_time_ratio(self, key: str, cpu: str, ratio: float) -> None:
        """Adds a CPU model's ratio to an entry.

        Raises:
            OSError: The entry does not exist, or cannot be written.
        """
        path = self.root / key / _TIME_RATIOS_NAME
        # A name of its own for each process: two may write at the same time.
        descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED_PREFIX, dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({**self._time_ratios(key), cpu: ratio}, file)
        Path(unfinished).replace(path)

    def _time_ratios(self, key: str) -> dict[str, float]:
        try:
            stored = json.loads((self.root / key / _TIME_RATIOS_NAME).read_text(encoding="utf-8"))
            return {cpu: float(ratio) for cpu, ratio in stored.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def int8_entries(self) -> Iterator[tuple[str, ModelInfo]]:
        """Yields the keys and infos of all entries that int8 was compared with float for; programs are not checked."""
        for path in sorted(self.root.glob(f"*/{_INFO_NAME}")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                info = ModelInfo.from_json(json.loads(path.read_text(encoding="utf-8"))["info"])
                if info.int8_agreement is not None:
                    yield path.parent.name, info

    def _rename_into_place(self, unfinished: Path, key: str) -> Entry:
        folder = self.root / key
        while True:
            try:
                # Fails if the folder exists, so that two entries are never mixed.
                unfinished.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
            entry = self.load(key)
            if entry is not None:
                return entry
            # Moved before it is deleted: another process sees the damaged entry or none, but not half of it.
            damaged = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=self.root))
            with contextlib.suppress(FileNotFoundError):
                folder.rename(damaged / key)
            shutil.rmtree(damaged, ignore_errors=True)
            if not unfinished.is_dir():
                raise OSError(f"the cache folder {self.root} does not keep what is written to it")

    def entry_count_and_bytes(self) -> tuple[int, int]:
        """Returns the number of entries and their total size in bytes."""
        if not self.root.is_dir():
            return 0, 0
        folders = [folder for folder in self.root.iterdir() if (folder / _INFO_NAME).is_file()]
        return len(folders), sum(file.stat().st_size for folder in folders for file in folder.iterdir())

    def clear(self) -> int:
        """Deletes all entries, damaged and unfinished ones too, and returns how many folders it deleted.

        What other modules keep in the folder stays: how finished files were made, which is needed to resume them.
        """
        folders = list(self.root.iterdir()) if self.root.is_dir() else []
        folders = [folder for folder in folders if folder.is_dir() and _ENTRY_FOLDER.fullmatch(folder.name)]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return len(folders)


def cache_key(parts: dict[str, Any]) -> str:
    """Returns the name of the entry for a model that is built from ``parts``, by this code and these libraries."""
    everything = {
        **parts,
        "livecam": __version__,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "source": source_digest(Path(__file__).parents[1]),
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:32]


def source_digest(package: Path) -> str:
    """Returns a digest of the source that decides what a converted model computes: every module of ``SOURCES``.

    Args:
        package: The folder of the ``live_cam`` package.

    Raises:
        OSError: One of ``SOURCES`` does not exist.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        path = package / source
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = module.read_bytes()
            digest.update(f"{module.relative_to(package).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
