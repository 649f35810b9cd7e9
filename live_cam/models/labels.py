"""What the classes are called."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from live_cam.errors import ModelError

# "0 cat", "0: cat", "0,cat": as Teachable Machine and others write their lists.
_INDEX_AND_NAME = re.compile(r"(\d{1,9})\s*[\s:,;.)]\s*(\S.*)")


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the networks' order, which is the order of their WordNet ids.

    Each is the first name of its synset. Three names belong to two classes each; there a word in brackets tells them
    apart: "crane (bird)" and "crane (machine)".
    """
    return _lines(resources.files("live_cam.models").joinpath("imagenet_labels.txt").read_text(encoding="utf-8"))


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Reads the names of the classes, in the order of the network's outputs.

    UTF-8 text with a line a class, each a name or an index and a name; or JSON: ``["cat"]``, ``{"0": "cat"}``,
    ``{"cat": 0}`` or ``{"0": ["n02123045", "cat"]}``.

    Raises:
        ModelError: The file cannot be read, is no text, or leaves a class without a name.
    """
    path = Path(path)
    try:
        # A byte order mark is what Windows editors put before UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ModelError(f"cannot read the labels {path}: {error.strerror}; check --labels") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"the labels {path} are not UTF-8 text; save them as UTF-8, a line a class") from error
    labels = _json_labels(text, path) if _is_json(text, path) else _without_indices(_lines(text))
    if not labels:
        raise ModelError(f"the labels {path} are empty; expected a line a class")
    if "" in labels:
        raise ModelError(f"the labels {path} have no name in line {labels.index('') + 1}; expected a line a class")
    return labels


def _lines(text: str) -> tuple[str, ...]:
    # Not splitlines(): it also breaks at characters that a name may hold, such as a form feed.
    return tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else ()


def _without_indices(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The names alone, in the order of their indices, where every line has one and together they count from 0 or 1."""
    matches = [_INDEX_AND_NAME.fullmatch(line) for line in lines]
    names = {int(match[1]): match[2] for match in matches if match is not None}
    # Names must differ, or the numbers are what tells the classes apart: "1 euro", "2 euro".
    if not lines or len(set(names.values())) < len(lines) or min(names) > 1 or max(names) - min(names) >= len(lines):
        return lines
    return tuple(names[index] for index in sorted(names))


def _is_json(text: str, path: Path) -> bool:
    return path.suffix.lower() == ".json" or text.lstrip()[:2] in {'["', '{"', "[\n", "{\n", "[\r", "{\r"}


def _json_labels(text: str, path: Path) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"the labels {path} are no JSON: {error}; expected a list of names or index and name"
        ) from error
    names = content if isinstance(content, list) else _names_by_index(content)
    if names is None or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f'the labels {path} are JSON of another kind; expected ["cat", ...], {{"0": "cat", ...}} '
            f'or {{"cat": 0, ...}} with each index from 0 once'
        )
    return tuple(name.strip() for name in names)


def _names_by_index(content: Any) -> list[Any] | None:
    """The names of ``{index: name}`` or ``{name: index}`` in order; None where that is not what it is."""
    if not isinstance(content, dict):
        return None
    if all(isinstance(value, int) for value in content.values()):
        inverted = {index: name for name, index in content.items()}
        if len(inverted) < len(content):
            return None
        content = inverted
    # ImageNet's own list: {"0": ["n01440764", "tench"]}.
    by_index = {str(index): name[-1] if isinstance(name, list) and name else name for index, name in content.items()}
    indices = [str(index) for index in range(len(by_index))]
    return [by_index[index] for index in indices] if set(by_index) == set(indices) else None
