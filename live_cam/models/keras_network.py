"""A Keras model as a network: its input, preprocessing and outputs, found in its structure, and its layers' calls.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from live_cam.errors import ModelError
from live_cam.models.custom_objects import reason_of
from live_cam.models.graph_network import normalizes_first
from live_cam.models.keras_files import OPAQUE_LAYERS
from live_cam.models.network import (
    DetectedPreprocessing,
    InputShape,
    LayerCall,
    LinearOutputs,
    channels_first,
    checked_input_shape,
    meaning_of_loss,
    several_inputs,
    shape_text,
)
from live_cam.models.registry import detect_family

# What brings pixels into range inside a network: layers, and the operations that preprocess_input() and plain
# arithmetic leave in a functional model.
_NORMALIZING_LAYERS = {"Rescaling", "Normalization"}
_NORMALIZING_OPERATIONS = {"TrueDivide", "Divide", "Multiply", "Subtract", "Add", "Lambda"}
_HALF_PRECISIONS = {"float16", "bfloat16"}


class KerasNetwork:
    """A network of Keras 3; see ``Network``.

    Args:
        model: The model.
        format: What it was loaded from, for the user.
    """

    def __init__(self, model: keras.Model, format: str = "keras.Model") -> None:  # noqa: A002
        self.name = model.name
        self.format = format
        self.model = model

    def input_shape(self, wanted_size: int | None) -> InputShape:
        """See ``Network.input_shape``; creates the weights of a model that was never called."""
        _refuse_unsupported_layers(self.model)
        shape = self._declared_input_shape(wanted_size)
        if isinstance(shape, list | dict) or (shape and not isinstance(shape[0], int | None)):
            names = shape if isinstance(shape, dict) else [_input_name(tensor) for tensor in self.model.inputs or ()]
            raise several_inputs(list(names) or [str(index) for index in range(len(shape))])
        checked = checked_input_shape(shape, wanted_size)
        if lacks_weights(self.model):
            width, height = checked.size_wh
            # Weights that are created inside a trace would not persist.
            self._called(np.zeros((1, height, width, checked.channel_count), np.float32))
        return checked

    def preprocessing(self, shape: InputShape) -> DetectedPreprocessing:
        """See ``Network.preprocessing``."""
        for part in _parts_before_learning(self.model):
            kind = type(part).__name__
            if kind in _NORMALIZING_LAYERS or kind in _NORMALIZING_OPERATIONS:
                return DetectedPreprocessing("raw", f"the model normalizes its input itself, in {part.name}")
        if _has_custom_code(self.model) and self._normalizes_in_code(shape):
            return DetectedPreprocessing("raw", "the model normalizes its input itself, in its own code")
        # KerasHub's networks have names like those of keras.applications, but other normalizations.
        parts = [part for part in layers_of(self.model) if not _is_of_package(part, "keras_hub")]
        networks = [part.name for part in parts if hasattr(part, "_flatten_layers") and getattr(part, "layers", None)]
        family = detect_family([part.name for part in parts], networks)
        if family is not None:
            return DetectedPreprocessing(family.preprocessing, f"its layers are those of {family.name}")
        return DetectedPreprocessing("unit", "nothing in the model indicates another one; you can set it")

    def _declared_input_shape(self, wanted_size: int | None) -> Any:
        """Returns (None, height, width, channels), or a structure of shapes if there are several inputs."""
        try:
            shape = self.model.input_shape
        except AttributeError:
            # A subclassed model that was called remembers the shape of its input.
            shape = (self.model.get_build_config() or {}).get("input_shape") or (None, None, None, None)
        return shape[0] if isinstance(shape, list) and len(shape) == 1 else shape

    def _normalizes_in_code(self, shape: InputShape) -> bool:
        width, height = shape.size_wh
        function = tf.function(self._called, autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec((1, height, width, shape.channel_count), tf.float32))
        return normalizes_first(concrete.inputs[0])

    def linear_outputs(self, output_name: str | None = None) -> LinearOutputs:
        """See ``Network.linear_outputs``; the loss that the model was compiled with tells."""
        loss = self.model.get_compile_config().get("loss") if self.model.compiled else None
        return meaning_of_loss(loss, output_name, getattr(self.model, "output_names", None) or ())

    def _called(self, values: Any) -> Any:
        try:
            return self.model(values, training=False)
        except Exception as error:  # the code of the user's own layers may raise anything
            raise ModelError(f"the model fails when it is called: {reason_of(error)}") from error

    def run(self, values: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[LayerCall]]:
        """See ``Network.run``."""
        with _single_precision(self.model), _inlined_functions(), _recorded_calls(self.model) as calls:
            outputs = self._called(values)
        return _named_outputs(self.model, outputs), calls


def is_registered(name: str) -> bool:
    """Returns whether the user registered a class or function of that name with Keras."""
    return keras.saving.get_registered_object(name) is not None


def is_name_in_keras(name: str) -> bool:
    """Returns whether Keras itself has a class or function of that name, of which models are made."""
    homes = (keras, keras.layers, keras.activations, keras.initializers, keras.regularizers, keras.constraints)
    return any(callable(getattr(home, name, None)) for home in homes)


def _input_name(tensor: Any) -> str:
    """Returns the name of an input and its shape: "image (32x32x3)"."""
    return f"{tensor._keras_history.operation.name} ({shape_text(tensor.shape[1:])})"


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the model itself and all its layers at any depth, without the preprocessors of KerasHub's classifiers.

    Those have no weights and are never built; the model does not call them.
    """
    layers = list(model._flatten_layers())
    preprocessors = [getattr(layer, "preprocessor", None) for layer in layers if _is_of_package(layer, "keras_hub")]
    left_out = {
        id(part)
        for preprocessor in preprocessors
        if isinstance(preprocessor, keras.layers.Layer)
        for part in preprocessor._flatten_layers()
    }
    return [layer for layer in layers if id(layer) not in left_out]


