"""The one pass: a Keras model and a CAM method compiled into one function of pixels and classes.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from live_cam.cam import CAM_METHODS, fused
from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.litert_gradients import litert_gradients, one_hot_difference
from live_cam.predictions import Head

if TYPE_CHECKING:
    from live_cam.preprocess import Preprocessing

# Ops that hand their input on, between the last activation and the output of the model.
_PASSING_OPS = {"Identity", "Cast", "Reshape", "Squeeze"}
_LINEAR_HEAD_OPS = _PASSING_OPS | {"BiasAdd", "MatMul", "Mean"}


@dataclass(frozen=True)
class PassSettings:
    """What the one pass is made of beside the model.

    Attributes:
        input_size_wh: Width and height of the pixels the network gets.
        preprocessing: The normalization, done inside the pass.
        layers: Names of the target layers, fused if there are several; none for the last one called whose output is
            4-D with height and width > 1.
        method: A name in ``CAM_METHODS``.
        score: "logit", or "probability" for the gradient of the probability.
    """

    input_size_wh: tuple[int, int]
    preprocessing: Preprocessing
    layers: tuple[str, ...] = ()
    method: str = "grad-cam"
    score: str = "logit"


@dataclass(frozen=True)
class LayerCall:
    """One layer's output, caught while the model is traced: (1, h, w, channels), or any other shape."""

    name: str
    output: tf.Tensor

    @property
    def is_spatial(self) -> bool:
        """Whether the output is a map: 4-D with height and width > 1."""
        shape = self.output.shape
        return shape.rank == 4 and all(side is not None and side > 1 for side in shape[1:3])


