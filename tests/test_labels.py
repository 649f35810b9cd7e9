"""Files of class names in all common formats."""

from __future__ import annotations

import json

import pytest

from live_cam.errors import ModelError
from live_cam.models.labels import read_labels


def read(tmp_path, text, name="labels.txt"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_labels(path)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("0 Cat\n1 Golden Retriever\n", ("Cat", "Golden Retriever")),
        ("0 Cat\r\n1 Dog\r\n", ("Cat", "Dog")),
        ("0: cat\n1: dog", ("cat", "dog")),
        ("0,cat\n1,dog", ("cat", "dog")),
        ("0\tcat\n1\tdog", ("cat", "dog")),
        ("1. cat\n2. dog", ("cat", "dog")),
        ("1 dog\n0 cat", ("cat", "dog")),
        ("00 cat\n01 dog", ("cat", "dog")),
        ("0 3D printer\n1 2 euro coin", ("3D printer", "2 euro coin")),
        # These numbers are no indices but belong to the names.
        ("0\n1\n2", ("0", "1", "2")),
        ("1 euro\n2 euro", ("1 euro", "2 euro")),
        ("0 cat\n2 dog", ("0 cat", "2 dog")),
        ("0 cat\ndog", ("0 cat", "dog")),
        ("7 up\n8 ball", ("7 up", "8 ball")),
        ("0 cat\n0 dog", ("0 cat", "0 dog")),
    ],
)
def test_text_with_one_line_per_class(tmp_path, text, labels):
    assert read(tmp_path, text) == labels


@pytest.mark.parametrize("name", ["labels.json", "labels.txt"])
@pytest.mark.parametrize(
    "content",
    [
        ["cat", "dog", "crane"],
        {"0": "cat", "1": "dog", "2": "crane"},
        {"2": "crane", "0": "cat", "1": "dog"},
        {"cat": 0, "crane": 2, "dog": 1},
        {"0": ["n02121808", "cat"], "1": ["n02084071", "dog"], "2": ["n02012849", "crane"]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json(tmp_path, name, content, indent):
    assert read(tmp_path, json.dumps(content, indent=indent), name) == ("cat", "dog", "crane")


@pytest.mark.parametrize(
    "content", [{"0": "cat", "2": "dog"}, {"cat": 0, "dog": 0}, {"cat": 1, "dog": 2}, [1, 2], [["cat"]], 3, {"a": "b"}]
)
def test_the_error_for_other_json_says_what_is_expected(tmp_path, content):
    with pytest.raises(ModelError, match=r'are JSON of another kind; expected \["cat", \.\.\.\], \{"0": "cat"'):
        read(tmp_path, json.dumps(content), "labels.json")


def test_the_error_for_invalid_json_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"labels\.json are no valid JSON: Expecting [^\n]*$"):
        read(tmp_path, '["cat",', "labels.json")


@pytest.mark.parametrize("content", [[], {}])
def test_empty_json_is_refused(tmp_path, content):
    with pytest.raises(ModelError, match="are empty; expected one line per class"):
        read(tmp_path, json.dumps(content), "labels.json")


def test_text_that_begins_with_a_bracket_is_not_read_as_json(tmp_path):
    assert read(tmp_path, "[unknown]\ncat") == ("[unknown]", "cat")