def lacks_weights(model: keras.Model) -> bool:
    """Returns whether a layer of the model has no weights yet because it was never called.

    A functional model has called all layers that it needs; KerasHub's have others in them that are never called.
    """
    layers = layers_of(model)
    functional = [layer for layer in layers if hasattr(layer, "operations")]
    inside = {id(part) for network in functional for part in network._flatten_layers()}
    return not all(layer.built or id(layer) in inside for layer in layers)


def _is_of_package(layer: Any, package: str) -> bool:
    return type(layer).__module__.partition(".")[0] == package


def _refuse_unsupported_layers(model: keras.Model) -> None:
    for layer in layers_of(model):
        if type(layer).__name__ in OPAQUE_LAYERS:
            raise ModelError(f"the model is opaque: {type(layer).__name__} {layer.name!r} has no layers to look into")
        if getattr(layer, "data_format", None) == "channels_first":
            raise channels_first(f"its layer {layer.name!r} is")


def _parts_before_learning(model: Any) -> Iterator[Any]:
    """Yields all layers and operations before the first one with learned weights, including those in nested networks.

    A subclassed model has no known order; of its layers, those that only normalize are yielded.
    """
    for part in _parts_in_order(model):
        if _is_trained(part):
            return
        yield part


def _parts_in_order(model: Any) -> Iterator[Any]:
    # A functional model has its parts in operations, in order; Sequential has them in layers.
    parts = getattr(model, "operations", None) or (model.layers if type(model).__name__ == "Sequential" else None)
    if parts is None:
        yield from (part for part in model._flatten_layers() if type(part).__name__ in _NORMALIZING_LAYERS)
        return
    for part in parts:
        if getattr(part, "layers", None):
            yield from _parts_in_order(part)
        else:
            yield part


def _is_trained(layer: Any) -> bool:
    """Returns whether a layer has learned weights: kernels, not the means of a normalization."""
    if type(layer).__name__ in _NORMALIZING_LAYERS:
        return False
    return any(len(weight.shape) >= 2 for weight in getattr(layer, "weights", ()))


def _has_custom_code(model: keras.Model) -> bool:
    """Returns whether a part of the model is a class of the user's, whose computation no list of layers shows."""
    return any(not _is_of_package(part, "keras") for part in layers_of(model))


@contextmanager
def _recorded_calls(model: keras.Model) -> Iterator[list[LayerCall]]:
    """Yields a list that receives the output of every layer that is called inside the ``with`` block, in order.

    Works for Functional, Sequential, nested and subclassed models alike, whereas
    ``keras.Model(model.inputs, layer.output)`` finds the graph of some of them disconnected.
    """
    calls: list[LayerCall] = []
    layers = model._flatten_layers(include_self=False)
    for layer in layers:
        object.__setattr__(layer, "call", _recording_call(layer, calls))
    try:
        yield calls
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _recording_call(layer: keras.layers.Layer, calls: list[LayerCall]) -> Callable[..., Any]:
    call = layer.call

    def recording_call(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        # A layer that returns its input unchanged, or a model that returns its last layer's output, has no new map.
        if tf.is_tensor(output) and not any(output is earlier.output for earlier in calls):
            is_learned = _is_trained(layer) or (bool(calls) and calls[-1].is_learned)
            calls.append(LayerCall(layer.name, output, is_learned))
        return output

    return recording_call


def _named_outputs(model: keras.Model, outputs: Any) -> dict[str, tf.Tensor]:
    """Returns the outputs by the names that Keras gives them, or by their position if it gives none."""
    if isinstance(outputs, dict):
        return {str(name): output for name, output in outputs.items()}
    tensors = [output for output in tf.nest.flatten(outputs) if tf.is_tensor(output)]
    if not tensors:
        raise ModelError("the model's output is no tensor; livecam explains models with one vector of classes")
    names = getattr(model, "output_names", None) or ()
    if len(set(names)) != len(tensors):
        names = [str(index) for index in range(len(tensors))]
    return dict(zip(names, tensors, strict=True))


@contextmanager
def _inlined_functions() -> Iterator[None]:
    """Traces each ``tf.function`` inside a model as part of our graph: gradients do not reach into a function call."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextmanager
def _single_precision(model: keras.Model) -> Iterator[None]:
    """Lets layers of half precision compute in float32: LiteRT has no kernels for half precision."""
    layers = model._flatten_layers()
    half_precision = [(layer, layer.dtype_policy) for layer in layers if layer.compute_dtype in _HALF_PRECISIONS]
    for layer, _ in half_precision:
        layer.dtype_policy = "float32"
    try:
        yield
    finally:
        for layer, policy in half_precision:
            layer.dtype_policy = policy
