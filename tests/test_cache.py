"""Entries on disk: found again, never mixed up, never trusted when damaged."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

import live_cam.cache
from live_cam.cache import Cache, PassFacts, formulas_digest, pass_key

FACTS = PassFacts("top", "softmax", 1000, (224, 192), "lite", "litert", "CPU")
PROGRAM = bytes(range(256)) * 50


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_what_was_stored_is_found(cache):
    cache.store("key", FACTS, PROGRAM)
    entry = cache.load("key")
    assert entry.facts == FACTS
    assert entry.program.read_bytes() == PROGRAM


def test_an_entry_may_hold_the_news_that_there_is_no_program(cache):
    cache.store("key", FACTS, None)
    assert cache.load("key").program is None


def test_nothing_is_found_under_another_key(cache):
    cache.store("key", FACTS, PROGRAM)
    assert cache.load("yek") is None


def test_an_entry_under_a_foreign_name_is_none(cache):
    cache.store("key", FACTS, PROGRAM)
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
    "truncated facts": lambda folder: truncate(folder / "entry.json"),
    "empty facts": lambda folder: (folder / "entry.json").write_text(""),
    "no facts": lambda folder: (folder / "entry.json").unlink(),
    "facts of another version": lambda folder: (folder / "entry.json").write_text(
        json.dumps({"key": "key", "program_sha256": None, "facts": {"layers": 3}})
    ),
    "facts that are a list": lambda folder: (folder / "entry.json").write_text("[]"),
    "binary facts": lambda folder: (folder / "entry.json").write_bytes(PROGRAM),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_none_and_is_replaced(cache, damage):
    cache.store("key", FACTS, PROGRAM)
    DAMAGES[damage](cache.root / "key")
    assert cache.load("key") is None
    assert cache.store("key", FACTS, PROGRAM).program.read_bytes() == PROGRAM
    assert [folder.name for folder in cache.root.iterdir()] == ["key"]


def store_repeatedly(root, number):
    for _ in range(40):
        Cache(Path(root)).store("key", FACTS, PROGRAM)
        if Cache(Path(root)).load("key").program.read_bytes() != PROGRAM:
            raise ValueError(f"process {number} read something else")


def test_two_processes_may_store_at_once(cache):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=store_repeatedly, args=(str(cache.root), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [folder.name for folder in cache.root.iterdir()] == ["key"]


def test_clear_leaves_nothing(cache):
    cache.store("one", FACTS, PROGRAM)
    cache.store("two", FACTS, None)
    (cache.root / "unfinished-x").mkdir()
    assert cache.entry_count_and_bytes()[0] == 2
    assert cache.clear() == 3
    assert list(cache.root.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Cache(tmp_path / "file" / "cache").store("key", FACTS, PROGRAM)


def test_key_changes_with_each_part():
    parts = {"model": {"file": "ab"}, "layer": None, "method": "grad-cam"}
    keys = {pass_key(parts), *(pass_key({**parts, name: "other"}) for name in parts)}
    assert len(keys) == 4
    assert pass_key(parts) == pass_key(dict(reversed(parts.items())))


def test_key_changes_with_the_libraries(monkeypatch):
    before = pass_key({})
    monkeypatch.setattr(live_cam.cache, "_version", lambda name: "0.0")
    assert pass_key({}) != before


@pytest.mark.parametrize("module", live_cam.cache._FORMULA_MODULES)
def test_key_changes_with_the_source_of_each_formula(tmp_path, monkeypatch, module):
    before = formulas_digest()
    package = Path(live_cam.cache.__file__).parent
    shutil.copytree(package, tmp_path / "live_cam", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(live_cam.cache, "__file__", str(tmp_path / "live_cam" / "cache.py"))
    assert formulas_digest() == before
    with (tmp_path / "live_cam" / module).open("a") as file:
        file.write("# changed\n")
    assert formulas_digest() != before
