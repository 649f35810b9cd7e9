"""How int8 compares with float, and whether it can be trusted."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from live_cam.engines.protocol import Engine
from live_cam.gradmodel.cam_methods import SCORE_CAM, score_cam
from live_cam.predictions import NO_CLASS, TOP_CLASS, Head, class_probabilities, top_class_index

# How much lower int8's figures may be than those of float for pictures with noise of two gray levels, as every camera
# has it. Noise leaves different things of different maps: for EfficientNet-Lite0 a correlation of 0.997 at its last
# layer, 0.89 to 0.98 at block6a, and 0.98 of combined layers, whose peaks are ties. Int8 leaves 0.998, 0.90 to 0.99 and
# 0.98 there; of 16 pictures, it moved up to two peaks more than the noise did, and changed no class that noise did not.
_LEEWAY = {"same_class": 0.15, "correlation": 0.05, "near_peak": 0.25}
_NOISE_LEVELS = 2

# Numbers count as equal within this share of the largest one.
_NUMBER_TOLERANCE = 0.05
# A forward pass for each of a thousand channels would take a minute.
_SCORE_CAM_CHANNELS = 32


@dataclass(frozen=True)
class Agreement:
    """How the results of two engines agree, for the first one's top classes.

    Correlation and peaks are those of the pictures with positive evidence; None if there are none.

    Attributes:
        picture_count: Number of pictures.
        same_class: Share of the pictures with the same top class; of a model that returns numbers, with equal numbers.
        correlation: Median correlation of the heatmaps, in [-1, 1].
        same_peak: Share of the heatmaps with the peak in the same cell.
        near_peak: Share of the heatmaps with the peak in the same cell or one next to it.
    """

    picture_count: int
    same_class: float
    correlation: float | None
    same_peak: float | None
    near_peak: float | None

    def objection(self, noise: Agreement) -> str:
        """Returns which figure is clearly worse than with noise, in a few words; empty if none is."""
        descriptions = {
            "same_class": "share of equal top classes",
            "correlation": "correlation of the heatmaps",
            "near_peak": "share of heatmaps with their peak at the same place",
        }
        for name, leeway in _LEEWAY.items():
            figure, limit = getattr(self, name), getattr(noise, name)
            if limit is not None and figure < limit - leeway:
                return f"the {descriptions[name]} is {figure:.2f}, and {limit:.2f} with noise of two gray levels"
        return ""

    def text(self) -> str:
        """Returns the figures in one line."""
        line = f"same top class on {self.same_class:.0%} of {self.picture_count} pictures"
        if self.correlation is None or self.same_peak is None or self.near_peak is None:
            return line
        return (
            f"{line}, correlation of the heatmaps {self.correlation:.3f}, "
            f"peak in the same cell on {self.same_peak:.0%}, within one cell on {self.near_peak:.0%}"
        )


def int8_agreement(
    trusted: Engine, candidate: Engine, inputs: Sequence[np.ndarray], head: Head, method: str
) -> tuple[Agreement, Agreement]:
    """Compares an int8 engine with the float engine of the same model.

    Args:
        trusted: Float.
        candidate: Int8.
        inputs: Pictures as the network sees them, (1, h, w, 3) uint8, BGR.
        head: What kind of outputs the model has.
        method: The CAM method. Score-CAM is compared by the maps of a few channels.

    Returns:
        How int8 agrees with float, and how float agrees with itself for the pictures with noise.
    """
    random = np.random.default_rng(0)
    pairs: list[tuple[_Explained, _Explained, _Explained]] = []
    for pixels in inputs:
        noise = random.integers(-_NOISE_LEVELS, _NOISE_LEVELS, pixels.shape, np.int16, endpoint=True)
        noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        explained = _explained(trusted, pixels, head, method)
        int8 = _explained(candidate, pixels, head, method, explained.class_index)
        pairs.append((explained, int8, _explained(trusted, noisy, head, method, explained.class_index)))
    of_int8 = _agreement([(explained, int8) for explained, int8, _ in pairs], head)
    return of_int8, _agreement([(explained, noisy) for explained, _, noisy in pairs], head)


class _Explained(NamedTuple):
    class_index: int
    outputs: np.ndarray
    heatmap: np.ndarray


def _agreement(pairs: Sequence[tuple[_Explained, _Explained]], head: Head) -> Agreement:
    evident = [(first.heatmap, second.heatmap) for first, second in pairs if first.heatmap.max() > 0]
    distances = [_peak_distance(*heatmaps) for heatmaps in evident]
    return Agreement(
        picture_count=len(pairs),
        same_class=statistics.fmean(_is_same(first.outputs, second.outputs, head) for first, second in pairs),
        correlation=statistics.median(_correlation(*heatmaps) for heatmaps in evident) if evident else None,
        same_peak=statistics.fmean(distance == 0 for distance in distances) if evident else None,
        near_peak=statistics.fmean(distance <= 1 for distance in distances) if evident else None,
    )


def _explained(engine: Engine, pixels: np.ndarray, head: Head, method: str, class_index: int = TOP_CLASS) -> _Explained:
    """Explains a class, or the top class, whose heatmap is (h, w) float32."""
    outputs, maps = engine.explain(pixels, (class_index, NO_CLASS))
    explained = top_class_index(outputs, head) if class_index == TOP_CLASS else class_index
    if method != SCORE_CAM:
        return _Explained(explained, outputs, maps if maps.ndim == 2 else maps[0])

    def probability_of(mask: np.ndarray) -> float:
        probabilities = class_probabilities(engine.masked_forward(pixels, mask), head)
        return 0.0 if probabilities is None else float(probabilities[explained])

    step = max(1, maps.shape[-1] // _SCORE_CAM_CHANNELS)
    size_wh = (pixels.shape[2], pixels.shape[1])
    return _Explained(explained, outputs, score_cam(maps[..., ::step], size_wh, probability_of))


def _is_same(expected: np.ndarray, actual: np.ndarray, head: Head) -> bool:
    if head == "regression":
        return bool(np.abs(actual - expected).max() <= _NUMBER_TOLERANCE * np.abs(expected).max())
    return top_class_index(actual, head) == top_class_index(expected, head)


def _correlation(expected: np.ndarray, actual: np.ndarray) -> float:
    """Returns the correlation of two maps; of maps without any contrast, whether they are equally without."""
    spreads = float(np.ptp(expected)), float(np.ptp(actual))
    if min(spreads) == 0:
        return float(spreads[0] == spreads[1])
    return float(np.corrcoef(expected.ravel(), actual.ravel())[0, 1])


def _peak_distance(expected: np.ndarray, actual: np.ndarray) -> int:
    """Returns how many cells the peaks are apart, in the direction in which they are further apart."""
    (row, column), (other_row, other_column) = (
        divmod(int(heatmap.argmax()), heatmap.shape[1]) for heatmap in (expected, actual)
    )
    return max(abs(row - other_row), abs(column - other_column))
