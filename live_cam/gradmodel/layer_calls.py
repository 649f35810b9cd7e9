"""The choice of target layers among the recorded calls of a network's layers, and the gradients at them.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.gradmodel.scores import PASSING_OPS
from live_cam.models.network import LayerCall

_LINEAR_HEAD_OPS = PASSING_OPS | {"BiasAdd", "MatMul", "Mean", "Neg"}
_LONGEST_REASON = 120


def targets_and_gradients(
    scores: tf.Tensor, choice: tf.Tensor, calls: Sequence[LayerCall], names: Sequence[str]
) -> tuple[list[LayerCall], list[tf.Tensor]]:
    """Returns the target layers and the gradients of ``sum(scores * choice)`` with respect to their outputs.

    The gradients are symbolic: unlike those of a ``GradientTape``, they differentiate only what lies between the target
    layers and the scores.

    Args:
        scores: (1, classes).
        choice: (1, classes), the weights of the scores.
        calls: All layer calls of the model, in order.
        names: Names of the target layers; none for the last feature map that the scores depend on.

    Raises:
        ModelError: The model has no feature map, or the scores have no gradient with respect to it.
        SettingError: A named layer does not exist or has no feature map.
    """
    spatial = [call for call in reversed(calls) if call.is_spatial]
    if not spatial:
        raise ModelError("no layer of this model has a feature map (height and width > 1) that a heatmap could show")
    # All named layers in one call of tf.gradients, so that they share the backward pass.
    attempts = [[_last_call(name, calls, spatial[0].name) for name in names]] if names else [[call] for call in spatial]
    for targets in attempts:
        gradients = _gradients(scores, choice, targets)
        if all(gradient is not None for gradient in gradients):
            return targets, gradients
    missing = next(target for target, gradient in zip(targets, gradients, strict=True) if gradient is None)
    raise ModelError(_no_gradient(scores, missing if names else spatial[0]))


def _no_gradient(scores: tf.Tensor, target: LayerCall) -> str:
    """Returns why the gradient of the scores with respect to a layer's output is zero everywhere."""
    leading_to_scores = _ops_before(scores)
    if target.output.op not in leading_to_scores:
        return f"the model's output does not depend on {target.name!r}: there is no gradient"
    waiting, seen = [target.output.op], {target.output.op}
    while waiting:
        op = waiting.pop()
        for user in {user for output in op.outputs for user in output.consumers()} & leading_to_scores - seen:
            seen.add(user)
            waiting.append(user)
            if all(gradient is None for gradient in tf.gradients(user.outputs[0], list(user.inputs))):
                return f"there is no gradient from the model's output to {target.name!r}: {user.type} between has none"
    return f"there is no gradient from the model's output to {target.name!r}"


def _gradients(scores: tf.Tensor, choice: tf.Tensor, targets: Sequence[LayerCall]) -> list[tf.Tensor | None]:
    try:
        return tf.gradients(scores, [target.output for target in targets], grad_ys=choice)
    except (ValueError, LookupError, TypeError) as error:  # loops of recurrent layers, and ops without a gradient
        reason = str(error).splitlines()[0][:_LONGEST_REASON]
        raise ModelError(f"TensorFlow has no gradient from the output to {targets[0].name!r}: {reason}") from error


def _last_call(name: str, calls: Sequence[LayerCall], proposed_name: str) -> LayerCall:
    """Returns the last call of the layer of that name.

    Raises:
        SettingError: There is no such layer, or its output is no feature map.
    """
    named = [call for call in reversed(calls) if call.name == name]
    if not named:
        raise unknown_name("layer", name, [call.name for call in reversed(calls) if call.is_spatial])
    if not named[0].is_spatial:
        shape = tuple(named[0].output.shape)
        raise SettingError(
            f"the output of layer {name!r} is {shape}, not a map with height and width > 1; try {proposed_name}"
        )
    return named[0]


def layer_choices(scores: tf.Tensor, calls: Sequence[LayerCall]) -> tuple[str, ...]:
    """Returns the names of the target layers worth trying, largest map first: the last layer of each map size."""
    leading_to_scores = _ops_before(scores)
    last_by_size = {
        tuple(call.output.shape[1:3]): call.name
        for call in calls
        if call.is_spatial and call.output.op in leading_to_scores
    }
    return tuple(dict.fromkeys(last_by_size[size] for size in sorted(last_by_size, reverse=True)))


def refuse_attention(scores: tf.Tensor, target: LayerCall) -> None:
    """Refuses the patches of a transformer as the default target layer.

    Raises:
        ModelError: There is self-attention, which compares every place with every other, between layer and scores.
    """
    for op in _ops_before(scores, {target.output.op}):
        if op.type == "Softmax":
            shape = op.outputs[0].shape
            if shape.rank >= 3 and shape[-1] == shape[-2] and shape[-1] != 1:
                raise ModelError(
                    "this is a transformer: attention behind its last feature map mixes all places, so that no heatmap "
                    "can show where the evidence lies; livecam explains convolutional networks"
                )


def _ops_before(tensor: tf.Tensor, barrier: set[tf.Operation] | None = None) -> set[tf.Operation]:
    """Returns all operations that a tensor is computed from, without those before and at the barrier."""
    waiting, seen, barrier = [tensor.op], set(), barrier or set()
    while waiting:
        op = waiting.pop()
        if op not in seen and op not in barrier:
            seen.add(op)
            waiting.extend(source.op for source in op.inputs)
    return seen


def is_linear_head(scores: tf.Tensor, activations: tf.Tensor) -> bool:
    """Returns whether only pooling, one dense layer and changes of shape lie between activations and scores."""
    # The scores of a single output are its two signs, concatenated; either of them will do.
    tensor = scores.op.inputs[0] if scores.op.type == "ConcatV2" else scores
    product_count = 0
    while tensor is not activations:
        # Keras adds some biases with a plain addition.
        is_bias = tensor.op.type == "AddV2" and tensor.op.inputs[1].shape.rank <= 1
        if tensor.op.type not in _LINEAR_HEAD_OPS and not is_bias:
            return False
        product_count += tensor.op.type == "MatMul"
        tensor = tensor.op.inputs[0]
    return product_count == 1
