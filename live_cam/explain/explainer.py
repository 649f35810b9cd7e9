"""Explainers: what the pipeline needs of them, and the one that runs a model on an engine."""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from live_cam.engines.protocol import Engine
from live_cam.errors import SettingError
from live_cam.explain.model_info import ModelInfo
from live_cam.explain.replica_pool import ReplicaPool, results_in_order
from live_cam.frame import Explanation, Prediction
from live_cam.gradmodel.cam_methods import METHODS_WITHOUT_CONTRAST, SCORE_CAM, score_cam
from live_cam.predictions import (
    NO_CLASS,
    SIMILAR_CLASSES,
    TOP_CLASS,
    class_index_of,
    class_probabilities,
    predictions_of,
    similar_class_indices,
    top_class_index,
    top_predictions,
)
from live_cam.preprocess import FrameFitter
from live_cam.settings import ExplainerSettings
from live_cam.sources.image import as_bgr_image

if TYPE_CHECKING:
    import PIL.Image

# The ``contrast`` of the settings that stands for ``SIMILAR_CLASSES``.
SIMILAR = "similar"


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """A frame as the network sees it.

    Attributes:
        pixels: (1, h, w, 3) uint8, BGR. Valid until the explainer preprocesses the next frame.
        region_xywh: The part of the frame that they show, as fractions: left, top, width, height.
    """

    pixels: np.ndarray
    region_xywh: tuple[float, float, float, float]


class Explainer(Protocol):
    """Explains what a model sees in a frame. Not for several threads at the same time; see ``replicas``.

    Attributes:
        model_name: The model's name, as the user knows it.
        method: The CAM method.
        layer: The target layer, or several, comma-separated.
        layer_choices: Target layers worth trying, largest map first.
        labels: The class names, in the order of the network's outputs; empty if they are not known.
        engine_name: What executes the model: "litert" or "tensorflow".
        engine_reason: Why this engine, in a few words.
        precision: "float" or "int8".
        input_size_wh: Width and height of the network's input in pixels.
        fit: How a frame is brought to the network's input: "stretch", "crop" or "pad".
        contrast_index: The class whose score is subtracted by default; ``NO_CLASS`` for none, ``SIMILAR_CLASSES`` for
            the three classes with the nearest scores (Finer-CAM).
        has_classes: Whether the outputs are scores of classes; False for numbers, which have no similar ones.
    """

    model_name: str
    method: str
    layer: str
    layer_choices: tuple[str, ...]
    labels: tuple[str, ...]
    engine_name: str
    engine_reason: str
    precision: str
    input_size_wh: tuple[int, int]
    fit: str
    contrast_index: int
    has_classes: bool

    def class_index(self, target: int | str) -> int:
        """Returns the class that an index or a label means.

        Raises:
            SettingError: There is no such class; the message names the nearest.
        """
        ...

    def label(self, class_index: int) -> str:
        """Returns the name of a class."""
        ...

    def preprocess(self, image: np.ndarray) -> NetworkInput:
        """Converts a frame, (height, width, 3) uint8 BGR, to the network's input.

        Raises:
            SettingError: The image has another shape or type.
        """
        ...

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        """Explains a preprocessed frame.

        Args:
            network_input: What ``preprocess`` returned.
            class_index: The class to explain. Default: the top class.
            contrast_index: The class whose score is subtracted, ``NO_CLASS`` or ``SIMILAR_CLASSES``. Default: the
                attribute ``contrast_index``. A class is never contrasted with itself.
        """
        ...

    def replicas(self) -> tuple[Explainer, ...]:
        """Returns explainers that do the same, one for each of several threads, with a higher total throughput.

        Each takes longer for a frame than this one does. Returns only this one if several would gain nothing.
        """
        ...


def engine_title(explainer: Explainer) -> str:
    """Returns the name of the engine, and "int8" behind it if that is the precision."""
    return f"{explainer.engine_name} int8" if explainer.precision == "int8" else explainer.engine_name


