"""From a network's outputs to predictions, in numpy."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from live_cam.errors import SettingError, unknown_name
from live_cam.frame import Prediction

# The kind of outputs. softmax, sigmoid: a probability per class; binary: one sigmoid output, the probability of the
# second of two classes; logits: a logit per class; regression: numbers.
Head: TypeAlias = Literal["softmax", "sigmoid", "binary", "logits", "regression"]

# How many classes count as the most similar ones (Finer-CAM, Zhang et al., CVPR 2025, arXiv:2501.11309).
SIMILAR_COUNT = 3

# What a compiled function takes for "the top class", "no contrast class" and "the most similar classes".
TOP_CLASS = -1
NO_CLASS = -1
SIMILAR_CLASSES = -2

_MOST_CANDIDATES = 12
# An index is shorter; Python refuses to convert very long texts to integers.
_MOST_DIGITS = 18


def class_values(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Returns one value per class, (classes,) float32; a single sigmoid output becomes those of "no" and "yes"."""
    return np.array([1 - outputs[0], outputs[0]], np.float32) if head == "binary" else outputs


def class_count_of(head: Head, output_count: int) -> int:
    """Returns how many classes or numbers that many outputs stand for: a single sigmoid output for two classes."""
    return 2 if head == "binary" else output_count


def top_class_index(outputs: np.ndarray, head: Head) -> int:
    """Returns the class that is explained by default: the one with the highest value; for numbers, the first one."""
    return 0 if head == "regression" else int(class_values(outputs, head).argmax())


def signed_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels of n numbers: class i explains what raises number i, class n + i what lowers it."""
    return (*names, *(f"-{name}" for name in names))


def class_probabilities(outputs: np.ndarray, head: Head) -> np.ndarray | None:
    """Returns the probabilities of all classes.

    Args:
        outputs: (n,) float32, as the network returns them.
        head: What kind of outputs they are.

    Returns:
        (classes,) float32 in [0, 1]; None if the outputs are numbers.
    """
    if head == "regression":
        return None
    if head == "logits":
        exponentials = np.exp(outputs - outputs.max())
        return exponentials / exponentials.sum()
    return class_values(outputs, head)


def similar_class_indices(outputs: np.ndarray, head: Head, score: str, explained_index: int) -> list[int]:
    """Returns the at most ``SIMILAR_COUNT`` classes whose scores are nearest to the explained one's, nearest first.

    They are the same that ``gradmodel.scores.class_choice`` subtracts: the logits of a softmax are the logarithms of
    its probabilities, but for a constant.

    Args:
        outputs: (n,) float32, as the network returns them.
        head: What kind of outputs they are; not "regression".
        score: "logit" or "probability".
        explained_index: The explained class, which is not among them.
    """
    scores = class_values(outputs, head)
    if score == "logit" and head != "logits":
        smallest = np.finfo(np.float32).tiny
        logarithms = np.log(np.maximum(scores, smallest))
        scores = logarithms if head == "softmax" else logarithms - np.log(np.maximum(1 - scores, smallest))
    distances = np.abs(scores - scores[explained_index])
    distances[explained_index] = np.inf
    nearest = np.argsort(distances, kind="stable")[: min(SIMILAR_COUNT, len(distances) - 1)]
    return [int(index) for index in nearest]


def top_predictions(outputs: np.ndarray, head: Head, labels: Sequence[str], top_k: int) -> tuple[Prediction, ...]:
    """Returns the ``top_k`` classes with the highest values, best first; for numbers the first ``top_k``, in order."""
    values = class_values(outputs, head)
    count = min(top_k, len(values))
    if head == "regression":
        return predictions_of(range(count), outputs, head, labels)
    # Partitioned first: sorting all classes of ImageNet takes ten times as long.
    highest = np.argpartition(values, -count)[-count:]
    indices = highest[np.argsort(-values[highest], kind="stable")]
    return predictions_of(indices.tolist(), outputs, head, labels)


def predictions_of(
    class_indices: Sequence[int], outputs: np.ndarray, head: Head, labels: Sequence[str]
) -> tuple[Prediction, ...]:
    """Returns the predictions of the given classes, in the given order."""
    values = class_values(outputs, head)
    probabilities = class_probabilities(outputs, head)
    return tuple(
        Prediction(
            class_index=index,
            label=labels[index],
            probability=None if probabilities is None else float(probabilities[index]),
            # Classes i and n + i are the same number, raised or lowered.
            value=float(values[index % len(values)]),
        )
        for index in class_indices
    )


def class_index_of(target: Any, labels: Sequence[str]) -> int:
    """Returns the index of the class that a user means.

    Args:
        target: A class index of any integer type, an index as text, a label, or a part of a single label. Upper and
            lower case, blanks and underscores do not matter. A whole label comes before a part of another one. For
            numbers, "-" before the index or label means what lowers the number.
        labels: The names of all classes, or ``signed_labels`` of numbers.

    Raises:
        SettingError: There is no such class, or several; the message names the nearest ones, or these. Or the target is
            neither an integer nor a text.
    """
    if not isinstance(target, str):
        return _checked_index(_integer(target), labels)
    text = target.strip()
    if text.isdecimal() and len(text) <= _MOST_DIGITS:
        return _checked_index(int(text), labels)
    names = labels[: len(labels) // 2]
    if text[:1] in ("+", "-") and tuple(labels) == signed_labels(names):
        return class_index_of(text[1:], names) + (len(names) if text[0] == "-" else 0)
    folded, folded_labels = _folded(text), [_folded(label) for label in labels]
    if folded in folded_labels:
        return folded_labels.index(folded)
    candidates = [index for index, label in enumerate(folded_labels) if folded and folded in label]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise unknown_name("class", target, labels, likeness=0.7)
    listed = ", ".join(f"{index} {labels[index]}" for index in candidates[:_MOST_CANDIDATES])
    more = ", ..." if len(candidates) > _MOST_CANDIDATES else ""
    raise SettingError(f"{target!r} is a part of {len(candidates)} labels: {listed}{more}; give an index")


def is_same_label(label: str, other: str) -> bool:
    """Returns whether two texts are the same label; upper and lower case, blanks and underscores do not matter."""
    return _folded(label) == _folded(other)


def _integer(target: Any) -> int:
    # True is an integer in Python, but no class that anyone means.
    if not isinstance(target, bool | np.bool_):
        with contextlib.suppress(TypeError):
            return operator.index(target)
    raise SettingError(f"expected a class index or a label, got {type(target).__name__}")


def _checked_index(index: int, labels: Sequence[str]) -> int:
    if not 0 <= index < len(labels):
        # Python refuses to write very large integers in decimal.
        shown = str(index) if abs(index) < 10**_MOST_DIGITS else f"{index:#x}"[:_MOST_DIGITS] + "..."
        raise SettingError(f"no class {shown}: the model has {len(labels)} classes, 0 to {len(labels) - 1}")
    return index


def _folded(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())
