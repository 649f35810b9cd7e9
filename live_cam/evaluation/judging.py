"""What the map of one picture is worth, and a network whose head was made random to hold it against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from live_cam.errors import ModelError
from live_cam.evaluation import faithfulness
from live_cam.evaluation.annotations import Annotation
from live_cam.explainer import Explainer, NetworkInput
from live_cam.frame import Prediction
from live_cam.predictions import best_first, predictions_of

if TYPE_CHECKING:
    import keras

# Of deletion and of insertion: at 224x224 a step is 1792 pixels.
STEP_COUNT = 28


@dataclass(frozen=True, eq=False)
class Scores:
    """What one map of one picture is worth; the measures are in ``faithfulness``.

    Attributes:
        heatmap: (h, w) float32, as explained.
        kept_percent: The map's mean over the picture, of its maximum: how much of the picture dimming leaves.
            A map that keeps more loses less, so drops compare maps that keep about as much.
        drop_percent: Loss of confidence on the dimmed picture.
        is_increase: Whether the network was surer of the dimmed picture.
        insertion: (STEP_COUNT + 1,) confidence while the picture comes out of the blur.
        deletion: (STEP_COUNT + 1,) confidence while the picture goes.
        pointing: Share of the map's energy in the boxes; None without boxes.
        head_similarity: Rank correlation with the map of the randomized head; None where that was not made.
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
class Picture:
    """A picture that was measured.

    Attributes:
        path: Its file.
        explained: The top class, which all maps and confidences are about.
        region_xywh: What the network saw of it.
    """

    path: Path
    explained: Prediction
    region_xywh: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Meter:
    """Measures one picture after the other.

    Attributes:
        explainers: Of one network; the first one's forward gives every confidence.
        randomized: The same over the random head, or none.
        annotations: File names to boxes.
        seed: Every picture draws from a generator of its own: leaving out one changes no other.
    """

    explainers: Sequence[Explainer]
    randomized: Sequence[Explainer]
    annotations: Mapping[str, Annotation]
    seed: int

    def measured(self, path: Path, image: np.ndarray, index: int) -> tuple[Picture, list[Scores]]:
        """The scores of each explainer's map, and of a random one at the end."""
        fitted = self.explainers[0].preprocess(image)
        seen = NetworkInput(fitted.pixels.copy(), fitted.region_xywh)
        explained = self._top_class(seen)
        annotation = self.annotations.get(path.name)
        boxes = None
        if annotation is not None:
            boxes = annotation.fractions_xyxy((image.shape[1], image.shape[0]), explained.label)
        probe = _Probe(self.explainers[0], seen, explained, boxes)
        rng = np.random.default_rng((self.seed, index))
        order_seed = int(rng.integers(2**32))
        similarities: list[float | None] = [None] * len(self.explainers)
        maps = [self._heatmap(one, seen, explained) for one in self.explainers]
        if self.randomized:
            others = (self._heatmap(one, seen, explained) for one in self.randomized)
            similarities = [faithfulness.rank_correlation(*pair) for pair in zip(maps, others, strict=True)]
        baseline = rng.random(maps[0].shape, np.float32)
        scores = [
            probe.scores(heatmap, similarity, np.random.default_rng(order_seed))
            for heatmap, similarity in zip([*maps, baseline], [*similarities, None], strict=True)
        ]
        return Picture(path, explained, seen.region_xywh), scores

    def _top_class(self, seen: NetworkInput) -> Prediction:
        explainer = self.explainers[0]
        return best_first(explainer.forward_input(seen), explainer.facts.head, explainer.labels, 1)[0]

    def _heatmap(self, explainer: Explainer, seen: NetworkInput, explained: Prediction) -> np.ndarray:
        return explainer.explain_input(seen, explained.class_index).heatmap


class _Probe:
    """What the network says about one picture when parts of it are dimmed, deleted or blurred.

    Args:
        explainer: The network.
        seen: The picture as the network sees it.
        explained: The class whose probability counts.
        boxes_xyxy: (n, 4), as fractions of the frame; None where there are none.
    """

    def __init__(
        self, explainer: Explainer, seen: NetworkInput, explained: Prediction, boxes_xyxy: np.ndarray | None
    ) -> None:
        self._explainer = explainer
        self._seen = seen
        self._explained = explained
        self._pixels = seen.pixels[0]
        self._size_wh = (self._pixels.shape[1], self._pixels.shape[0])
        self._is_picture = faithfulness.picture_mask(seen.region_xywh, self._size_wh)
        self._deleted = faithfulness.deleted(self._pixels, self._is_picture)
        self._blurred = faithfulness.blurred(self._pixels, self._is_picture)
        self._cover = None
        if boxes_xyxy is not None:
            self._cover = faithfulness.boxes_on_input(boxes_xyxy, seen.region_xywh, self._size_wh)

    def scores(self, heatmap: np.ndarray, head_similarity: float | None, rng: np.random.Generator) -> Scores:
        """Measures one map; ``rng`` decides between equally hot pixels."""
        heat = faithfulness.heat_on_input(heatmap, self._size_wh)
        confidence = self._confidence(self._pixels)
        dimmed_confidence = self._confidence(faithfulness.dimmed(self._pixels, heat, self._is_picture))
        order = faithfulness.hottest_first(heat, self._is_picture, rng)
        return Scores(
            heatmap=heatmap,
            kept_percent=100 * float(heat[self._is_picture].mean(dtype=np.float64)),
            drop_percent=faithfulness.drop_percent(confidence, dimmed_confidence),
            is_increase=dimmed_confidence > confidence,
            insertion=self._curve(self._blurred, self._pixels, order),
            deletion=self._curve(self._pixels, self._deleted, order),
            pointing=None if self._cover is None else faithfulness.energy_inside(heat, self._cover),
            head_similarity=head_similarity,
        )

    def _curve(self, start: np.ndarray, finish: np.ndarray, order: np.ndarray) -> np.ndarray:
        return np.array([self._confidence(one) for one in faithfulness.exchanged(start, finish, order, STEP_COUNT)])

    def _confidence(self, pixels: np.ndarray) -> float:
        outputs = self._explainer.forward_input(NetworkInput(pixels[np.newaxis], self._seen.region_xywh))
        explainer, index = self._explainer, self._explained.class_index
        probability = predictions_of([index], outputs, explainer.facts.head, explainer.labels)[0].probability
        return 0.0 if probability is None else probability


@contextmanager
def randomized_head(model: keras.Model, output_count: int, seed: int, output_name: str | None = None) -> Iterator[None]:
    """While it lasts, the last layer's weights are random (Adebayo et al. 2018, arXiv:1810.03292).

    Drawn from a normal distribution of the trained weights' mean and deviation, so that logits stay in their range.

    Args:
        model: Its weights are as before afterwards.
        output_count: How many outputs it has; the last dense layer, or convolution, with as many is taken to be its
            head.
        seed: Of the weights.
        output_name: Of several outputs, the one whose head it is; Keras names outputs after their layers.

    Raises:
        ModelError: There is no such layer.
    """
    heads = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if getattr(layer, "kernel", None) is not None and layer.kernel.shape[-1] == output_count
    ]
    if not heads:
        raise ModelError(f"{model.name} ends in no dense layer or convolution of {output_count} classes")
    head = next((layer for layer in heads if layer.name == output_name), heads[-1])
    trained = head.get_weights()
    rng = np.random.default_rng(seed)
    try:
        head.set_weights([rng.normal(one.mean(), one.std(), one.shape).astype(one.dtype) for one in trained])
        yield
    finally:
        head.set_weights(trained)