class GradModel:
    """A model's plain forward and its forward with heatmap, each traced once for one fixed signature.

    Attributes:
        explain: ``(pixels (1, h, w, 3) uint8 BGR, class_indices (2,) int32)`` to the model's own outputs, (n,) float32,
            and the heatmap, (h, w) float32 >= 0. The indices are the explained and the contrasted
            class; -1 stands for the top class and for none.
        forward: ``(pixels)`` to the outputs alone: the bare network.
        layer_names: The target layers.
        head: What kind of output the model has.
        settings: What the pass is made of.
        output_count: Length of the outputs.
        trace_count: How often ``explain`` was traced; it must stay 1.
    """

    def __init__(self, model: keras.Model, settings: PassSettings) -> None:
        """Traces both functions.

        Raises:
            ModelError: The model is none that can be explained; the line says why.
            SettingError: There is no layer of that name.
        """
        width, height = settings.input_size_wh
        pixels = tf.TensorSpec((1, height, width, 3), tf.uint8, name="pixels")
        class_indices = tf.TensorSpec((2,), tf.int32, name="class_indices")
        self.trace_count = 0
        self.layer_names: tuple[str, ...] = ()
        self.head: Head = "logits"
        self._model = model
        self.settings = settings
        # No autograph: it would wrap every error in pages about our own source.
        self.forward = tf.function(self._forward, input_signature=[pixels], autograph=False)
        self.explain = tf.function(self._explain, input_signature=[pixels, class_indices], autograph=False)
        self.output_count = int(self.explain.get_concrete_function().structured_outputs[0].shape[0])

    def _forward(self, pixels: tf.Tensor) -> tf.Tensor:
        outputs = self._model(normalized(pixels, self.settings.preprocessing), training=False)
        return flat(single_output(outputs))

    def _explain(self, pixels: tf.Tensor, class_indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.trace_count += 1
        calls: list[LayerCall] = []
        with litert_gradients():
            with recorded_calls(self._model, calls):
                outputs = single_output(self._model(normalized(pixels, self.settings.preprocessing), training=False))
            self.head, scores = class_scores(outputs, self.settings.score)
            choice = class_choice(scores, class_indices)
            targets, gradients = targets_and_gradients(scores, choice, calls, self.settings.layers)
        self.layer_names = tuple(target.name for target in targets)
        if self.settings.method == "cam" and not is_linear_head(scores, targets[0].output):
            raise SettingError("the method cam needs a head of average pooling and one dense layer; take grad-cam")
        return flat(outputs), self._heatmap(targets, gradients)

    def _heatmap(self, targets: list[LayerCall], gradients: list[tf.Tensor]) -> tf.Tensor:
        method = CAM_METHODS[self.settings.method]
        maps = [
            # Reshaped, not sliced: a slice copies. Cast: half precision overflows when a thousand channels are summed.
            method(*(tf.cast(tf.reshape(one, target.output.shape[1:]), tf.float32) for one in (target.output, slopes)))
            for target, slopes in zip(targets, gradients, strict=True)
        ]
        return maps[0] if len(maps) == 1 else fused(maps)


def normalized(pixels: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """(1, h, w, 3) uint8 BGR to what the network was trained on, float32."""
    # Reversed while a channel is still one byte.
    ordered = tf.reverse(pixels, axis=[-1]) if preprocessing.colour_order == "rgb" else pixels
    values = tf.cast(ordered, tf.float32)
    if preprocessing.name == "raw":
        return values
    # x / std - mean / std as one multiplication and one addition.
    std = tf.constant(preprocessing.std, tf.float32)
    return values * (1.0 / std) - tf.constant(preprocessing.mean, tf.float32) / std


@contextmanager
def recorded_calls(model: keras.Model, calls: list[LayerCall]) -> Iterator[None]:
    """While it lasts, each layer's output is appended to ``calls`` when the layer is called.

    Works for Functional, Sequential, nested and subclassed models alike, where ``keras.Model(model.inputs,
    layer.output)`` finds the graph disconnected.
    """
    wrapped = model._flatten_layers(include_self=False)
    for layer in wrapped:
        object.__setattr__(layer, "call", _recording(layer, calls))
    try:
        yield
    finally:
        for layer in wrapped:
            object.__delattr__(layer, "call")


def _recording(layer: keras.layers.Layer, calls: list[LayerCall]) -> Callable[..., Any]:
    call = layer.call

    def recording_call(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        # A layer that hands on its input, or a model around its last layer, made no map of its own.
        if tf.is_tensor(output) and not any(output is earlier.output for earlier in calls):
            calls.append(LayerCall(layer.name, output))
        return output

    return recording_call


def targets_and_gradients(
    scores: tf.Tensor, choice: tf.Tensor, calls: list[LayerCall], names: tuple[str, ...]
) -> tuple[list[LayerCall], list[tf.Tensor]]:
    """The layers to explain by and the gradients of ``sum(scores * choice)`` with respect to their outputs.

    Symbolic gradients, unlike a tape's, reach from the scores back to these layers and no further.

    Raises:
        ModelError: No layer with a spatial output is on the way to the scores.
        SettingError: No layer has such a name, or the one that has it gives no map.
    """
    spatial = [call for call in reversed(calls) if call.is_spatial]
    if not spatial:
        raise ModelError("no layer of this model gives a map (height and width > 1): there is nothing to lay over")
    # Several layers in one call, so that they share the way back.
    attempts = [[named_call(name, calls, spatial) for name in names]] if names else [[call] for call in spatial]
    for targets in attempts:
        gradients = tf.gradients(scores, [target.output for target in targets], grad_ys=choice)
        if all(one is not None for one in gradients):
            return targets, gradients
    raise ModelError(f"the model's output does not depend on {attempts[0][0].name!r}: there is no gradient")


def named_call(name: str, calls: list[LayerCall], spatial: list[LayerCall]) -> LayerCall:
    """The last call of the layer of that name.

    Raises:
        SettingError: There is none, or its output is no map; the message names ``spatial`` ones.
    """
    named = [call for call in reversed(calls) if call.name == name]
    if not named:
        raise unknown_name("layer", name, [call.name for call in spatial])
    if not named[0].is_spatial:
        shape = tuple(named[0].output.shape)
        raise SettingError(f"layer {name!r} gives {shape}, no map with height and width > 1; try {spatial[0].name}")
    return named[0]


def is_linear_head(scores: tf.Tensor, activations: tf.Tensor) -> bool:
    """Whether nothing but pooling, one dense layer and changes of shape lie between the two."""
    tensor, product_count = scores, 0
    while tensor is not activations:
        if tensor.op.type not in _LINEAR_HEAD_OPS:
            return False
        product_count += tensor.op.type == "MatMul"
        tensor = tensor.op.inputs[0]
    return product_count == 1


def single_output(outputs: Any) -> tf.Tensor:
    """The model's output as one (1, n) tensor.

    Raises:
        ModelError: Several outputs, or one that is no vector of classes.
    """
    if not tf.is_tensor(outputs):
        raise ModelError("the model has several outputs; livecam explains models with one vector of classes")
    if outputs.shape.rank != 2 or outputs.shape[0] != 1 or not outputs.shape[1]:
        raise ModelError(f"the model's output is {tuple(outputs.shape)}, not (1, classes): it is no image classifier")
    return outputs


def flat(outputs: tf.Tensor) -> tf.Tensor:
    """(1, n) of any precision to (n,) float32."""
    return tf.cast(tf.reshape(outputs, [-1]), tf.float32)


def class_scores(outputs: tf.Tensor, score: str) -> tuple[Head, tf.Tensor]:
    """The kind of head, and (1, classes) scores to differentiate.

    The logits are the input of the final softmax or sigmoid: the gradient of a saturated probability is zero and would
    leave the map blank.
    """
    op = outputs.op
    while op.type in _PASSING_OPS:
        op = op.inputs[0].op
    if op.type not in {"Softmax", "Sigmoid"}:
        return "logits" if outputs.shape[1] > 1 else "regression", outputs
    scores = op.inputs[0] if score == "logit" else outputs
    if scores.shape != outputs.shape:
        scores = tf.reshape(scores, outputs.shape)
    if op.type == "Softmax":
        return "softmax", scores
    if outputs.shape[1] > 1:
        return "sigmoid", scores
    # One sigmoid output is two classes: what speaks against "yes" speaks for "no".
    return "binary", tf.concat([-scores if score == "logit" else 1 - scores, scores], axis=-1)


def class_choice(scores: tf.Tensor, class_indices: tf.Tensor) -> tf.Tensor:
    """(1, classes): 1 at the explained class, -1 at the contrasted one where there is one."""
    explained, contrasted = class_indices[0], class_indices[1]
    explained = tf.where(explained >= 0, explained, tf.argmax(tf.reshape(scores, [-1]), output_type=tf.int32))
    # The one-hot vector of -1 is all zeros: no contrast.
    return one_hot_difference(explained, contrasted, scores.shape[1], scores.dtype)
