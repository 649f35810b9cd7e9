"""The grad-model: a network and a CAM method as one compiled function from pixels to outputs and heatmap.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from live_cam.errors import SettingError
from live_cam.gradmodel.cam_methods import CAM_METHODS, SCORE_CAM, fuse
from live_cam.gradmodel.layer_calls import (
    is_linear_head,
    layer_choices,
    refuse_attention,
    targets_and_gradients,
)
from live_cam.gradmodel.litert_gradients import litert_gradients
from live_cam.gradmodel.scores import (
    chosen_output,
    class_choice,
    class_scores,
    flat,
    meaning_of_output,
    top_class_choices,
)
from live_cam.preprocess import normalization_kernel
from live_cam.settings import DEFAULT_METHOD

if TYPE_CHECKING:
    from live_cam.models.network import LayerCall, LinearOutputs, Network
    from live_cam.predictions import Head
    from live_cam.preprocess import Preprocessing


@dataclass(frozen=True)
class GraphConfig:
    """Settings of a grad-model besides the model.

    Attributes:
        input_size_wh: Width and height of the network's input in pixels.
        preprocessing: The normalization, which is part of the graph.
        layers: Names of the target layers, whose maps are combined if there are several. Default: the last layer called
            whose output is 4-D with height and width > 1.
        method: A name in ``CAM_METHODS``, or ``SCORE_CAM``, for which the heatmap is replaced by the activations.
        score: What is differentiated: "logit" or "probability".
        top_maps: The number of best classes that get a heatmap each. With 1, only the explained class has one; with
            more, theirs follow the explained class's.
        channel_count: 3, or 1 for a network that takes gray images.
        output_name: Which of a model's outputs to explain; None if it has only one.
        linear_outputs: What the model says about outputs without a final activation.
    """

    input_size_wh: tuple[int, int]
    preprocessing: Preprocessing
    layers: tuple[str, ...] = ()
    method: str = DEFAULT_METHOD
    score: str = "logit"
    top_maps: int = 1
    channel_count: int = 3
    output_name: str | None = None
    linear_outputs: LinearOutputs = "unknown"


@dataclass(frozen=True)
class GraphInfo:
    """Results of tracing a model.

    Attributes:
        head: The kind of output.
        layer_names: The target layers.
        layer_choices: The target layers worth trying, largest map first.
        output_shapes: The shapes of all outputs by name, without the batch.
    """

    head: Head
    layer_names: tuple[str, ...]
    layer_choices: tuple[str, ...]
    output_shapes: dict[str, list[int | None]]


class GradModel:
    """The functions of a model, each traced once for one fixed signature.

    Attributes:
        explain: From ``(pixels (1, h, w, 3) uint8 BGR, class_indices (2,) int32)`` to the model's outputs, (n,)
            float32, and the heatmap, (h, w) float32, >= 0. With ``top_maps`` > 1 there are (1 + top_maps, h, w) maps:
            the explained class's and those of the best classes, best first. The indices are the explained class, or -1
            for the top class, and the contrast class, or -1 for none, -2 for the most similar classes.
        forward: From ``(pixels)`` to the outputs, without a heatmap.
        masked_forward: From ``(pixels, mask (h, w) float32)`` to the outputs for normalized pixels times the mask.
        network: The network.
        config: What went into the graph besides the network.
        info: What tracing it revealed.
        output_count: The number of outputs.
    """

    def __init__(self, network: Network, config: GraphConfig) -> None:
        """Traces ``explain``; the other two are traced when they are first called.

        Raises:
            ModelError: The model cannot be explained; the message says why.
            SettingError: A layer does not exist or has no feature map, or the method does not fit the model.
        """
        width, height = config.input_size_wh
        pixels_spec = tf.TensorSpec((1, height, width, 3), tf.uint8, name="pixels")
        indices_spec = tf.TensorSpec((2,), tf.int32, name="class_indices")
        mask_spec = tf.TensorSpec((height, width), tf.float32, name="mask")
        self.network = network
        self.config = config
        self._traces: list[GraphInfo] = []
        traces = self._traces

        def explain(pixels: tf.Tensor, class_indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            outputs, heatmaps, info = _explain(network, config, pixels, class_indices)
            traces.append(info)
            return outputs, heatmaps

        def forward(pixels: tf.Tensor) -> tf.Tensor:
            return flat(run_network(network, config, pixels).output)

        def masked_forward(pixels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
            return flat(run_network(network, config, pixels, mask).output)

        # Without autograph, which would wrap every error in pages about this file.
        self.explain = tf.function(explain, input_signature=[pixels_spec, indices_spec], autograph=False)
        self.forward = tf.function(forward, input_signature=[pixels_spec], autograph=False)
        self.masked_forward = tf.function(masked_forward, input_signature=[pixels_spec, mask_spec], autograph=False)
        concrete = self.explain.get_concrete_function()
        self.info = traces[0]
        self.output_count = int(concrete.structured_outputs[0].shape[0])
        _avoid_grouped_fusion(concrete.graph)

    @property
    def trace_count(self) -> int:
        """Number of times ``explain`` was traced; more than one would be a bug."""
        return len(self._traces)


class NetworkRun(NamedTuple):
    """The result of running a network inside a trace.

    Attributes:
        output: The chosen output, (1, n), of any precision.
        named: All outputs by name.
        calls: The calls of all layers, in order.
    """

    output: tf.Tensor
    named: dict[str, tf.Tensor]
    calls: list[LayerCall]


def run_network(network: Network, config: GraphConfig, pixels: tf.Tensor, mask: tf.Tensor | None = None) -> NetworkRun:
    """Runs a network inside a trace.

    Args:
        network: The network.
        config: How its input is preprocessed and which output is meant.
        pixels: (1, h, w, 3) uint8, BGR.
        mask: (h, w) float32, by which the normalized pixels are multiplied.
    """
    values = normalize(pixels, config.preprocessing, config.channel_count)
    if mask is not None:
        values = values * mask[:, :, tf.newaxis]
    named, calls = network.run(values)
    outputs = chosen_output(named, config.output_name)
    # A single logit stands for two classes, as a single sigmoid output does.
    is_single_logit = config.linear_outputs == "logits" and outputs.shape[1] == 1
    return NetworkRun(tf.sigmoid(outputs) if is_single_logit else outputs, named, calls)


def normalize(pixels: tf.Tensor, preprocessing: Preprocessing, channel_count: int = 3) -> tf.Tensor:
    """Converts (1, h, w, 3) uint8 BGR to what the network was trained on: (1, h, w, channels) float32.

    A 1x1 convolution reorders the channels, scales, and mixes the colors for a gray network in one operation; LiteRT
    takes four times as long to reverse, multiply and add.
    """
    kernel, bias = normalization_kernel(preprocessing, channel_count)
    values = tf.nn.conv2d(tf.cast(pixels, tf.float32), kernel[np.newaxis, np.newaxis], strides=1, padding="VALID")
    return tf.nn.bias_add(values, bias) if bias.any() else values


def _explain(
    network: Network, config: GraphConfig, pixels: tf.Tensor, class_indices: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, GraphInfo]:
    """Traces what ``GradModel.explain`` computes: the outputs, the heatmap or heatmaps, and what was revealed."""
    with litert_gradients():
        outputs, named, calls = run_network(network, config, pixels)
        meaning = meaning_of_output(named, config.output_name, config.linear_outputs)
        head, scores = class_scores(outputs, config.score, meaning)
        choices = [class_choice(scores, class_indices, head, config.score)]
        choices += top_class_choices(scores, config.top_maps, head)
        explained = [targets_and_gradients(scores, choice, calls, config.layers) for choice in choices]
    targets = explained[0][0]
    if not config.layers:
        refuse_attention(scores, targets[0])
    if config.method == "cam" and not is_linear_head(scores, targets[0].output):
        raise SettingError("the method cam needs a head of average pooling and one dense layer; use grad-cam")
    heatmaps = [_heatmap(config.method, targets, gradients) for _, gradients in explained]
    shapes = {name: output.shape.as_list()[1:] for name, output in named.items()}
    info = GraphInfo(head, tuple(target.name for target in targets), layer_choices(scores, calls), shapes)
    return flat(outputs), heatmaps[0] if len(heatmaps) == 1 else tf.stack(heatmaps), info


def _heatmap(method: str, targets: Sequence[LayerCall], gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns (h, w) float32, >= 0; for Score-CAM the activations, (h, w, channels) float32."""
    activations = [_single(target.output) for target in targets]
    if method == SCORE_CAM:
        return activations[0]
    cam_method = CAM_METHODS[method]
    maps = [cam_method(values, _single(gradient)) for values, gradient in zip(activations, gradients, strict=True)]
    return maps[0] if len(maps) == 1 else fuse(maps)


def _single(batch: tf.Tensor) -> tf.Tensor:
    """Returns the only element of a batch, as float32: half precision overflows in sums over a thousand channels."""
    # Reshaped, not sliced: a slice copies.
    return tf.cast(tf.reshape(batch, batch.shape[1:]), tf.float32)


def _avoid_grouped_fusion(graph: tf.Graph) -> None:
    """Keeps TensorFlow from fusing grouped convolutions with the ops behind them: on a CPU the fused kernel fails.

    TensorFlow's own check for this case does not see it in graphs like ours (ConvNeXt, TensorFlow 2.21). The option is
    global to the process and only costs speed.
    """
    convolutions = [op for op in graph.get_operations() if op.type == "Conv2D"]
    if any(op.inputs[0].shape[-1] != op.inputs[1].shape[2] for op in convolutions):
        tf.config.optimizer.set_experimental_options({"remapping": False})