class ModelExplainer(Explainer):
    """Explains what a model sees in an image; ``live_cam.load_explainer`` returns it.

    Attributes:
        info: What is known about the model.
        labels: The class names, in the order of the network's outputs. For n numbers, class n + i is what lowers
            number i.
    """

    def __init__(
        self,
        model_name: str,
        engine: Engine,
        info: ModelInfo,
        labels: Sequence[str],
        settings: ExplainerSettings = ExplainerSettings(),  # noqa: B008
    ) -> None:
        """Makes an explainer of an engine.

        Args:
            model_name: The model's name, as the user knows it.
            engine: What executes the model.
            info: What is known about the model.
            labels: The class names.
            settings: ``method``, ``fit``, ``top_k``, ``contrast`` and ``score`` are used.

        Raises:
            SettingError: There is no such fit or contrast class, or the model returns numbers, which have no similar
                classes.
        """
        self.model_name = model_name
        # A model object would keep the model in memory.
        self.settings = settings if isinstance(settings.model, str | Path) else replace(settings, model=None)
        self.method = settings.method
        self.layer = info.layer
        self.layer_choices = info.layer_choices
        self.engine_name = engine.name
        self.engine_reason = info.engine_reason
        self.precision = info.precision
        self.input_size_wh = info.input_size_wh
        self.fit = settings.fit
        self.info = info
        self.has_classes = info.head != "regression"
        self.labels = tuple(labels)
        self._engine = engine
        self._fitter = FrameFitter(info.input_size_wh, settings.fit, info.resampling)
        self._top_k = settings.top_k
        self.contrast_index = self._contrast_index(settings.contrast)

    def replicas(self) -> tuple[ModelExplainer, ...]:
        """See ``Explainer.replicas``."""
        engines = self._engine.replicas()
        return (self,) if len(engines) == 1 else tuple(self._replica(engine) for engine in engines)

    def _replica(self, engine: Engine) -> ModelExplainer:
        replica = copy.copy(self)
        replica._engine = engine
        # Each needs its own memory for pixels.
        replica._fitter = FrameFitter(self.input_size_wh, self.fit, self.info.resampling)
        return replica

    def class_index(self, target: int | str) -> int:
        """Returns the class that an index (of any integer type), a label or a part of a label means.

        Raises:
            SettingError: There is no such class; the message names the nearest.
        """
        return class_index_of(target, self.labels)

    def label(self, class_index: int) -> str:
        """Returns the name of a class."""
        return self.labels[class_index]

    def explain(self, image: np.ndarray | str | Path | PIL.Image.Image, target: int | str | None = None) -> Explanation:
        """Explains an image in one call of the network.

        Args:
            image: (height, width, 3) uint8, BGR, of any size; or the path of an image file; or a PIL image.
            target: The class to explain, as an index or a label. Default: the top class.

        Returns:
            The ``top_k`` best predictions, and the heatmap of what speaks for the target.

        Raises:
            SettingError: There is no such class, or the image is none of these.
            SourceError: The image file cannot be read.
        """
        return self.explain_input(self.preprocess(image), None if target is None else self.class_index(target))

    def explain_many(
        self, images: Iterable[np.ndarray | str | Path | PIL.Image.Image], target: int | str | None = None
    ) -> Generator[Explanation]:
        """Explains images on all cores and yields their explanations in order.

        Images are taken from the iterable, and files are read, only as fast as the explanations are taken. An error is
        raised when its image's turn comes. Until the generator ends or is closed, use this explainer for nothing else.

        Args:
            images: What ``explain`` takes. Arrays are copied, so that the iterable may reuse them.
            target: The class to explain, as an index or a label. Default: the top class of each image.

        Raises:
            SettingError: There is no such class, or ``images`` is no iterable; during iteration: an image is invalid.
            SourceError: During iteration: an image file cannot be read.
        """
        if isinstance(images, str | os.PathLike) or not isinstance(images, Iterable):
            raise SettingError(f"images: expected an iterable of images, got {images!r:.60}")
        class_index = None if target is None else self.class_index(target)
        pool = ReplicaPool(self.replicas())

        def explain(image: np.ndarray | str | os.PathLike) -> Explanation:
            pixels = as_bgr_image(image)
            with pool.lent() as replica:
                return replica.explain_input(replica.preprocess(pixels), class_index)

        owned = (image if isinstance(image, str | os.PathLike) else np.array(as_bgr_image(image)) for image in images)
        return results_in_order((partial(explain, image) for image in owned), pool.reader_count)

    def preprocess(self, image: np.ndarray | str | Path | PIL.Image.Image) -> NetworkInput:
        """Converts an image to the network's input; the first half of ``explain``."""
        pixels, region_xywh = self._fitter.fit(as_bgr_image(image))
        return NetworkInput(pixels, region_xywh)

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        """See ``Explainer.explain_input``; the second half of ``explain``.

        Raises:
            SettingError: The input is that of another network, or there is no such class.
        """
        pixels = self._checked_pixels(network_input)
        wanted = TOP_CLASS if class_index is None else self.class_index(class_index)
        contrasted = self.contrast_index if contrast_index is None else self._checked_contrast(contrast_index)
        outputs, heatmaps = self._engine.explain(pixels, (wanted, contrasted))
        head = self.info.head
        explained_index = top_class_index(outputs, head) if class_index is None else wanted
        if self.method == SCORE_CAM:
            heatmaps = self._score_cam(heatmaps, pixels, explained_index)
        heatmap, *others = heatmaps[np.newaxis] if heatmaps.ndim == 2 else heatmaps
        return Explanation(
            predictions=top_predictions(outputs, head, self.labels, self._top_k),
            explained=predictions_of([explained_index], outputs, head, self.labels)[0],
            heatmap=heatmap,
            region_xywh=network_input.region_xywh,
            other_maps=self._other_maps(outputs, others, explained_index),
            probabilities=class_probabilities(outputs, head),
            contrast=self._contrast(outputs, explained_index, contrasted),
        )

    def forward(self, image: np.ndarray | str | Path | PIL.Image.Image) -> np.ndarray:
        """Returns the network's outputs for an image, (n,) float32, without a heatmap."""
        return self.forward_input(self.preprocess(image))

    def forward_input(self, network_input: NetworkInput) -> np.ndarray:
        """Returns the network's outputs for a preprocessed image, (n,) float32, without a heatmap."""
        return self._engine.forward(self._checked_pixels(network_input))

    def _checked_pixels(self, network_input: NetworkInput) -> np.ndarray:
        width, height = self.input_size_wh
        pixels = network_input.pixels
        if pixels.shape != (1, height, width, 3) or pixels.dtype != np.uint8:
            raise SettingError(
                f"expected the input that preprocess() returns, (1, {height}, {width}, 3) uint8, "
                f"got {pixels.shape}, {pixels.dtype}"
            )
        return pixels

    def _contrast_index(self, contrast: int | str | None) -> int:
        """Returns the class that the settings mean, ``NO_CLASS`` or ``SIMILAR_CLASSES``."""
        if contrast is None:
            return NO_CLASS
        is_similar = isinstance(contrast, str) and contrast.strip().casefold() == SIMILAR
        return self._checked_contrast(SIMILAR_CLASSES) if is_similar else self.class_index(contrast)

    def _checked_contrast(self, contrast_index: int) -> int:
        if contrast_index == SIMILAR_CLASSES and not self.has_classes:
            raise SettingError(
                "the model returns numbers, which have no similar classes; give one of them as contrast, or none"
            )
        is_class = contrast_index not in (NO_CLASS, SIMILAR_CLASSES)
        return self.class_index(contrast_index) if is_class else contrast_index

    def _contrast(self, outputs: np.ndarray, explained_index: int, contrasted: int) -> tuple[Prediction, ...]:
        """Returns the classes whose scores were subtracted."""
        head = self.info.head
        if contrasted in (NO_CLASS, explained_index) or self.method in METHODS_WITHOUT_CONTRAST:
            return ()
        if contrasted == SIMILAR_CLASSES:
            indices = similar_class_indices(outputs, head, self.settings.score, explained_index)
        else:
            indices = [contrasted]
        return predictions_of(indices, outputs, head, self.labels)

    def _score_cam(self, activations: np.ndarray, pixels: np.ndarray, class_index: int) -> np.ndarray:
        def probability_of(mask: np.ndarray) -> float:
            probabilities = class_probabilities(self._engine.masked_forward(pixels, mask), self.info.head)
            if probabilities is None:
                raise SettingError("score-cam needs probabilities, and this model returns numbers; use grad-cam")
            return float(probabilities[class_index])

        return score_cam(activations, self.input_size_wh, probability_of)

    def _other_maps(
        self, outputs: np.ndarray, maps: Sequence[np.ndarray], explained_index: int
    ) -> tuple[tuple[Prediction, np.ndarray], ...]:
        """Returns the maps of the best classes without that of the explained class, or else without the last one."""
        best = top_predictions(outputs, self.info.head, self.labels, len(maps)) if len(maps) else ()
        others = [pair for pair in zip(best, maps, strict=False) if pair[0].class_index != explained_index]
        return tuple(others[: max(0, len(maps) - 1)])
