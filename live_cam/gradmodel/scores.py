"""From a traced model's outputs to the scores that are differentiated.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from live_cam.errors import ModelError, unknown_name
from live_cam.gradmodel.litert_gradients import weighted_one_hots
from live_cam.models.network import shape_text
from live_cam.predictions import SIMILAR_CLASSES, SIMILAR_COUNT

if TYPE_CHECKING:
    from live_cam.models.network import LinearOutputs
    from live_cam.predictions import Head

# Ops between the last activation and the model's output that do not change the values.
PASSING_OPS = {"Identity", "Cast", "Reshape", "Squeeze"}

# Names of outputs that are no classes, and parts of names of those that are.
_NAMES_OF_NUMBERS = re.compile(
    r"bbox|bounding_?box|landmark|key_?point|xywh|xyxy|(?<![a-z])(box(es)?|coord(inate)?s?|corners?|regress(ion|or))(?![a-z])",
    re.I,
)
_NAMES_OF_CLASSES = re.compile(r"class|cls|categor|label|logit|score", re.I)
# Left, top, width and height, or two corners.
_BOX_LENGTH = 4


def chosen_output(named: Mapping[str, tf.Tensor], name: str | None) -> tf.Tensor:
    """Returns one of a model's outputs, (1, n).

    Args:
        named: The outputs by name.
        name: The name of the output; None if there is only one.

    Raises:
        ModelError: There are several outputs and no name was given, or the output is no vector of classes.
        SettingError: There is no output of that name.
    """
    if name is None and len(named) > 1:
        listed = ", ".join(f"{other} ({shape_text(tensor.shape[1:])})" for other, tensor in named.items())
        raise ModelError(f"the model has several outputs; give the output name: {listed}")
    if name is not None and name not in named:
        raise unknown_name("output", name, named)
    output = next(iter(named.values())) if name is None else named[name]
    shape = tuple(output.shape)
    if len(shape) == 4 and shape[:3] == (1, 1, 1):
        # The output of a fully convolutional network for an image of the size it was trained on.
        return tf.reshape(output, [1, shape[3]])
    if len(shape) != 2 or shape[0] != 1 or not shape[1]:
        raise ModelError(
            f"the model's output is {shape}, not (1, classes): a map or boxes; livecam explains image classifiers"
        )
    return output


def meaning_of_output(named: Mapping[str, tf.Tensor], name: str | None, declared: LinearOutputs) -> LinearOutputs:
    """Returns what an output means: what the model declares, else what its name, length and neighbors suggest.

    Numbers are an output that is named like a box, coordinates or landmarks, and four linear outputs beside an output
    of classes. A box in 0..1 ends in a sigmoid, like several independent classes; its name, or a loss of numbers for
    four outputs, tell it apart.

    Args:
        named: All outputs by name.
        name: The name of the output; None if there is only one.
        declared: ``Network.linear_outputs`` of this output.
    """
    name = next(iter(named)) if name is None else name
    activation, length = _final_op(named[name]).type, named[name].shape[-1]
    if activation == "Softmax" or declared in ("logits", "classes") or _NAMES_OF_CLASSES.search(name):
        return declared
    if length > 1 and _NAMES_OF_NUMBERS.search(name):
        return "numbers"
    if activation == "Sigmoid":
        return declared if length == _BOX_LENGTH else "unknown"
    others = (_final_op(output).type for other, output in named.items() if other != name)
    is_box = length == _BOX_LENGTH and any(other in {"Softmax", "Sigmoid"} for other in others)
    return "numbers" if is_box else declared


def _final_op(output: tf.Tensor) -> tf.Operation:
    op = output.op
    while op.type in PASSING_OPS:
        op = op.inputs[0].op
    return op


def flat(outputs: tf.Tensor) -> tf.Tensor:
    """Converts (1, n) of any precision to (n,) float32."""
    return tf.cast(tf.reshape(outputs, [-1]), tf.float32)


def class_scores(outputs: tf.Tensor, score: str, linear_outputs: LinearOutputs = "unknown") -> tuple[Head, tf.Tensor]:
    """Returns the kind of head, and the scores to differentiate, (1, classes).

    Logits are the input of the final softmax or sigmoid: the gradient of a saturated probability is zero, which would
    leave the heatmap blank.

    Args:
        outputs: (1, n), as the model returns them.
        score: "logit" or "probability".
        linear_outputs: What the outputs mean; see ``meaning_of_output``. If unknown, a single one without a final
            activation is a number, and several are logits.
    """
    op = _final_op(outputs)
    has_activation = op.type in {"Softmax", "Sigmoid"}
    scores = op.inputs[0] if has_activation and score == "logit" else outputs
    if scores.shape != outputs.shape:
        scores = tf.reshape(scores, outputs.shape)
    is_number = not has_activation and (outputs.shape[1] == 1 or linear_outputs == "numbers")
    if is_number or (op.type == "Sigmoid" and linear_outputs == "numbers"):
        # What lowers a number is explained by the negative score.
        return "regression", tf.concat([scores, -scores], axis=-1)
    if not has_activation:
        return "logits", outputs
    if op.type == "Softmax":
        return "softmax", scores
    if outputs.shape[1] > 1:
        return "sigmoid", scores
    # A single sigmoid output is two classes: evidence against "yes" is evidence for "no".
    return "binary", tf.concat([-scores if score == "logit" else 1 - scores, scores], axis=-1)


def class_choice(scores: tf.Tensor, class_indices: tf.Tensor, head: Head, score: str) -> tf.Tensor:
    """Returns (1, classes): 1 at the explained class, minus the contrast classes' weights at those, else 0.

    A class is never contrasted with itself.

    Args:
        scores: (1, classes), as ``class_scores`` returns them.
        class_indices: (2,) int32. The explained class, or -1 for the top class; and the contrast class, or -1 for none,
            -2 for the most similar classes.
        head: The kind of head.
        score: "logit" or "probability".
    """
    values = tf.reshape(scores, [-1])
    explained, contrasted = class_indices[0], class_indices[1]
    # The same choice as predictions.top_class_index.
    top = 0 if head == "regression" else tf.argmax(values, output_type=tf.int32)
    explained = tf.where(explained >= 0, explained, top)
    is_contrasted = (contrasted >= 0) & (contrasted != explained)
    minus, weights = tf.maximum(contrasted, 0)[tf.newaxis], tf.cast(is_contrasted, scores.dtype)[tf.newaxis]
    similar_count = 0 if head == "regression" else min(SIMILAR_COUNT, scores.shape[1] - 1)
    if similar_count:
        similar, similar_weights = _similar_classes(values, explained, similar_count, head, score)
        is_similar = tf.equal(contrasted, SIMILAR_CLASSES)
        padding = [[0, similar_count - 1]]
        minus = tf.where(is_similar, similar, tf.pad(minus, padding))
        weights = tf.where(is_similar, similar_weights, tf.pad(weights, padding))
    indices = tf.concat([explained[tf.newaxis], minus], axis=0)
    return weighted_one_hots(indices, tf.concat([tf.ones(1, scores.dtype), -weights], axis=0), scores.shape[1])


def _similar_classes(
    values: tf.Tensor, explained: tf.Tensor, count: int, head: Head, score: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the classes whose scores are nearest to the explained one's, and their weights, which sum to 1.

    Finer-CAM (Zhang et al., CVPR 2025, arXiv:2501.11309), with alpha = 1: a class's weight is its share of the softmax
    probabilities. The weights are constants, which are not differentiated.

    Args:
        values: (classes,), the scores.
        explained: The explained class.
        count: How many classes to return.
        head: The kind of head.
        score: "logit" or "probability".
    """
    distances = tf.abs(values - tf.gather(values, explained))
    itself = tf.one_hot(explained, values.shape[0], on_value=values.dtype.max, off_value=0, dtype=values.dtype)
    similar = tf.math.top_k(-distances - itself, k=count).indices
    similar_values = tf.gather(values, similar)
    if score == "logit" or head == "logits":
        return similar, tf.nn.softmax(similar_values)
    return similar, tf.math.divide_no_nan(similar_values, tf.reduce_sum(similar_values))


def top_class_choices(scores: tf.Tensor, count: int, head: Head) -> list[tf.Tensor]:
    """Returns (1, classes) for each of the best classes, 1 at that class; nothing if only one map is wanted."""
    if count == 1:
        return []
    if head == "regression":
        best = tf.range(min(count, scores.shape[1] // 2))
    else:
        best = tf.math.top_k(tf.reshape(scores, [-1]), k=min(count, scores.shape[1])).indices
    one = tf.ones(1, scores.dtype)
    return [weighted_one_hots(best[rank : rank + 1], one, scores.shape[1]) for rank in range(best.shape[0])]
