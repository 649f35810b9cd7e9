"""What can be found out about a model by looking at it. Loading this module loads no TensorFlow: the model did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from live_cam.errors import ModelError, SettingError
from live_cam.models.families import family_of
from live_cam.models.model_file import OPAQUE_LAYERS

if TYPE_CHECKING:
    import keras

# What brings pixels into range inside the network: layers, and the operations that preprocess_input() and plain
# arithmetic leave in a functional model.
_NORMALIZING_LAYERS = {"Rescaling", "Normalization"}
_NORMALIZING_OPERATIONS = {"TrueDivide", "Divide", "Multiply", "Subtract", "Add", "Lambda"}

# What an output vector without an activation is, as far as the loss it was trained with tells.
LinearOutputs: TypeAlias = Literal["unknown", "numbers", "logits"]
_LOSSES_OF_NUMBERS = {
    "mse", "mae", "mape", "msle", "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "huber", "huber_loss", "log_cosh", "logcosh",
}  # fmt: skip


@dataclass(frozen=True)
class FoundPreprocessing:
    """The normalization a model seems to want.

    Attributes:
        name: A key of `live_cam.preprocess.PREPROCESSINGS`.
        reason: Why, in a few words.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class InputShape:
    """The picture a model takes."""

    size_wh: tuple[int, int]
    channel_count: int


def found_preprocessing(model: keras.Model, shape: InputShape | None = None) -> FoundPreprocessing:
    """What a model wants: nothing where it normalizes inside itself, what its family wants, else 0..1.

    Args:
        model: Built.
        shape: Of its input; without it, arithmetic in the model's own code is not looked for.
    """
    for part in _first_operations(model):
        kind = type(part).__name__
        if kind in _NORMALIZING_LAYERS or kind in _NORMALIZING_OPERATIONS:
            return FoundPreprocessing("raw", f"the model normalizes inside itself, in {part.name}")
    parts = model._flatten_layers()
    if shape is not None and has_own_code(model):
        from live_cam.models.own_code import normalizes_its_input

        if normalizes_its_input(model, (*shape.size_wh[::-1], shape.channel_count)):
            return FoundPreprocessing("raw", "the model normalizes inside itself, in its own code")
    networks = [part.name for part in parts if hasattr(part, "_flatten_layers") and getattr(part, "layers", None)]
    family = family_of([part.name for part in parts], networks)
    if family is not None:
        return FoundPreprocessing(family.preprocessing, f"its layers are those of {family.name}")
    return FoundPreprocessing("unit", "nothing in the model says otherwise; --preprocess sets it")


def has_own_code(model: keras.Model) -> bool:
    """Whether a part of the model computes in Python of its own, which no list of layers shows."""
    return any(not type(part).__module__.startswith("keras.") for part in model._flatten_layers())


def _first_operations(model: Any) -> Iterator[Any]:
    """All layers and operations up to the first that was trained, nested networks opened.

    Of a subclassed model, which has no order, those that are for normalizing alone.
    """
    for part in _parts_in_order(model):
        if is_trained(part):
            return
        yield part


def _parts_in_order(model: Any) -> Iterator[Any]:
    # A sequential or functional model knows the order of its parts; Sequential keeps them in layers.
    parts = getattr(model, "operations", None) or (model.layers if type(model).__name__ == "Sequential" else None)
    if parts is None:
        yield from (part for part in model._flatten_layers() if type(part).__name__ in _NORMALIZING_LAYERS)
        return
    for part in parts:
        if getattr(part, "layers", None):
            yield from _parts_in_order(part)
        else:
            yield part


def is_trained(layer: Any) -> bool:
    """Whether a layer has weights that were learned: kernels, not the means of a normalization."""
    if type(layer).__name__ in _NORMALIZING_LAYERS:
        return False
    return any(len(weight.shape) >= 2 for weight in getattr(layer, "weights", ()))


def found_input(model: keras.Model, wanted_size: int | None) -> InputShape:
    """The pixels a model takes.

    Args:
        model: With a declared input, or none.
        wanted_size: Pixels a side, where the model leaves it open or the user wants it checked.

    Raises:
        ModelError: The model takes no single picture of 1 or 3 channels, channels last.
        SettingError: It says no size and none was given, or it has another.
    """
    _refuse_unsupported_layers(model)
    shape = _declared_input_shape(model)
    if isinstance(shape, list | dict) or (shape and not isinstance(shape[0], int | None)):
        raise ModelError(f"the model takes {len(shape)} inputs; livecam explains models that take one picture")
    if len(shape) != 4:
        raise ModelError(f"the model takes {shape}; livecam explains models that take one (height, width, 3) picture")
    if shape[3] not in (1, 3, None):
        if shape[1] in (1, 3):
            raise _channels_first(f"it takes {shape}")
        raise ModelError(f"the model takes pictures of {shape[3]} channels; livecam gives 3 (colour) or 1 (grey)")
    height, width = (side or wanted_size for side in shape[1:3])
    if height is None or width is None:
        raise SettingError("the model does not say its input size; give it with --input-size")
    if wanted_size is not None and (width, height) != (wanted_size, wanted_size):
        raise SettingError(f"the model takes {width}x{height} pixels, not {wanted_size}; leave out --input-size")
    return InputShape((width, height), shape[3] or 3)


def ensure_built(model: keras.Model, shape: InputShape) -> None:
    """Makes the weights of a model that was never called: random ones, inside a trace they would not be kept."""
    if not all(layer.built for layer in model._flatten_layers()):
        width, height = shape.size_wh
        model(np.zeros((1, height, width, shape.channel_count), np.float32), training=False)


def _declared_input_shape(model: keras.Model) -> Any:
    """Nested as the model's inputs are: (None, height, width, channels) for one."""
    try:
        shape = model.input_shape
    except AttributeError:
        # A subclassed model that was called remembers with what.
        shape = (model.get_build_config() or {}).get("input_shape") or (None, None, None, None)
    if isinstance(shape, list) and len(shape) == 1:
        return shape[0]
    return shape


def _refuse_unsupported_layers(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if type(layer).__name__ in OPAQUE_LAYERS:
            raise ModelError(f"the model is opaque: {type(layer).__name__} {layer.name!r} has no layers to look into")
        if getattr(layer, "data_format", None) == "channels_first":
            raise _channels_first(f"its layer {layer.name!r} is")


def _channels_first(why: str) -> ModelError:
    return ModelError(
        f"the model is channels-first ({why}), which TensorFlow cannot run on a CPU; "
        "build it anew with data_format='channels_last'"
    )


def found_linear_outputs(model: keras.Model) -> LinearOutputs:
    """Whether a model was trained to give numbers or logits, where one loss says so."""
    loss = model.get_compile_config().get("loss") if model.compiled else None
    if isinstance(loss, dict) and loss.get("class_name") == "function":
        loss = loss.get("config")
    if isinstance(loss, str):
        return "numbers" if loss.lower() in _LOSSES_OF_NUMBERS else "unknown"
    settings = loss.get("config") if isinstance(loss, dict) else None
    if not isinstance(settings, dict):
        return "unknown"
    if settings.get("from_logits"):
        return "logits"
    return "numbers" if str(settings.get("name")).lower() in _LOSSES_OF_NUMBERS else "unknown"
