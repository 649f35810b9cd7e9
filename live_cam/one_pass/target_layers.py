"""Which layers of a model give maps that are worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    from live_cam.one_pass.gradmodel import LayerCall


def layer_choices(scores: tf.Tensor, calls: Sequence[LayerCall]) -> tuple[str, ...]:
    """The target layers worth a look: of each size of map the last, where most was made of it before it shrinks."""
    leading_to_scores = ops_before(scores)
    last_by_size = {
        tuple(call.output.shape[1:3]): call.name
        for call in calls
        if call.is_spatial and call.output.op in leading_to_scores
    }
    return tuple(dict.fromkeys(last_by_size[size] for size in sorted(last_by_size, reverse=True)))


def ops_before(tensor: tf.Tensor) -> set[tf.Operation]:
    """All operations that a tensor is computed from."""
    waiting, seen = [tensor.op], set()
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting.extend(source.op for source in op.inputs)
    return seen
