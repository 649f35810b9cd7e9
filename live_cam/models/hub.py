"""KerasHub's image classifiers: as networks, whose preprocessor tells how they want their images, and from its presets.

Loading this module loads TensorFlow, but KerasHub only when a preset is loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from live_cam.errors import ModelError, unknown_name
from live_cam.models.keras_files import (
    check_weights_file,
    has_lambda,
    is_preset_folder,
    missing_keras_hub,
    read_config,
    refuse_foreign_code,
)
from live_cam.models.keras_network import KerasNetwork, is_name_in_keras, is_registered
from live_cam.models.network import DetectedPreprocessing, InputShape
from live_cam.preprocess import RESAMPLINGS, Preprocessing

_NAME = "keras-hub"
_TASK_FILE = "task.json"


def network_of(model: keras.Model) -> KerasNetwork:
    """Returns a model of Keras 3 as a network: a ``HubNetwork`` if it is a classifier of KerasHub."""
    keras_hub = sys.modules.get("keras_hub")  # It can only be one if KerasHub is loaded.
    is_classifier = keras_hub is not None and isinstance(model, keras_hub.models.ImageClassifier)
    return HubNetwork(model, "KerasHub classifier") if is_classifier else KerasNetwork(model)


class HubNetwork(KerasNetwork):
    """An image classifier of KerasHub; see ``Network``. Its preprocessor is read, and not part of the network."""

    def preprocessing(self, shape: InputShape) -> DetectedPreprocessing:
        """See ``Network.preprocessing``.

        Raises:
            ModelError: The preprocessor's scale and offset are not those of an image.
        """
        preprocessor = self.model.preprocessor
        if preprocessor is None:
            return super().preprocessing(shape)
        converter = _image_converter(preprocessor)
        if converter is not None:
            own = _preprocessing_of(converter)
            mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (own.mean, own.std))
            reason = f"its own preprocessor has mean {mean}, std {std}, {own.resampling} resampling"
            return DetectedPreprocessing(_NAME, reason, own)
        if _is_of_keras_hub(preprocessor) and getattr(preprocessor, "image_converter", self) is None:
            return DetectedPreprocessing("raw", "its own preprocessor changes nothing")
        kind = getattr(preprocessor, "__name__", type(preprocessor).__name__)
        return DetectedPreprocessing("unit", f"its own preprocessor, {kind}, is none of KerasHub's; you can set it")

    def _declared_input_shape(self, wanted_size: int | None) -> Any:
        """Returns the network's shape; where that is open and no size is wanted, with the preprocessor's size."""
        shape = super()._declared_input_shape(wanted_size)
        converter = _image_converter(self.model.preprocessor)
        if converter is None or converter.image_size is None or wanted_size is not None or len(shape) != 4:
            return shape
        height, width = converter.image_size
        return (shape[0], shape[1] or height, shape[2] or width, shape[3])


def load_preset(preset: str) -> keras.Model:
    """Loads an image classifier of KerasHub, which downloads presets that are given by name.

    Args:
        preset: A name, one of ``keras_hub.models.ImageClassifier.presets``; or with a separator, the path of a folder
            that ``task.save_to_preset()`` wrote.

    Raises:
        ModelError: KerasHub is not installed, or the folder is no classifier or needs code that is not KerasHub's.
        SettingError: There is no such preset.
        Exception: KerasHub cannot download or load it.
    """
    if importlib.util.find_spec("keras_hub") is None:
        raise missing_keras_hub(f"hub:{preset}")
    import keras_hub

    classifier = keras_hub.models.ImageClassifier
    if is_preset_folder(preset):
        _check_folder(Path(preset))
        # With a separator, it cannot be the name of a preset.
        return classifier.from_preset(str(Path(preset).resolve()))
    if preset not in classifier.presets:
        raise unknown_name("KerasHub preset", preset, sorted(classifier.presets), more="...")
    return classifier.from_preset(preset)


def _check_folder(folder: Path) -> None:
    """Refuses a folder with code, or with files that would fill the memory, before KerasHub reads it."""
    if not (folder / _TASK_FILE).is_file():
        raise ModelError(
            f"{folder} has no {_TASK_FILE}: it holds no classifier of KerasHub; save one with task.save_to_preset()"
        )
    for path in sorted(folder.glob("*.json")):
        config = read_config(path)
        if has_lambda(config):
            raise ModelError(
                f"{path} has a Lambda layer, which is Python code hidden in the file, and is not loaded; if you trust "
                "who made it, load it with KerasHub and give the classifier to load_explainer()"
            )
        refuse_foreign_code(config, path, True, is_registered, is_name_in_keras)
    for path in sorted(folder.rglob("*.h5")):
        check_weights_file(path)


def _image_converter(preprocessor: Any) -> Any:
    """Returns what converts images in a preprocessor of KerasHub; None if it has code of the user's, or no converter.

    Their own classes all compute ``resized * scale + offset`` and keep the order of the colors, RGB.
    """
    converter = getattr(preprocessor, "image_converter", None)
    is_known = converter is not None and _is_of_keras_hub(preprocessor) and _is_of_keras_hub(converter)
    return converter if is_known else None


def _is_of_keras_hub(part: Any) -> bool:
    return type(part).__module__.startswith("keras_hub.")


def _preprocessing_of(converter: Any) -> Preprocessing:
    """Returns ``x * scale + offset`` as ``(x - mean) / std``."""
    try:
        scale, offset = (
            np.broadcast_to(np.asarray(default if value is None else value, np.float64), 3)
            for value, default in ((converter.scale, 1), (converter.offset, 0))
        )
    except (TypeError, ValueError):
        scale = offset = np.full(3, np.nan)
    if not (np.isfinite(scale) & np.isfinite(offset) & (scale != 0)).all():
        raise ModelError(
            f"its preprocessor multiplies by {converter.scale} and adds {converter.offset}; livecam expects one number "
            "for each of the three colors, and no scale of 0; set the preprocessing"
        )
    resampling = converter.interpolation if converter.interpolation in RESAMPLINGS else "bicubic"  # lanczos
    if converter.antialias and resampling != "nearest":
        resampling = f"antialiased {resampling}"
    red, green, blue = (-offset / scale).tolist()
    mean = (red, green, blue)
    red, green, blue = (1 / scale).tolist()
    return Preprocessing(_NAME, "rgb", mean, std=(red, green, blue), resampling=resampling)
