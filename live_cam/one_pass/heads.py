"""From a traced model's outputs to the scores that are differentiated. Loading this module loads TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from live_cam.errors import ModelError, unknown_name
from live_cam.models.inspect import LinearOutputs
from live_cam.one_pass.litert_gradients import one_hot_difference
from live_cam.predictions import Head

# Ops that hand their input on, between the last activation and the output of the model.
PASSING_OPS = {"Identity", "Cast", "Reshape", "Squeeze"}


def chosen_output(model: keras.Model, outputs: Any, name: str | None) -> tf.Tensor:
    """One of the model's outputs, as one (1, n) tensor.

    Args:
        model: Whose outputs they are.
        outputs: A tensor, or several in a list, tuple or dict.
        name: Of the one that is wanted; None where there is only one.

    Raises:
        ModelError: Several outputs and no name, or one that is no vector of classes.
        SettingError: There is no output of that name.
    """
    named = named_outputs(model, outputs)
    if name is None and len(named) > 1:
        raise ModelError(f"the model has several outputs; choose one with --output-name: {', '.join(named)}")
    if name is not None and name not in named:
        raise unknown_name("output", name, named)
    output = next(iter(named.values())) if name is None else named[name]
    shape = tuple(output.shape)
    if len(shape) == 4 and shape[:3] == (1, 1, 1):
        # What a fully convolutional network says of a picture of the size it was trained on.
        return tf.reshape(output, [1, shape[3]])
    if len(shape) != 2 or shape[0] != 1 or not shape[1]:
        raise ModelError(
            f"the model's output is {shape}, not (1, classes): a map or boxes; livecam explains image classifiers"
        )
    return output


def named_outputs(model: keras.Model, outputs: Any) -> dict[str, tf.Tensor]:
    """The outputs by the names Keras gives them, or by their place where it gives none."""
    if isinstance(outputs, dict):
        return {str(name): output for name, output in outputs.items()}
    listed = [one for one in tf.nest.flatten(outputs) if tf.is_tensor(one)]
    if not listed:
        raise ModelError("the model's output is no tensor; livecam explains models with one vector of classes")
    names = getattr(model, "output_names", None) or ()
    if len(set(names)) != len(listed):
        names = [str(index) for index in range(len(listed))]
    return dict(zip(names, listed, strict=True))


def flat(outputs: tf.Tensor) -> tf.Tensor:
    """(1, n) of any precision to (n,) float32."""
    return tf.cast(tf.reshape(outputs, [-1]), tf.float32)


def class_scores(outputs: tf.Tensor, score: str, linear_outputs: LinearOutputs = "unknown") -> tuple[Head, tf.Tensor]:
    """The kind of head, and (1, classes) scores to differentiate.

    The logits are the input of the final softmax or sigmoid: the gradient of a saturated probability is zero and would
    leave the map blank.

    Args:
        outputs: (1, n), the model's own.
        score: "logit" or "probability".
        linear_outputs: What a vector without a final activation is; where unknown, one is a number and several are
            logits.
    """
    op = outputs.op
    while op.type in PASSING_OPS:
        op = op.inputs[0].op
    if op.type not in {"Softmax", "Sigmoid"}:
        if outputs.shape[1] > 1 and linear_outputs != "numbers":
            return "logits", outputs
        # What speaks against "up" speaks for "down".
        return "regression", tf.concat([outputs, -outputs], axis=-1)
    scores = op.inputs[0] if score == "logit" else outputs
    if scores.shape != outputs.shape:
        scores = tf.reshape(scores, outputs.shape)
    if op.type == "Softmax":
        return "softmax", scores
    if outputs.shape[1] > 1:
        return "sigmoid", scores
    # One sigmoid output is two classes: what speaks against "yes" speaks for "no".
    return "binary", tf.concat([-scores if score == "logit" else 1 - scores, scores], axis=-1)


def class_choice(scores: tf.Tensor, class_indices: tf.Tensor, head: Head) -> tf.Tensor:
    """(1, classes): 1 at the explained class, -1 at the contrasted one where there is one."""
    explained, contrasted = class_indices[0], class_indices[1]
    # The same choice as predictions.top_class_index.
    top = 0 if head == "regression" else tf.argmax(tf.reshape(scores, [-1]), output_type=tf.int32)
    explained = tf.where(explained >= 0, explained, top)
    # The one-hot vector of -1 is all zeros: no contrast.
    return one_hot_difference(explained, contrasted, scores.shape[1], scores.dtype)


def top_class_choices(scores: tf.Tensor, count: int, head: Head) -> list[tf.Tensor]:
    """(1, classes) for each of the best classes: 1 at it; none if only one map is wanted, the explained class's."""
    if count == 1:
        return []
    if head == "regression":
        best = tf.range(min(count, scores.shape[1] // 2))
    else:
        best = tf.math.top_k(tf.reshape(scores, [-1]), k=min(count, scores.shape[1])).indices
    nowhere = tf.constant(-1)
    return [one_hot_difference(best[rank], nowhere, scores.shape[1], scores.dtype) for rank in range(best.shape[0])]
