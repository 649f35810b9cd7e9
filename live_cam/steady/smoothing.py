"""Heatmaps that stand still where the scene does: smoothed over time, drawn by a scale that moves slowly.

Pure functions from one state to the next; a state is a value that can be kept and gone on from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from live_cam.frame import Explanation

# Heat that leaves one place for another that speaks half as much has followed after 1.6 half-lives: 0.24 s.
DEFAULT_HALF_LIFE_SECONDS = 0.15

# The scale rises as fast as the map itself, and falls so slowly that evidence a tenth as strong looks weak for
# ten seconds.
_SCALE_RISE_SECONDS = 0.15
_SCALE_FALL_SECONDS = 3.0

# Below one step of the colour table there is nothing to see.
_INVISIBLE_SHARE = 1 / 255


@dataclass(frozen=True, eq=False)
class HeatState:
    """What is remembered of the frames so far.

    Attributes:
        time_seconds: Of the last frame.
        class_index: The explained class.
        region_xywh: What the network saw, as fractions of the frame.
        heatmap: (h, w) float32, >= 0: the explained class's map, smoothed.
        other_maps: Further classes and their maps, smoothed, each (h, w) float32.
        scale: The value that is drawn hottest; 0 as long as nothing spoke for any class.
    """

    time_seconds: float
    class_index: int
    region_xywh: tuple[float, float, float, float]
    heatmap: np.ndarray
    other_maps: tuple[tuple[int, np.ndarray], ...]
    scale: float


def kept_weight(passed_seconds: float, half_life_seconds: float) -> float:
    """The weight of what was before, after that time: half of it in a half-life, at any rate of frames."""
    return float(0.5 ** (passed_seconds / half_life_seconds))


def next_heat(
    state: HeatState | None, explanation: Explanation, time_seconds: float, half_life_seconds: float
) -> HeatState:
    """The state after one more frame.

    The explained class's map begins anew when the class is another: a heatmap of another class is no prior for this
    one. So it does when the time runs backwards, or the map's size or place is another.

    Args:
        state: After the frame before; None begins anew, as after a cut.
        explanation: As computed.
        time_seconds: Of the frame: media time, or the monotonic clock's for a live source.
        half_life_seconds: > 0.
    """
    if state is not None and not _continues(state, explanation, time_seconds):
        state = None
    passed_seconds = 0.0 if state is None else time_seconds - state.time_seconds
    kept = kept_weight(passed_seconds, half_life_seconds)
    same_class = state if state is not None and state.class_index == explanation.explained.class_index else None
    others_before = {} if state is None else dict(state.other_maps)
    indexes = [prediction.class_index for prediction, _ in explanation.other_maps]
    own_before = None if same_class is None else same_class.heatmap
    before = [own_before, *(others_before.get(index) for index in indexes)]
    computed = [_finite(explanation.heatmap), *(_finite(heatmap) for _, heatmap in explanation.other_maps)]
    mixed = [_mixed(old, new, kept) for old, new in zip(before, computed, strict=True)]
    scale = next_scale(same_class.scale if same_class else 0.0, _peak(mixed), _peak(computed), passed_seconds)
    heatmap, *others = (_without_trace(old, new, scale) for old, new in zip(mixed, computed, strict=True))
    return HeatState(
        time_seconds,
        explanation.explained.class_index,
        explanation.region_xywh,
        heatmap,
        tuple(zip(indexes, others, strict=True)),
        scale,
    )


def next_scale(scale: float, peak: float, computed_peak: float, passed_seconds: float) -> float:
    """The scale after one more frame: it follows up quickly and decays slowly.

    Args:
        scale: Before; 0 where nothing was seen yet.
        peak: The smoothed maps' greatest value. Without any evidence the scale stays: dark is no smaller scale.
        computed_peak: The maps' own: what the scale begins with.
        passed_seconds: Since the frame before.
    """
    if scale == 0:
        return computed_peak
    if peak <= 0:
        return scale
    kept = kept_weight(passed_seconds, _SCALE_RISE_SECONDS if peak > scale else _SCALE_FALL_SECONDS)
    return peak + (scale - peak) * kept


def smoothed(explanation: Explanation, state: HeatState) -> Explanation:
    """The explanation with the maps that are to be drawn, by ``state.scale``."""
    maps = zip(explanation.other_maps, state.other_maps, strict=True)
    others = tuple((prediction, heatmap) for (prediction, _), (_, heatmap) in maps)
    return replace(explanation, heatmap=state.heatmap, other_maps=others)


def heat_arrays(state: HeatState | None) -> dict[str, np.ndarray]:
    """The state as named arrays, as ``np.savez`` takes them; nothing for None."""
    if state is None:
        return {}
    return {
        "heat_time_seconds": np.array(state.time_seconds, np.float64),
        "heat_class_index": np.array(state.class_index, np.int64),
        "heat_region_xywh": np.array(state.region_xywh, np.float64),
        "heat_map": state.heatmap,
        "heat_other_indexes": np.array([index for index, _ in state.other_maps], np.int64),
        "heat_other_maps": np.array([heatmap for _, heatmap in state.other_maps], np.float32),
        "heat_scale": np.array(state.scale, np.float64),
    }


def heat_of(arrays: Mapping[str, np.ndarray]) -> HeatState | None:
    """The state that ``heat_arrays`` gave these."""
    if "heat_map" not in arrays:
        return None
    x, y, width, height = arrays["heat_region_xywh"].tolist()
    others = zip(arrays["heat_other_indexes"].tolist(), arrays["heat_other_maps"], strict=True)
    return HeatState(
        float(arrays["heat_time_seconds"]),
        int(arrays["heat_class_index"]),
        (x, y, width, height),
        arrays["heat_map"],
        tuple(others),
        float(arrays["heat_scale"]),
    )


def _continues(state: HeatState, explanation: Explanation, time_seconds: float) -> bool:
    return (
        time_seconds >= state.time_seconds
        and state.heatmap.shape == explanation.heatmap.shape
        and state.region_xywh == explanation.region_xywh
    )


def _mixed(before: np.ndarray | None, computed: np.ndarray, kept: float) -> np.ndarray:
    return computed if before is None else (kept * before + (1 - kept) * computed).astype(np.float32)


def _finite(heatmap: np.ndarray) -> np.ndarray:
    """The map, or an empty one where it has values that are no numbers: they would stay for ever."""
    return heatmap if np.isfinite(heatmap).all() else np.zeros_like(heatmap)


def _without_trace(heatmap: np.ndarray, computed: np.ndarray, scale: float) -> np.ndarray:
    """The map, or an empty one where only a trace of earlier evidence is left in it."""
    is_trace = computed.max() <= 0 and heatmap.max() < _INVISIBLE_SHARE * scale
    return np.zeros_like(heatmap) if is_trace else heatmap


def _peak(heatmaps: Sequence[np.ndarray]) -> float:
    return max(float(heatmap.max()) for heatmap in heatmaps)
