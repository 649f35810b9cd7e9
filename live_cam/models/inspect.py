"""What can be found out about a model by looking at it. Loading this module loads no TensorFlow: the model did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from live_cam.errors import ModelError, SettingError

if TYPE_CHECKING:
    import keras

# Layers that bring pixels into range inside the network.
_NORMALIZING_LAYERS = {"Rescaling", "Normalization"}


def found_preprocessing(model: keras.Model) -> str:
    """The normalization a model wants: "raw" if it has layers of its own for that, else "unit"."""
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}
    return "raw" if kinds & _NORMALIZING_LAYERS else "unit"


def found_input_size_wh(model: keras.Model, wanted_size: int | None) -> tuple[int, int]:
    """Width and height of the pixels a model takes.

    Args:
        model: With a declared input, or none.
        wanted_size: Pixels a side, where the model leaves it open or the user wants it checked.

    Raises:
        ModelError: The model takes no pictures.
        SettingError: It says no size and none was given, or it has another.
    """
    try:
        shape = model.input_shape
    except AttributeError:
        shape = (None, None, None, 3)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3:
        raise ModelError(f"the model takes {shape}; livecam explains models that take one (height, width, 3) picture")
    height, width = (side or wanted_size for side in shape[1:3])
    if height is None or width is None:
        raise SettingError("the model does not say its input size; give it with --input-size")
    if wanted_size is not None and (width, height) != (wanted_size, wanted_size):
        raise SettingError(f"the model takes {width}x{height} pixels, not {wanted_size}; leave out --input-size")
    return width, height
