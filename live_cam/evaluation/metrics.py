"""Measures the heatmaps of one image; gives a network a random head, to compare its heatmaps with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from live_cam.errors import ModelError
from live_cam.evaluation import faithfulness
from live_cam.evaluation.boxes import Annotation
from live_cam.explain.explainer import ModelExplainer, NetworkInput
from live_cam.frame import Prediction
from live_cam.predictions import predictions_of, top_predictions

if TYPE_CHECKING:
    import keras

# Steps of deletion and of insertion; at 224x224, one step is 1792 pixels.
STEP_COUNT = 28


@dataclass(frozen=True, eq=False)
class Scores:
    """The metrics of one heatmap of one image; ``faithfulness`` defines them.

    Attributes:
        heatmap: (h, w) float32, as explained.
        kept_percent: Mean of the map over the image, relative to its maximum: how much of the image dimming keeps. A
            map that keeps more loses less confidence, so compare the drops of maps that keep about the same.
        drop_percent: Loss of confidence on the dimmed image.
        is_increase: Whether the confidence is higher on the dimmed image.
        insertion: (STEP_COUNT + 1,) confidence while pixels are inserted into the blurred image.
        deletion: (STEP_COUNT + 1,) confidence while pixels are deleted from the image.
        pointing: Part of the map's sum that lies in the boxes; None without boxes.
        head_similarity: Rank correlation with the map of the network with a random head; None if not measured.
    """

    heatmap: np.ndarray
    kept_percent: float
    drop_percent: float
    is_increase: bool
    insertion: np.ndarray
    deletion: np.ndarray
    pointing: float | None
    head_similarity: float | None


@dataclass(frozen=True, eq=False)
class EvaluatedImage:
    """An image that was evaluated.

    Attributes:
        path: Its file.
        explained: The top class, which all maps and confidences are about.
        region_xywh: What the network saw, as fractions of the image.
    """

    path: Path
    explained: Prediction
    region_xywh: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Evaluator:
    """Evaluates one image after the other.

    Attributes:
        explainers: Explainers of one network; the first one computes all confidences.
        annotations: File names to boxes.
        seed: With an image's index, the seed of its random numbers.
        randomized: The same explainers for the network with a random head; empty: no comparison.
        random_head: Returns a block in which the network of ``randomized`` has its random head. The explainers may
            share its weights, so the block must be as short as possible.
    """

    explainers: Sequence[ModelExplainer]
    annotations: Mapping[str, Annotation]
    seed: int
    randomized: Sequence[ModelExplainer] = ()
    random_head: Callable[[], AbstractContextManager[None]] = nullcontext

    def evaluate(self, path: Path, image: np.ndarray, index: int) -> tuple[EvaluatedImage, list[Scores]]:
        """Measures the map of each explainer, and a random map as the last.

        Args:
            path: The image's file.
            image: (height, width, 3) uint8, BGR.
            index: Number of the image, from 0.
        """
        fitted = self.explainers[0].preprocess(image)
        network_input = NetworkInput(fitted.pixels.copy(), fitted.region_xywh)
        explained = self._top_class(network_input)
        annotation = self.annotations.get(path.name)
        boxes = None
        if annotation is not None:
            boxes = annotation.fractions_xyxy((image.shape[1], image.shape[0]), explained.label)
        probe = _Probe(self.explainers[0], network_input, explained, boxes)
        rng = np.random.default_rng((self.seed, index))
        order_seed = int(rng.integers(2**32))
        similarities: list[float | None] = [None] * len(self.explainers)
        maps = [_heatmap(explainer, network_input, explained) for explainer in self.explainers]
        if self.randomized:
            with self.random_head():
                others = [_heatmap(explainer, network_input, explained) for explainer in self.randomized]
            similarities = [faithfulness.rank_correlation(*pair) for pair in zip(maps, others, strict=True)]
        baseline = rng.random(maps[0].shape, np.float32)
        scores = [
            probe.scores(heatmap, similarity, np.random.default_rng(order_seed))
            for heatmap, similarity in zip([*maps, baseline], [*similarities, None], strict=True)
        ]
        return EvaluatedImage(path, explained, network_input.region_xywh), scores

    def _top_class(self, network_input: NetworkInput) -> Prediction:
        explainer = self.explainers[0]
        return top_predictions(explainer.forward_input(network_input), explainer.info.head, explainer.labels, 1)[0]


def _heatmap(explainer: ModelExplainer, network_input: NetworkInput, explained: Prediction) -> np.ndarray:
    return explainer.explain_input(network_input, explained.class_index).heatmap


class _Probe:
    """Runs the network on dimmed, deleted and blurred versions of one image.

    Args:
        explainer: The network.
        network_input: The image as the network sees it.
        explained: The class whose probability is the confidence.
        boxes_xyxy: (n, 4), as fractions of the image; None if there are none.
    """

    def __init__(
        self,
        explainer: ModelExplainer,
        network_input: NetworkInput,
        explained: Prediction,
        boxes_xyxy: np.ndarray | None,
    ) -> None:
        self._explainer = explainer
        self._region_xywh = network_input.region_xywh
        self._explained = explained
        self._pixels = network_input.pixels[0]
        self._size_wh = (self._pixels.shape[1], self._pixels.shape[0])
        self._is_image = faithfulness.image_mask(self._region_xywh, self._size_wh)
        self._deleted = faithfulness.delete(self._pixels, self._is_image)
        self._blurred = faithfulness.blur(self._pixels, self._is_image)
        self._cover = None
        if boxes_xyxy is not None:
            self._cover = faithfulness.boxes_on_input(boxes_xyxy, self._region_xywh, self._size_wh)

    def scores(self, heatmap: np.ndarray, head_similarity: float | None, rng: np.random.Generator) -> Scores:
        """Measures one map; ``rng`` shuffles equally hot pixels."""
        heat = faithfulness.heat_on_input(heatmap, self._size_wh)
        confidence = self._confidence(self._pixels)
        dimmed_confidence = self._confidence(faithfulness.dim(self._pixels, heat, self._is_image))
        order = faithfulness.hottest_first(heat, self._is_image, rng)
        return Scores(
            heatmap=heatmap,
            kept_percent=100 * float(heat[self._is_image].mean(dtype=np.float64)),
            drop_percent=faithfulness.drop_percent(confidence, dimmed_confidence),
            is_increase=dimmed_confidence > confidence,
            insertion=self._curve(self._blurred, self._pixels, order),
            deletion=self._curve(self._pixels, self._deleted, order),
            pointing=None if self._cover is None else faithfulness.energy_inside(heat, self._cover),
            head_similarity=head_similarity,
        )

    def _curve(self, start: np.ndarray, finish: np.ndarray, order: np.ndarray) -> np.ndarray:
        steps = faithfulness.exchange_pixels(start, finish, order, STEP_COUNT)
        return np.array([self._confidence(pixels) for pixels in steps])

    def _confidence(self, pixels: np.ndarray) -> float:
        outputs = self._explainer.forward_input(NetworkInput(pixels[np.newaxis], self._region_xywh))
        explainer, index = self._explainer, self._explained.class_index
        probability = predictions_of([index], outputs, explainer.info.head, explainer.labels)[0].probability
        return 0.0 if probability is None else probability


@contextmanager
def randomized_head(model: keras.Model, output_count: int, seed: int, output_name: str | None = None) -> Iterator[None]:
    """Gives the last layer random weights inside the ``with`` block (Adebayo et al. 2018, arXiv:1810.03292).

    They are drawn from a normal distribution with the mean and deviation of the trained weights, so that the logits
    stay in their range.

    Args:
        model: Has its own weights again afterwards.
        output_count: Number of outputs; the last dense layer, or convolution, with this many is taken as the head.
        seed: Seed of the weights.
        output_name: Which of several outputs the head belongs to; Keras names outputs after their layers.

    Raises:
        ModelError: There is no such layer.
    """
    heads = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if getattr(layer, "kernel", None) is not None and layer.kernel.shape[-1] == output_count
    ]
    if not heads:
        raise ModelError(f"{model.name} does not end in a dense layer or convolution of {output_count} classes")
    head = next((layer for layer in heads if layer.name == output_name), heads[-1])
    trained = head.get_weights()
    rng = np.random.default_rng(seed)
    try:
        head.set_weights(
            [rng.normal(weight.mean(), weight.std(), weight.shape).astype(weight.dtype) for weight in trained]
        )
        yield
    finally:
        head.set_weights(trained)
