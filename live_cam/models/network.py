"""The protocol of networks: what a grad-model needs of a classifier, wherever it comes from.

Loading this module loads no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from live_cam.errors import ModelError, SettingError
from live_cam.preprocess import PREPROCESSINGS, Preprocessing

if TYPE_CHECKING:
    import tensorflow as tf

# Of an image that a model takes, in pixels.
LARGEST_SIDE = 4096

# What outputs mean, as far as the loss they were trained with tells: numbers, logits of classes, or classes, whose
# final activation may be in the model.
LinearOutputs: TypeAlias = Literal["unknown", "numbers", "logits", "classes"]

_LOSSES_OF_NUMBERS = {
    "mse", "mae", "mape", "msle", "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "huber", "huber_loss", "log_cosh", "logcosh",
}  # fmt: skip


@dataclass(frozen=True)
class DetectedPreprocessing:
    """The normalization that a model seems to expect.

    Attributes:
        name: A key of ``live_cam.preprocess.PREPROCESSINGS``, or the name of ``own``.
        reason: Why, in a few words.
        own: A normalization that is none of ``PREPROCESSINGS``, which the model comes with.
    """

    name: str
    reason: str
    own: Preprocessing | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """The normalization itself."""
        return PREPROCESSINGS[self.name] if self.own is None else self.own


@dataclass(frozen=True)
class InputShape:
    """The image that a model takes.

    Attributes:
        size_wh: Width and height in pixels.
        channel_count: 3 for color, 1 for gray.
    """

    size_wh: tuple[int, int]
    channel_count: int


@dataclass(frozen=True)
class LayerCall:
    """The output of one call of a layer.

    Attributes:
        name: The layer's name.
        output: What the layer returned: (1, h, w, channels), or any other shape.
        is_learned: Whether this layer, or one that was called before it, has trained weights.
    """

    name: str
    output: tf.Tensor
    is_learned: bool

    @property
    def is_spatial(self) -> bool:
        """Whether the output is a feature map: 4-D with height and width > 1, and not just the rescaled input."""
        if not self.is_learned:
            return False
        shape = self.output.shape
        return shape.rank == 4 and all(side is not None and side > 1 for side in shape[1:3])


class Network(Protocol):
    """A classifier that can be traced.

    Attributes:
        name: Its own name.
        format: What it was loaded from, for the user: "HDF5 file, Keras 2.11".
    """

    name: str
    format: str

    def input_shape(self, wanted_size: int | None) -> InputShape:
        """Returns the image that it takes; call this first.

        Args:
            wanted_size: Side of the square input in pixels, if the user gave it.

        Raises:
            ModelError: It does not take a single image of 1 or 3 channels, channels last.
            SettingError: It declares no size and none was given, or it declares another one.
        """

    def preprocessing(self, shape: InputShape) -> DetectedPreprocessing:
        """Returns the preprocessing that it seems to expect.

        That is what it comes with, "raw" if it normalizes its input itself, else that of its family, else "unit".
        """

    def linear_outputs(self, output_name: str | None = None) -> LinearOutputs:
        """Returns what an output means that has no final activation.

        Args:
            output_name: Which of several outputs. Default: the only one.
        """

    def run(self, values: tf.Tensor) -> tuple[dict[str, tf.Tensor], list[LayerCall]]:
        """Runs the network inside a trace.

        Args:
            values: (1, h, w, channels) float32, normalized.

        Returns:
            The outputs by name, and the outputs of all layers in the order of their calls.

        Raises:
            ModelError: It returns no tensor.
        """


def checked_input_shape(shape: tuple[int | None, ...], wanted_size: int | None) -> InputShape:
    """Returns the image that a model takes which declares ``(batch, height, width, channels)``; None is open.

    Raises:
        ModelError: That is no image of 1 or 3 channels, channels last, or a huge one.
        SettingError: The size is open and none was given, or it is another one.
    """
    if len(shape) != 4:
        raise ModelError(f"the model takes {shape}; livecam explains models that take one (height, width, 3) image")
    if shape[3] not in (1, 3, None):
        if shape[1] in (1, 3):
            raise channels_first(f"it takes {shape}")
        raise ModelError(f"the model takes images of {shape[3]} channels; livecam gives 3 (color) or 1 (gray)")
    height, width = (side or wanted_size for side in shape[1:3])
    if height is None or width is None:
        raise SettingError("the model does not declare its input size; give the input size")
    if wanted_size is not None and (width, height) != (wanted_size, wanted_size):
        raise SettingError(f"the model takes {width}x{height} pixels, not {wanted_size}; leave out the input size")
    if max(width, height) > LARGEST_SIDE:
        raise ModelError(f"the model takes {width}x{height} pixels; livecam gives up to {LARGEST_SIDE} a side")
    return InputShape((width, height), shape[3] or 3)


def meaning_of_loss(loss: Any, output_name: str | None, output_names: Sequence[str]) -> LinearOutputs:
    """Returns what an output means that was trained with a loss.

    Args:
        loss: The loss as Keras saves it: a name, a description, or a list or dictionary of those, one for each output.
        output_name: Which of several outputs. Default: the only one.
        output_names: The names of all outputs, in order.
    """
    if isinstance(loss, list | tuple):
        loss = dict(zip(output_names, loss, strict=True)) if len(loss) == len(output_names) else None
    if isinstance(loss, dict) and "class_name" not in loss:
        its_name = output_names[0] if output_name is None and len(output_names) == 1 else output_name
        loss = loss.get(its_name)
    return _meaning_of_one_loss(loss)


def _meaning_of_one_loss(loss: Any) -> LinearOutputs:
    config = loss.get("config") if isinstance(loss, dict) else loss
    if isinstance(config, dict) and config.get("from_logits"):
        return "logits"
    name = str(config.get("name") if isinstance(config, dict) else config).lower()
    if name in _LOSSES_OF_NUMBERS:
        return "numbers"
    return "classes" if "crossentropy" in name else "unknown"


def shape_text(shape: Sequence[int | None]) -> str:
    """Returns a shape without its batch as text: "32x32x3"; "?" stands for any size."""
    return "x".join("?" if side is None else str(side) for side in shape)


def several_inputs(names: Sequence[str]) -> ModelError:
    """Returns the error for a model that takes several inputs."""
    return ModelError(
        f"the model takes {len(names)} inputs: {', '.join(names)}; livecam explains models that take one image"
    )


def channels_first(why: str) -> ModelError:
    """Returns the error for a model that takes its channels before height and width."""
    return ModelError(
        f"the model is channels-first ({why}), which TensorFlow cannot run on a CPU; "
        "rebuild it with data_format='channels_last'"
    )
