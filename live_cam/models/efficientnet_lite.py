"""EfficientNet-Lite0 in Keras, the default model, with the weights of its PyTorch port.

It is EfficientNet (Tan and Le 2019, table 1, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6 instead of
swish. Layers have the names that they have in ``keras.applications``.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from live_cam.errors import ModelError
from live_cam.models.torch_file import bundled_weights_path, read_bundled_weights

_STEM_FILTERS, _HEAD_FILTERS, _CLASSES = 32, 1280, 1000
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """A sequence of blocks of the same width; only the first one may have a stride."""

    repeats: int
    kernel_size: int
    strides: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(repeats=1, kernel_size=3, strides=1, expansion=1, filters=16),
    _Stage(repeats=2, kernel_size=3, strides=2, expansion=6, filters=24),
    _Stage(repeats=2, kernel_size=5, strides=2, expansion=6, filters=40),
    _Stage(repeats=3, kernel_size=3, strides=2, expansion=6, filters=80),
    _Stage(repeats=3, kernel_size=5, strides=1, expansion=6, filters=112),
    _Stage(repeats=4, kernel_size=5, strides=2, expansion=6, filters=192),
    _Stage(repeats=1, kernel_size=3, strides=1, expansion=6, filters=320),
)


def efficientnet_lite0(
    weights: str | None = "imagenet", input_shape: tuple[int, int, int] = (224, 224, 3)
) -> keras.Model:
    """Builds EfficientNet-Lite0; takes the same arguments as the functions of ``keras.applications``.

    Args:
        weights: "imagenet" for the bundled weights, None for random ones.
        input_shape: Height, width and 3; of any size, because the network is fully convolutional up to its pooling.

    Returns:
        A Functional model from (n, height, width, 3) float32 RGB, normalized as "lite", to (n, 1000) probabilities.

    Raises:
        ModelError: The bundled weights are missing or damaged.
    """
    inputs = layers.Input(input_shape)
    x = layers.Conv2D(_STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _normalized_relu6(x, "stem")
    for prefix, stage, strides in _blocks():
        x = _inverted_residual(x, stage, strides, prefix)
    x = layers.Conv2D(_HEAD_FILTERS, 1, use_bias=False, name="top_conv")(x)
    x = _normalized_relu6(x, "top")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(_CLASSES, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name="efficientnet-lite0")
    if weights is not None:
        _assign_torch_weights(model, read_bundled_weights(bundled_weights_path()))
    return model


def _blocks() -> Iterator[tuple[str, _Stage, int]]:
    """Yields each block's name, stage and stride."""
    for stage_number, stage in enumerate(_STAGES, start=1):
        for repeat in range(stage.repeats):
            yield f"block{stage_number}{chr(ord('a') + repeat)}", stage, stage.strides if repeat == 0 else 1


def _normalized_relu6(x: keras.KerasTensor, prefix: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=f"{prefix}_bn")(x)
    return layers.ReLU(6.0, name=f"{prefix}_activation")(x)


def _inverted_residual(x: keras.KerasTensor, stage: _Stage, strides: int, prefix: str) -> keras.KerasTensor:
    """Expands, convolves depthwise, and projects, as MobileNetV2 (Sandler et al. 2018, table 1, arXiv:1801.04381)."""
    inputs, filters_in = x, x.shape[-1]
    if stage.expansion != 1:
        x = layers.Conv2D(filters_in * stage.expansion, 1, use_bias=False, name=f"{prefix}_expand_conv")(x)
        x = _normalized_relu6(x, f"{prefix}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel_size, strides=strides, padding="same", use_bias=False, name=f"{prefix}_dwconv"
    )(x)
    x = _normalized_relu6(x, f"{prefix}_dw")
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{prefix}_project_conv")(x)
    x = layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=f"{prefix}_project_bn")(x)
    if strides == 1 and filters_in == stage.filters:
        x = layers.Add(name=f"{prefix}_add")([x, inputs])
    return x


def _assign_torch_weights(model: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    for layer_name, prefix in _torch_prefixes():
        layer = model.get_layer(layer_name)
        values = _keras_values(layer, prefix, tensors)
        expected, found = [tuple(weight.shape) for weight in layer.weights], [value.shape for value in values]
        if found != expected:
            raise ModelError(f"the weights do not fit efficientnet-lite0: {prefix} has {found}, expected {expected}")
        layer.set_weights(values)


def _torch_prefixes() -> Iterator[tuple[str, str]]:
    """Yields each layer that has weights, and the prefix of its tensors' names in the PyTorch port."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"))
    for number, (block, stage, _) in enumerate(_blocks()):
        if stage.expansion != 1:
            yield f"{block}_expand_conv", f"_blocks.{number}._expand_conv"
            yield f"{block}_expand_bn", f"_blocks.{number}._bn0"
        yield f"{block}_dwconv", f"_blocks.{number}._depthwise_conv"
        yield f"{block}_dw_bn", f"_blocks.{number}._bn1"
        yield f"{block}_project_conv", f"_blocks.{number}._project_conv"
        yield f"{block}_project_bn", f"_blocks.{number}._bn2"
    yield from (("top_conv", "_conv_head"), ("top_bn", "_bn1"), ("predictions", "_fc"))


def _keras_values(layer: keras.Layer, prefix: str, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns a layer's tensors in the order and with the axes that Keras expects."""
    if isinstance(layer, layers.BatchNormalization):
        fields = ["weight", "bias", "running_mean", "running_var"]
    else:
        fields = ["weight", "bias"] if layer.use_bias else ["weight"]
    missing = [f"{prefix}.{field}" for field in fields if f"{prefix}.{field}" not in tensors]
    if missing:
        raise ModelError(f"the weights do not fit efficientnet-lite0: {missing[0]} is missing")
    weight, *others = (tensors[f"{prefix}.{field}"] for field in fields)
    return [np.transpose(weight, _torch_axes(layer, weight.ndim)), *others]


def _torch_axes(layer: keras.Layer, dimensions: int) -> tuple[int, ...]:
    """Returns the permutation from PyTorch's axes: kernels (out, in, h, w), depthwise ones (channel, 1, h, w)."""
    if dimensions == 4:
        return (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return tuple(reversed(range(dimensions)))
