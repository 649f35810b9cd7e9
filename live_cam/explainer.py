"""A model and an engine as one thing that explains pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from live_cam.cache import PassFacts
from live_cam.cam import SCORE_CAM
from live_cam.engines import Engine
from live_cam.errors import SettingError
from live_cam.frame import Explanation, Prediction
from live_cam.predictions import best_first, class_index_of, class_probabilities, predictions_of, top_class_index
from live_cam.preprocess import FrameFitter
from live_cam.scorecam import score_cam

TOP_CLASS = -1
NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """A frame as the network sees it.

    Attributes:
        pixels: (1, h, w, 3) uint8, BGR. Valid until the next frame is fitted.
        region_xywh: The part of the frame it shows, as fractions.
    """

    pixels: np.ndarray
    region_xywh: tuple[float, float, float, float]


class Explainer:
    """Explains what a model sees in a picture. Made by ``load_explainer``; not for several threads at once.

    Attributes:
        model_name: As the user knows the model.
        facts: Target layer, input size, preprocessing, engine and why.
        labels: The class names, in the order of the network's output.
        method: The CAM method's name.
        contrast_index: The class that others are set against; ``NO_CLASS`` if none is.
    """

    def __init__(
        self,
        model_name: str,
        engine: Engine,
        facts: PassFacts,
        labels: Sequence[str],
        method: str,
        fit: str = "stretch",
        top_k: int = 3,
        contrast: int | str | None = None,
    ) -> None:
        self.model_name = model_name
        self.facts = facts
        self.labels = tuple(labels)
        self.method = method
        self._engine = engine
        self._fit = fit
        self._fitter = FrameFitter(facts.input_size_wh, fit)
        self._top_k = top_k
        self.contrast_index = NO_CLASS if contrast is None else self.class_index(contrast)

    @property
    def engine_name(self) -> str:
        """The engine that runs: "litert" or "tensorflow"."""
        return self._engine.name

    def side_by_side(self) -> tuple[Explainer, ...]:
        """Explainers of the same pass that together explain more frames a second, each for a thread of its own.

        A single frame takes longer than with this one. This one alone where several would gain nothing.
        """
        engines = self._engine.side_by_side()
        return (self,) if len(engines) == 1 else tuple(self._on(engine) for engine in engines)

    def _on(self, engine: Engine) -> Explainer:
        other = copy.copy(self)
        other._engine = engine
        # Each writes into pixels of its own.
        other._fitter = FrameFitter(self.facts.input_size_wh, self._fit)
        return other

    def class_index(self, target: int | str) -> int:
        """The class of an index or a label.

        Raises:
            SettingError: There is no such class; the message names the nearest.
        """
        return class_index_of(target, self.labels)

    def explain(self, image: np.ndarray, target: int | str | None = None) -> Explanation:
        """Predictions and heatmap of one picture, in one pass.

        Args:
            image: (height, width, 3) uint8, BGR, of any size.
            target: The class to explain, as an index or a label; None for the top class.

        Returns:
            The ``top_k`` predictions and the map of what spoke for the target.

        Raises:
            SettingError: There is no such class, or the image is none.
        """
        return self.explain_input(self.preprocess(image), None if target is None else self.class_index(target))

    def preprocess(self, image: np.ndarray) -> NetworkInput:
        """The first half of ``explain``: (height, width, 3) uint8 BGR to what the network sees."""
        pixels, region_xywh = self._fitter.fit(image)
        return NetworkInput(pixels, region_xywh)

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        """The second half of ``explain``: one call of the engine.

        Args:
            network_input: What ``preprocess`` gave.
            class_index: The class to explain; None for the top class.
            contrast_index: The class it is set against, ``NO_CLASS`` for none; None for the ``contrast`` it was made
                with.
        """
        wanted = TOP_CLASS if class_index is None else class_index
        contrasted = self.contrast_index if contrast_index is None else contrast_index
        outputs, heatmaps = self._engine.explain(network_input.pixels, (wanted, contrasted))
        head = self.facts.head
        explained_index = top_class_index(outputs, head) if class_index is None else class_index
        if self.method == SCORE_CAM:
            heatmaps = self._score_cam(heatmaps, network_input.pixels, explained_index)
        heatmap, *others = heatmaps[np.newaxis] if heatmaps.ndim == 2 else heatmaps
        return Explanation(
            predictions=best_first(outputs, head, self.labels, self._top_k),
            explained=predictions_of([explained_index], outputs, head, self.labels)[0],
            heatmap=heatmap,
            region_xywh=network_input.region_xywh,
            other_maps=self._other_maps(outputs, others, explained_index),
        )

    def _score_cam(self, activations: np.ndarray, pixels: np.ndarray, class_index: int) -> np.ndarray:
        def probability_of(mask: np.ndarray) -> float:
            probabilities = class_probabilities(self._engine.masked_forward(pixels, mask), self.facts.head)
            if probabilities is None:
                raise SettingError("score-cam weighs by probability, and this model gives a number; take grad-cam")
            return float(probabilities[class_index])

        return score_cam(activations, self.facts.input_size_wh, probability_of)

    def _other_maps(
        self, outputs: np.ndarray, maps: Sequence[np.ndarray], explained_index: int
    ) -> tuple[tuple[Prediction, np.ndarray], ...]:
        """The best classes' maps without the explained class's, or without the last where that is none of them."""
        best = best_first(outputs, self.facts.head, self.labels, len(maps)) if len(maps) else ()
        others = [pair for pair in zip(best, maps, strict=False) if pair[0].class_index != explained_index]
        return tuple(others[: max(0, len(maps) - 1)])

    def forward(self, image: np.ndarray) -> np.ndarray:
        """The bare network: raw outputs, (n,) float32, of a (height, width, 3) uint8 BGR picture."""
        return self._engine.forward(self.preprocess(image).pixels)

    def forward_input(self, network_input: NetworkInput) -> np.ndarray:
        """The bare network on a picture that was preprocessed already."""
        return self._engine.forward(network_input.pixels)
