"""The names of the classes: ImageNet's, or those in a file."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from live_cam.errors import ModelError

# "0 cat", "0: cat", "0,cat": the formats of Teachable Machine and other tools.
_INDEX_AND_NAME = re.compile(r"(\d{1,9})\s*[\s:,;.)]\s*(\S.*)")


def imagenet_labels() -> tuple[str, ...]:
    """Returns the names of the 1000 ImageNet classes, in the order of the networks' outputs (of their WordNet ids).

    Each is the first name of its synset. Three names belong to two classes each; a word in brackets tells these apart:
    "crane (bird)" and "crane (machine)".
    """
    return _lines(resources.files("live_cam.models").joinpath("imagenet_labels.txt").read_text(encoding="utf-8"))


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Reads class names, in the order of the network's outputs.

    The file is UTF-8 text with one line per class, which has a name or an index and a name; or JSON: ``["cat"]``,
    ``{"0": "cat"}``, ``{"cat": 0}`` or ``{"0": ["n02123045", "cat"]}``.

    Raises:
        ModelError: The file cannot be read, is no text, or has no name for one of the classes.
    """
    path = Path(path)
    try:
        # Windows editors put a byte order mark before UTF-8.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ModelError(f"cannot read the labels {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"the labels {path} are not UTF-8 text; save them as UTF-8, one line per class") from error
    labels = _json_labels(text, path) if _is_json(text, path) else _without_indices(_lines(text))
    if not labels:
        raise ModelError(f"the labels {path} are empty; expected one line per class")
    if "" in labels:
        raise ModelError(f"the labels {path} have no name in line {labels.index('') + 1}; expected one line per class")
    return labels


def _lines(text: str) -> tuple[str, ...]:
    # Not splitlines(): it also splits at characters that a name may contain, such as a form feed.
    return tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else ()


def _without_indices(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Removes the indices, and sorts by them, if every line has one and they count from 0 or 1 without gaps."""
    matches = [_INDEX_AND_NAME.fullmatch(line) for line in lines]
    names = {int(match[1]): match[2] for match in matches if match is not None}
    # Equal names show that the numbers belong to them: "1 euro", "2 euro".
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
            f"the labels {path} are no valid JSON: {error}; expected a list of names, or names by index"
        ) from error
    names = content if isinstance(content, list) else _names_by_index(content)
    if names is None or not all(isinstance(name, str) for name in names):
        raise ModelError(
            f'the labels {path} are JSON of another kind; expected ["cat", ...], {{"0": "cat", ...}} '
            f'or {{"cat": 0, ...}} with each index from 0 once'
        )
    return tuple(name.strip() for name in names)


def _names_by_index(content: Any) -> list[Any] | None:
    """Returns the names of ``{index: name}`` or ``{name: index}`` in order; None if it is neither."""
    if not isinstance(content, dict):
        return None
    if all(isinstance(value, int) for value in content.values()):
        inverted = {index: name for name, index in content.items()}
        if len(inverted) < len(content):
            return None
        content = inverted
    # The list that Keras publishes for ImageNet: {"0": ["n01440764", "tench"]}.
    by_index = {str(index): name[-1] if isinstance(name, list) and name else name for index, name in content.items()}
    indices = [str(index) for index in range(len(by_index))]
    return [by_index[index] for index in indices] if set(by_index) == set(indices) else None
