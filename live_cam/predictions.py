"""From a network's raw outputs to predictions, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from live_cam.errors import SettingError, unknown_name
from live_cam.frame import Prediction

# softmax and sigmoid: the outputs are probabilities already; binary: one sigmoid output, two classes;
# logits: an output without an activation, one a class; regression: a number.
Head: TypeAlias = Literal["softmax", "sigmoid", "binary", "logits", "regression"]

_MOST_CANDIDATES = 12


def class_values(outputs: np.ndarray, head: Head) -> np.ndarray:
    """The outputs as one value a class: (classes,) float32; a single sigmoid output becomes "no" and "yes"."""
    return np.array([1 - outputs[0], outputs[0]], np.float32) if head == "binary" else outputs


def class_count_of(head: Head, output_count: int) -> int:
    """How many classes, or numbers, so many outputs tell of: a single sigmoid output tells of two."""
    return 2 if head == "binary" else output_count


def top_class_index(outputs: np.ndarray, head: Head) -> int:
    """The class that is explained where none is named; of numbers the first: they are no rivals."""
    return 0 if head == "regression" else int(class_values(outputs, head).argmax())


def both_directions(names: Sequence[str]) -> tuple[str, ...]:
    """The labels of numbers: index i explains what raises number i, index n + i what lowers it."""
    return (*names, *(f"-{name}" for name in names))


def class_probabilities(outputs: np.ndarray, head: Head) -> np.ndarray | None:
    """Probabilities of all classes.

    Args:
        outputs: (n,) float32, the network's own.
        head: What kind of output it is.

    Returns:
        (classes,) float32 in [0, 1]; None where the output is no probability.
    """
    if head == "regression":
        return None
    if head == "logits":
        exponentials = np.exp(outputs - outputs.max())
        return exponentials / exponentials.sum()
    return class_values(outputs, head)


def best_first(outputs: np.ndarray, head: Head, labels: Sequence[str], top_k: int) -> tuple[Prediction, ...]:
    """The ``top_k`` classes with the highest values; of numbers the first ``top_k``, in their order."""
    values = class_values(outputs, head)
    count = min(top_k, len(values))
    if head == "regression":
        return predictions_of(range(count), outputs, head, labels)
    # Partition first: sorting a thousand classes for three of them is ten times the work.
    highest = np.argpartition(values, -count)[-count:]
    indices = highest[np.argsort(-values[highest], kind="stable")]
    return predictions_of(indices.tolist(), outputs, head, labels)


def predictions_of(
    class_indices: Sequence[int], outputs: np.ndarray, head: Head, labels: Sequence[str]
) -> tuple[Prediction, ...]:
    """The predictions of the given classes, in the given order."""
    values = class_values(outputs, head)
    probabilities = class_probabilities(outputs, head)
    return tuple(
        Prediction(
            class_index=index,
            label=labels[index],
            probability=None if probabilities is None else float(probabilities[index]),
            # Up or down, it is the same number.
            value=float(values[index % len(values)]),
        )
        for index in class_indices
    )


def class_index_of(target: int | str, labels: Sequence[str]) -> int:
    """The class a user means: an index before a label before a part of one; case and blanks are not minded.

    Args:
        target: A class index, its digits as text, a label, or a part of a single one. Of a number: its index or label,
            with "-" before it for what lowers the number.
        labels: The names of all classes, or ``both_directions`` of numbers.

    Raises:
        SettingError: There is no such class, or several; the message names the nearest, or all of these.
    """
    if isinstance(target, int) or target.strip().isdecimal():
        index = int(target)
        if not 0 <= index < len(labels):
            raise SettingError(f"no class {index}: the model has {len(labels)} classes, 0 to {len(labels) - 1}")
        return index
    names = labels[: len(labels) // 2]
    if target.strip()[:1] in ("+", "-") and tuple(labels) == both_directions(names):
        return class_index_of(target.strip()[1:], names) + (len(names) if target.strip()[0] == "-" else 0)
    folded = [_folded(label) for label in labels]
    if _folded(target) in folded:
        return folded.index(_folded(target))
    holding = [index for index, label in enumerate(folded) if _folded(target) and _folded(target) in label]
    if len(holding) == 1:
        return holding[0]
    if not holding:
        raise unknown_name("class", target, labels)
    candidates = ", ".join(f"{index} {labels[index]}" for index in holding[:_MOST_CANDIDATES])
    more = ", ..." if len(holding) > _MOST_CANDIDATES else ""
    raise SettingError(f"{target!r} is a part of {len(holding)} labels: {candidates}{more}; give an index")


def _folded(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())
