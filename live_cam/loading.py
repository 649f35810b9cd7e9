"""From the name, file or object of a model to an explainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from live_cam.cache import PassFacts
from live_cam.errors import SettingError, unknown_name
from live_cam.explainer import Explainer
from live_cam.models.labels import imagenet_labels, read_labels
from live_cam.models.reference import ModelReference, referenced
from live_cam.models.specs import DEFAULT_MODEL
from live_cam.pass_loader import ENGINES, PassLoader, PassRequest, check_label_count
from live_cam.predictions import both_directions, class_count_of
from live_cam.preprocess import FITS

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
    method: str = "grad-cam",
    score: str = "logit",
    top_maps: int = 1,
    contrast: int | str | None = None,
    engine: str = "auto",
    threads: int | None = None,
    top_k: int = 3,
    output_name: str | None = None,
    unsafe: bool = False,
    check_image: np.ndarray | None = None,
    on_build: Callable[[str], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Explainer:
    """Makes ready to explain what a model sees.

    The first call for a model converts it, which takes seconds to minutes, and keeps the result in the user's cache
    directory; later calls take a fraction of a second and load no TensorFlow.

    Args:
        model: A name (see ``livecam models``), the path of a ``.keras`` or ``.h5`` file, or a ``keras.Model``.
        weights: A file of weights for a model given by name.
        labels: The class names, or a text file with one a line; ImageNet's for models given by name.
        preprocess: "auto", or how the network wants its pixels: "raw", "unit", "tf", "torch", "caffe", "lite".
        fit: How a frame becomes the network's square: "stretch" shows it all, "crop" its middle, "pad" all with a
            border.
        input_size: Pixels a side of what the network sees; None for the model's own.
        layer: The target layer, or several, to be fused: names, or one text with commas; None for the last one with a
            map of more than 1x1.
        method: A name in ``live_cam.pass_loader.METHODS``.
        score: "logit", or "probability" for the gradient of the probability.
        top_maps: Explains so many classes in the same pass: the target and the best others.
        contrast: A class, by index or label, whose score is subtracted: why the target and not this one.
        engine: "auto", "litert" or "tensorflow".
        threads: For LiteRT; None for one a core.
        top_k: How many predictions an explanation holds.
        output_name: Of a model with several outputs, the one to explain.
        unsafe: Loads a model file with code of its own in it, in a Lambda layer, and so runs that code.
        check_image: (height, width, 3) uint8 BGR on which LiteRT must agree with TensorFlow before it is trusted;
            None for a picture made for that.
        on_build: Called with a line of text before anything that takes long.
        on_warning: Called with a line on what looks wrong, each time; ``on_build`` if not given.

    Raises:
        ModelError: The model, its weights or its labels cannot be used.
        SettingError: An argument makes no sense; the message names the nearest that does.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if fit not in FITS:
        raise unknown_name("fit", fit, FITS)
    if top_k < 1:
        raise SettingError(f"top-k {top_k} is out of range; give 1 or more")
    reference = referenced(model, weights, unsafe)
    # Before what takes long.
    given_names = read_labels(labels) if isinstance(labels, str | Path) else labels
    request = PassRequest(preprocess, input_size, layer_names(layer), method, score, top_maps, output_name)
    label_count = None if given_names is None else len(given_names)
    loader = PassLoader(reference, request, engine, threads, label_count, check_image, on_build or (lambda line: None))
    running_engine, facts = loader.engine_and_facts()
    if facts.doubt:
        (on_warning or loader.on_build)(f"warning: {facts.doubt}")
    names = class_names(given_names, reference, facts)
    return Explainer(reference.name, running_engine, facts, names, method, fit, top_k, contrast)


def layer_names(layer: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names in what a user gives as ``layer``."""
    names = layer.split(",") if isinstance(layer, str) else layer or ()
    return tuple(name.strip() for name in names if name.strip())


def class_names(names: Sequence[str] | None, reference: ModelReference, facts: PassFacts) -> tuple[str, ...]:
    """The name of each class the network tells apart; ``both_directions`` where its outputs are numbers.

    Raises:
        ModelError: There are more or fewer names than classes.
    """
    class_count = class_count_of(facts.head, facts.output_count)
    if names is None:
        known = imagenet_labels() if reference.has_imagenet_labels else ()
        # A named model with other weights may have another head; numbers are better than wrong names.
        names = known if len(known) == class_count else [str(index) for index in range(class_count)]
    check_label_count(len(names), class_count, reference.name)
    return both_directions(names) if facts.head == "regression" else tuple(names)
