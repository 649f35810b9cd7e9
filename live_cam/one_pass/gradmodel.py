"""The one pass: a Keras model and a CAM method compiled into one function of pixels and classes.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from live_cam.cam import CAM_METHODS, SCORE_CAM, fused
from live_cam.errors import ModelError, SettingError, unknown_name
from live_cam.models.inspect import LinearOutputs, is_trained
from live_cam.one_pass.heads import PASSING_OPS, chosen_output, class_choice, class_scores, flat, top_class_choices
from live_cam.one_pass.litert_gradients import litert_gradients
from live_cam.one_pass.target_layers import layer_choices
from live_cam.predictions import Head

if TYPE_CHECKING:
    from live_cam.preprocess import Preprocessing

_LINEAR_HEAD_OPS = PASSING_OPS | {"BiasAdd", "MatMul", "Mean", "Neg"}
_HALF_PRECISIONS = {"float16", "bfloat16"}
# What grey pictures are made with: ITU-R BT.601.
_LUMA_RGB = (0.299, 0.587, 0.114)


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
        top_maps: Of how many of the best classes there are maps; with more than one they come behind the explained
            class's.
        channel_count: 3, or 1 for a network of grey pictures.
        output_name: Which of the model's outputs, where it has several.
        linear_outputs: What a vector without a final activation is.
    """

    input_size_wh: tuple[int, int]
    preprocessing: Preprocessing
    layers: tuple[str, ...] = ()
    method: str = "grad-cam"
    score: str = "logit"
    top_maps: int = 1
    channel_count: int = 3
    output_name: str | None = None
    linear_outputs: LinearOutputs = "unknown"


@dataclass(frozen=True)
class LayerCall:
    """One layer's output, caught while the model is traced: (1, h, w, channels), or any other shape.

    Attributes:
        name: The layer's.
        output: What it returned.
        is_learned: Whether the layer or one before it has trained weights.
    """

    name: str
    output: tf.Tensor
    is_learned: bool

    @property
    def is_spatial(self) -> bool:
        """Whether the output is a map: 4-D with height and width > 1, and not the picture itself, merely rescaled."""
        if not self.is_learned:
            return False
        shape = self.output.shape
        return shape.rank == 4 and all(side is not None and side > 1 for side in shape[1:3])


class GradModel:
    """A model's plain forward and its forward with heatmap, each traced once for one fixed signature.

    Attributes:
        explain: ``(pixels (1, h, w, 3) uint8 BGR, class_indices (2,) int32)`` to the model's own outputs, (n,) float32,
            and the heatmap, (h, w) float32 >= 0; with several top maps (1 + top_maps, h, w): the explained class's,
            then those of the best classes, best first. The indices are the explained and the contrasted
            class; -1 stands for the top class and for none.
        forward: ``(pixels)`` to the outputs alone: the bare network.
        masked_forward: ``(pixels, mask (h, w) float32)`` to the outputs for the normalized picture times the mask.
        model: The model.
        layer_names: The target layers.
        layer_choices: Those that make sense, see ``target_layers``.
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
        mask = tf.TensorSpec((height, width), tf.float32, name="mask")
        self.trace_count = 0
        self.layer_names: tuple[str, ...] = ()
        self.layer_choices: tuple[str, ...] = ()
        self.head: Head = "logits"
        self.model = model
        self.settings = settings
        # No autograph: it would wrap every error in pages about our own source.
        self.forward = tf.function(self._forward, input_signature=[pixels], autograph=False)
        self.masked_forward = tf.function(self._masked_forward, input_signature=[pixels, mask], autograph=False)
        self.explain = tf.function(self._explain, input_signature=[pixels, class_indices], autograph=False)
        self.output_count = int(self.explain.get_concrete_function().structured_outputs[0].shape[0])
        avoid_grouped_fusion(self.explain.get_concrete_function().graph)

    def _forward(self, pixels: tf.Tensor) -> tf.Tensor:
        return flat(self.outputs(pixels))

    def _masked_forward(self, pixels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return flat(self.outputs(pixels, mask))

    def outputs(self, pixels: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """The model itself, not compiled: (1, h, w, 3) uint8 BGR to (1, n) of any precision.

        What a mask, (h, w), leaves of the normalized pixels is zero where it is zero.
        """
        settings = self.settings
        values = normalized(pixels, settings.preprocessing, settings.channel_count)
        if mask is not None:
            values = values * mask[:, :, tf.newaxis]
        with in_single_precision(self.model):
            outputs = chosen_output(self.model, self.model(values, training=False), settings.output_name)
        # One logit stands for two classes, as one sigmoid does.
        is_one_logit = settings.linear_outputs == "logits" and outputs.shape[1] == 1
        return tf.sigmoid(outputs) if is_one_logit else outputs

    def _explain(self, pixels: tf.Tensor, class_indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.trace_count += 1
        calls: list[LayerCall] = []
        with litert_gradients():
            with recorded_calls(self.model, calls), inlined_functions():
                outputs = self.outputs(pixels)
            self.head, scores = class_scores(outputs, self.settings.score, self.settings.linear_outputs)
            choices = [
                class_choice(scores, class_indices, self.head),
                *top_class_choices(scores, self.settings.top_maps, self.head),
            ]
            explained = [targets_and_gradients(scores, choice, calls, self.settings.layers) for choice in choices]
        targets = explained[0][0]
        if not self.settings.layers:
            refuse_attention(scores, targets[0])
        self.layer_names = tuple(target.name for target in targets)
        self.layer_choices = layer_choices(scores, calls)
        if self.settings.method == "cam" and not is_linear_head(scores, targets[0].output):
            raise SettingError("the method cam needs a head of average pooling and one dense layer; take grad-cam")
        heatmaps = [self._heatmap(targets, gradients) for targets, gradients in explained]
        return flat(outputs), heatmaps[0] if len(heatmaps) == 1 else tf.stack(heatmaps)

    def _heatmap(self, targets: list[LayerCall], gradients: list[tf.Tensor]) -> tf.Tensor:
        if self.settings.method == SCORE_CAM:
            target = targets[0].output
            return tf.cast(tf.reshape(target, target.shape[1:]), tf.float32)
        method = CAM_METHODS[self.settings.method]
        maps = [
            # Reshaped, not sliced: a slice copies. Cast: half precision overflows when a thousand channels are summed.
            method(*(tf.cast(tf.reshape(one, target.output.shape[1:]), tf.float32) for one in (target.output, slopes)))
            for target, slopes in zip(targets, gradients, strict=True)
        ]
        return maps[0] if len(maps) == 1 else fused(maps)


def avoid_grouped_fusion(graph: tf.Graph) -> None:
    """Keeps TensorFlow from fusing grouped convolutions with what follows them: its fused kernel refuses them on a CPU.

    Its own check for that is blind in graphs such as ours (seen with ConvNeXt, TensorFlow 2.21). The setting holds for
    the whole process, and costs speed only.
    """
    convolutions = [op for op in graph.get_operations() if op.type == "Conv2D"]
    if any(op.inputs[0].shape[-1] != op.inputs[1].shape[2] for op in convolutions):
        tf.config.optimizer.set_experimental_options({"remapping": False})


def normalized(pixels: tf.Tensor, preprocessing: Preprocessing, channel_count: int = 3) -> tf.Tensor:
    """(1, h, w, 3) uint8 BGR to what the network was trained on: (1, h, w, channels) float32.

    One 1x1 convolution orders and normalizes, x / std - mean / std, and weighs the colours for a grey network: LiteRT
    does it in a quarter of the time that reversing, multiplying and adding takes.
    """
    kernel, bias = normalization_kernel(preprocessing, channel_count)
    values = tf.nn.conv2d(tf.cast(pixels, tf.float32), kernel[np.newaxis, np.newaxis], strides=1, padding="VALID")
    return tf.nn.bias_add(values, bias) if bias.any() else values


def normalization_kernel(preprocessing: Preprocessing, channel_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, (3, channels) float32, of BGR values in 0..255, and the (channels,) float32 bias."""
    std = np.array(preprocessing.std)
    kernel, bias = np.diag(1 / std), -np.array(preprocessing.mean) / std
    if channel_count == 1:
        luma = _LUMA_RGB if preprocessing.colour_order == "rgb" else _LUMA_RGB[::-1]
        kernel, bias = kernel @ np.reshape(luma, (3, 1)), bias @ np.reshape(luma, (3, 1))
    if preprocessing.colour_order == "rgb":
        kernel = kernel[::-1]
    return kernel.astype(np.float32), bias.astype(np.float32)


