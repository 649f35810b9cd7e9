"""Entries on disk: found again, never mixed up, never used when damaged."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

import live_cam
import live_cam.explain.model_cache
from live_cam.explain.model_cache import Cache, cache_key, source_digest
from live_cam.explain.model_info import ModelInfo
from live_cam.models.reference import resolve_model
from live_cam.models.registry import MODEL_SPECS

INFO = ModelInfo("top", "softmax", 1000, (224, 192), "lite", "litert", "CPU")
PROGRAM = bytes(range(256)) * 50


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_a_stored_entry_is_found(cache):
    cache.store("key", INFO, PROGRAM)
    entry = cache.load("key")
    assert entry.info == INFO
    assert entry.program.read_bytes() == PROGRAM


def test_an_entry_may_say_that_there_is_no_program(cache):
    cache.store("key", INFO, None)
    assert cache.load("key").program is None


def test_nothing_is_found_under_another_key(cache):
    cache.store("key", INFO, PROGRAM)
    assert cache.load("yek") is None


def test_an_entry_under_another_name_is_not_loaded(cache):
    cache.store("key", INFO, PROGRAM)
    shutil.copytree(cache.root / "key", cache.root / "yek")
    assert cache.load("yek") is None


def truncate(file):
    file.write_bytes(file.read_bytes()[:100])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "truncated program": lambda folder: truncate(folder / "program.tflite"),
    "empty program": lambda folder: (folder / "program.tflite").write_bytes(b""),
    "one bit of the program": lambda folder: flip_a_bit(folder / "program.tflite"),
    "no program": lambda folder: (folder / "program.tflite").unlink(),
    "truncated info": lambda folder: truncate(folder / "entry.json"),
    "empty info": lambda folder: (folder / "entry.json").write_text(""),
    "no info": lambda folder: (folder / "entry.json").unlink(),
    "info of another version": lambda folder: (folder / "entry.json").write_text(
        json.dumps({"key": "key", "program_sha256": None, "info": {"layers": 3}})
    ),
    "info that is a list": lambda folder: (folder / "entry.json").write_text("[]"),
    "binary info": lambda folder: (folder / "entry.json").write_bytes(PROGRAM),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_not_loaded_and_is_replaced(cache, damage):
    cache.store("key", INFO, PROGRAM)
    DAMAGES[damage](cache.root / "key")
    assert cache.load("key") is None
    assert cache.store("key", INFO, PROGRAM).program.read_bytes() == PROGRAM
    assert [folder.name for folder in cache.root.iterdir()] == ["key"]


def store_repeatedly(root, number):
    for _ in range(40):
        Cache(Path(root)).store("key", INFO, PROGRAM)
        if Cache(Path(root)).load("key").program.read_bytes() != PROGRAM:
            raise ValueError(f"process {number} read another program")


def test_two_processes_may_store_the_same_entry_at_once(cache):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=store_repeatedly, args=(str(cache.root), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [folder.name for folder in cache.root.iterdir()] == ["key"]


def test_clear_deletes_all_models_and_nothing_else(cache):
    cache.store(cache_key({"model": 1}), INFO, PROGRAM)
    cache.store(cache_key({"model": 2}), INFO, None)
    (cache.root / "unfinished-x").mkdir()
    (cache.root / cache_key({"damaged": 3})).mkdir()
    records = cache.root / "finished"
    records.mkdir()
    assert cache.entry_count_and_bytes()[0] == 2
    assert cache.clear() == 4
    assert list(cache.root.iterdir()) == [records]


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Cache(tmp_path / "file" / "cache").store("key", INFO, PROGRAM)


def test_the_key_changes_with_each_part():
    parts = {"model": {"file": "ab"}, "layer": None, "method": "grad-cam"}
    keys = {cache_key(parts), *(cache_key({**parts, name: "other"}) for name in parts)}
    assert len(keys) == 4
    assert cache_key(parts) == cache_key(dict(reversed(parts.items())))


def test_the_key_changes_with_the_libraries(monkeypatch):
    before = cache_key({})
    monkeypatch.setattr(live_cam.explain.model_cache, "_version", lambda name: "0.0")
    assert cache_key({}) != before


def test_the_key_changes_with_the_version_of_livecam(monkeypatch):
    before = cache_key({})
    monkeypatch.setattr(live_cam.explain.model_cache, "__version__", "999.0")
    assert cache_key({}) != before


PACKAGE = Path(live_cam.__file__).parent
# Found by walking the folders, so that new modules are included.
DECIDING_MODULES = sorted(
    module.relative_to(PACKAGE).as_posix()
    for module in PACKAGE.rglob("*.py")
    if module.relative_to(PACKAGE).parts[0] in {"engines", "gradmodel", "models", "predictions.py", "preprocess.py"}
    or module.relative_to(PACKAGE).as_posix() in {"explain/agreement.py", "explain/builder.py"}
)


@pytest.fixture
def package(tmp_path):
    """A copy of the package that a test may change."""
    copied = tmp_path / "live_cam"
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_the_digest_covers_agreement_diagnostics_and_the_table_of_models():
    assert {"explain/agreement.py", "models/registry.py", "gradmodel/diagnostics.py"} <= set(DECIDING_MODULES)


def changes_digest(package, module):
    before = source_digest(package)
    append(package / module, "# changed\n")
    return source_digest(package) != before


def test_the_digest_changes_with_each_module_that_decides_what_a_model_computes(package):
    assert [module for module in DECIDING_MODULES if not changes_digest(package, module)] == []


def test_the_digest_does_not_change_with_other_files(package):
    others = ["explain/model_cache.py", "cli/console.py", "render/overlay.py", "models/imagenet_labels.txt"]
    assert [file for file in others if changes_digest(package, file)] == []


def test_the_digest_changes_with_a_new_module_and_with_the_name_of_a_module(package):
    before = source_digest(package)
    (package / "models" / "new.py").write_text("x = 1\n")
    with_new = source_digest(package)
    (package / "models" / "new.py").rename(package / "models" / "other.py")
    assert len({before, with_new, source_digest(package)}) == 3


def test_the_digest_is_the_same_in_another_place_and_with_compiled_modules(package):
    assert source_digest(package) == source_digest(PACKAGE)
    (package / "models" / "__pycache__").mkdir()
    (package / "models" / "__pycache__" / "registry.cpython-311.pyc").write_bytes(b"compiled")
    assert source_digest(package) == source_digest(PACKAGE)


@pytest.mark.parametrize("source", ["models", "preprocess.py"])
def test_a_missing_source_is_an_error_and_not_an_empty_digest(package, source):
    (package / source).rename(package / "moved")
    with pytest.raises(OSError, match=source):
        source_digest(package)


def key_of(model, weights=None):
    return cache_key({"model": resolve_model(model, weights).identity})


@pytest.mark.parametrize(
    "change",
    [
        {"builder": "MobileNet"},
        {"input_size": 192},
        {"preprocessing": "torch"},
        {"target_layer": "Conv_1"},
        {"labels": "others"},
        {"any_size": False},
    ],
)
def test_the_key_changes_with_the_row_of_a_model(monkeypatch, tmp_path, change):
    weights = tmp_path / "own.weights.h5"
    weights.write_bytes(b"weights")
    before = {key_of("mobilenetv2"), key_of("mobilenetv2", weights)}
    row = dataclasses.replace(MODEL_SPECS["mobilenetv2"], **change)
    monkeypatch.setitem(MODEL_SPECS, "mobilenetv2", row)
    assert len(before | {key_of("mobilenetv2"), key_of("mobilenetv2", weights)}) == 4


def test_the_key_changes_with_the_bytes_of_weights_and_model_files(tmp_path):
    weights, model = tmp_path / "own.weights.h5", tmp_path / "own.keras"
    keys = set()
    for content in (b"one", b"other"):
        weights.write_bytes(content)
        model.write_bytes(content)
        keys |= {key_of("mobilenetv2", weights), key_of(model)}
    assert len(keys) == 4


def test_the_key_of_a_model_does_not_depend_on_the_spelling_of_its_name():
    assert key_of("MobileNet_V2") == key_of("mobilenetv2")
