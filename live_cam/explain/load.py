"""From the name, file or object of a model to an explainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from live_cam.errors import SettingError, unknown_name
from live_cam.explain.builder import EngineBuilder, check_label_count, method_named
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.model_info import ModelInfo
from live_cam.models.labels import imagenet_labels, read_labels
from live_cam.models.reference import ModelReference, resolve_settings
from live_cam.predictions import class_count_of, signed_labels
from live_cam.preprocess import FITS
from live_cam.settings import DEFAULT_METHOD, DEFAULT_MODEL, ExplainerSettings
from live_cam.sources.image import as_bgr_image

if TYPE_CHECKING:
    import keras


def load_explainer(
    model: str | Path | keras.Model = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    preprocess: str = "auto",
    fit: str = "stretch",
    input_size: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = DEFAULT_METHOD,
    score: str = "logit",
    top_maps: int = 1,
    contrast: int | str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    top_k: int = 3,
    precision: str = "float",
    calibrate: str | Path | None = None,
    output_name: str | None = None,
    unsafe: bool = False,
    custom_objects: Mapping[str, Any] | str | Path | None = None,
    check_image: np.ndarray | None = None,
    on_build: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> ModelExplainer:
    """Loads a model and makes it ready to explain images.

    The first call for each model, method or layer compiles it, which takes seconds to minutes, and stores the result in
    the user's cache directory. Later calls take a fraction of a second and load no TensorFlow.

    Args:
        model: A name (see ``livecam models``), the path of a ``.keras`` or ``.h5`` file or of a SavedModel folder, or a
            ``keras.Model``. Or "hub:" with the name of a preset of KerasHub, or with the path of a folder of
            ``task.save_to_preset()``.
        weights: A weights file for a model given by name. Default: its ImageNet weights.
        labels: The class names, or a text or JSON file with them. Default: ImageNet's for models given by name, else
            the class indices.
        preprocess: The normalization that the network expects: "auto", "raw", "unit", "tf", "torch", "caffe" or "lite".
        fit: How an image is brought to the network's input: "stretch", "crop" to its middle, or "pad" with a border.
        input_size: Side of the square network input, in pixels. Default: the model's own.
        layer: The target layer, or several (comma-separated or a sequence), whose maps are combined. Default: the last
            one with a map of more than 1x1.
        method: The CAM method, one of ``live_cam.explain.builder.METHODS``, in any spelling: "Grad-CAM++", "gradcam".
        score: What is differentiated: "logit" or "probability".
        top_maps: Number of classes that are explained in the same call: the target and the best others.
        contrast: A class, by index or label, whose score is subtracted: why the target rather than this class. Or
            "similar" for the three classes whose scores are nearest to the target's, weighted by their probabilities
            (Finer-CAM, arXiv:2501.11309). Score-CAM and Eigen-CAM ignore it.
        engine: "auto", "litert" or "tensorflow".
        threads: LiteRT threads. Default: one per core.
        top_k: Number of predictions in an explanation.
        precision: "float" or "int8". Int8 is up to twice as fast on CPUs with instructions for it, and its maps differ
            little. It is compared with float first; float is used where they disagree or int8 is slower.
        calibrate: A folder of images that int8 is calibrated on; ten suffice. Default: the demo's photographs.
        output_name: Which of a model's outputs to explain. Needed only if it has several.
        unsafe: Whether code that is stored in a model may run: Lambda layers, and ops of a SavedModel that may do more
            than compute, such as writing files.
        custom_objects: Classes and functions of yours that a model file needs, by name; or the path of the Python file
            that defines them, which is run when the model is converted. By name, or registered with Keras, they are not
            part of what the cache knows, so that such a model is converted anew in each process.
        check_image: An image, (height, width, 3) uint8 BGR, for which LiteRT must agree with TensorFlow before it is
            used. Default: a synthetic one.
        on_build: Called with a line of text before anything that takes long.
        on_warning: Called with a line of text about what looks wrong. Default: ``on_build``.

    Raises:
        ModelError: The model, its weights or its labels cannot be used.
        SettingError: An argument has an invalid value; the message names the nearest valid ones.
    """
    settings = ExplainerSettings(
        model=model,
        weights=weights,
        labels=labels,
        preprocess=preprocess,
        output_name=output_name,
        unsafe=unsafe,
        custom_objects=custom_objects,
        fit=fit,
        input_size=input_size,
        engine=engine,
        threads=threads,
        method=method,
        layer=layer,
        score=score,
        top_maps=top_maps,
        top_k=top_k,
        contrast=contrast,
        precision=precision,
        calibrate=calibrate,
    )
    return build_explainer(settings, check_image, on_build, on_warning)


def build_explainer(
    settings: ExplainerSettings,
    check_image: np.ndarray | None = None,
    on_build: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> ModelExplainer:
    """Does what ``load_explainer`` does, and takes the same arguments, as settings.

    Raises:
        ModelError: The model, its weights or its labels cannot be used.
        SettingError: A setting has an invalid value; the message names the nearest valid ones.
    """
    if settings.fit not in FITS:
        raise unknown_name("fit", settings.fit, FITS)
    if settings.top_k < 1:
        raise SettingError(f"top-k {settings.top_k} is out of range; give 1 or more")
    settings = replace(settings, method=method_named(settings.method))
    say = on_build or (lambda line: None)
    reference = resolve_settings(settings)
    labels = settings.labels
    # Read before anything that takes long.
    names = read_labels(labels) if isinstance(labels, str | Path) else labels
    builder = EngineBuilder(
        reference,
        settings,
        label_count=None if names is None else len(names),
        check_image=None if check_image is None else as_bgr_image(check_image),
        on_build=say,
    )
    if settings.precision == "float":
        engine, info = builder.build()
    else:
        from live_cam.explain.int8_builder import Int8Builder

        engine, info = Int8Builder(builder, settings, say).build()
    if info.warning:
        (on_warning or say)(f"warning: {info.warning}")
    if info.precision_reason:
        (on_warning or say)(f"precision float: {info.precision_reason}")
    return ModelExplainer(reference.name, engine, info, _class_names(names, reference, info), settings)


def _class_names(names: Sequence[str] | None, reference: ModelReference, info: ModelInfo) -> tuple[str, ...]:
    """Returns the name of each class; for numbers, ``signed_labels``.

    Raises:
        ModelError: There are more or fewer names than classes.
    """
    class_count = class_count_of(info.head, info.output_count)
    if names is None:
        known = imagenet_labels() if reference.has_imagenet_labels else ()
        # A model given by name may have another head, from the user's weights; indices are better than wrong names.
        names = known if len(known) == class_count else [str(index) for index in range(class_count)]
    check_label_count(len(names), class_count, reference.name)
    return signed_labels(names) if info.head == "regression" else tuple(names)