@contextmanager
def inlined_functions() -> Iterator[None]:
    """While it lasts, a ``tf.function`` in the model is a part of our graph: gradients do not reach into a call."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def in_single_precision(model: keras.Model) -> Iterator[None]:
    """While it lasts, layers of half precision compute in float32: LiteRT has no kernels for the former."""
    layers = model._flatten_layers()
    halved = [(layer, layer.dtype_policy) for layer in layers if layer.compute_dtype in _HALF_PRECISIONS]
    for layer, _ in halved:
        layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in halved:
            layer.dtype_policy = policy


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
            is_learned = is_trained(layer) or (bool(calls) and calls[-1].is_learned)
            calls.append(LayerCall(layer.name, output, is_learned))
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
        raise ModelError(
            "no layer of this model gives a map (height and width > 1): there is nothing to lay over the picture"
        )
    # Several layers in one call, so that they share the way back.
    attempts = [[named_call(name, calls, spatial) for name in names]] if names else [[call] for call in spatial]
    for targets in attempts:
        try:
            gradients = tf.gradients(scores, [target.output for target in targets], grad_ys=choice)
        except (ValueError, LookupError, TypeError) as error:  # of loops in recurrent layers, and of ops that have none
            reason = str(error).splitlines()[0][:120]
            raise ModelError(f"TensorFlow has no gradient from the output to {targets[0].name!r}: {reason}") from error
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


def refuse_attention(scores: tf.Tensor, target: LayerCall) -> None:
    """Refuses the patches of a transformer as a target layer.

    Raises:
        ModelError: Between the layer and the scores every place is compared with every other.
    """
    waiting, seen = [scores.op], {target.output.op}
    while waiting:
        op = waiting.pop()
        if op in seen:
            continue
        seen.add(op)
        if op.type == "Softmax":
            shape = op.outputs[0].shape
            if shape.rank >= 3 and shape[-1] == shape[-2] and shape[-1] != 1:
                raise ModelError(
                    "this is a transformer: behind its last map attention mixes all places, so that no map shows "
                    "where the evidence lies; livecam explains convolutional networks"
                )
        waiting.extend(tensor.op for tensor in op.inputs)


def is_linear_head(scores: tf.Tensor, activations: tf.Tensor) -> bool:
    """Whether nothing but pooling, one dense layer and changes of shape lie between the two."""
    # Of one output with two sides, concatenated: one of them.
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
