"""What the classes are called."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from live_cam.errors import ModelError


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 ImageNet classes in the networks' order, which is the order of their WordNet ids.

    Each is the first name of its synset. Three names belong to two classes each; there a word in brackets tells them
    apart: "crane (bird)" and "crane (machine)".
    """
    return _lines(resources.files("live_cam.models").joinpath("imagenet_labels.txt").read_text(encoding="utf-8"))


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Reads a list of classes: UTF-8 text, a line a class, in the order of the network's outputs.

    Raises:
        ModelError: The file cannot be read, is no text, or has an empty line between its classes.
    """
    path = Path(path)
    try:
        # A byte order mark is what Windows editors put before UTF-8.
        labels = _lines(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ModelError(f"cannot read the labels {path}: {error.strerror}; check --labels") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"the labels {path} are not UTF-8 text; save them as UTF-8, a line a class") from error
    if not labels:
        raise ModelError(f"the labels {path} are empty; expected a line a class")
    if "" in labels:
        raise ModelError(f"the labels {path} have no name in line {labels.index('') + 1}; expected a line a class")
    return labels


def _lines(text: str) -> tuple[str, ...]:
    # Not splitlines(): it also breaks at characters that a name may hold, such as a form feed.
    return tuple(line.strip() for line in text.rstrip().split("\n")) if text.strip() else ()
