"""Smooths heatmaps over time, so that they are still where the scene is, and scales them slowly.

Pure functions from one state to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from live_cam.frame import Explanation

# The scale rises as fast as the heatmap, and falls so slowly that evidence a tenth as strong looks weak for 10 s.
_SCALE_RISE_SECONDS = 0.15
_SCALE_FALL_SECONDS = 3.0

# When the explained class changes, its heat fades in and that of the class before fades out: by 90 % in 0.33 s.
_FADE_SECONDS = 0.1

# Less than one step of the color table is invisible.
_INVISIBLE_SHARE = 1 / 255


@dataclass(frozen=True, eq=False)
class FadingHeat:
    """Heat of a class that was explained before, while it fades out.

    Attributes:
        heatmap: (h, w) float32, >= 0, relative to the scale it was drawn with.
        weight: Its share of what is drawn, in [0, 1].
    """

    heatmap: np.ndarray
    weight: float


@dataclass(frozen=True, eq=False)
class HeatState:
    """Memory of the heatmaps of earlier frames.

    Attributes:
        time_seconds: Time of the last frame.
        class_index: The explained class.
        region_xywh: What the network saw, as fractions of the frame.
        heatmap: (h, w) float32, >= 0: the smoothed heatmap of the explained class.
        other_maps: Further classes with their smoothed heatmaps, each (h, w) float32.
        scale: Heatmap value that is drawn hottest; 0 until there is evidence for any class.
        fading: Classes explained before, which fade out; each keeps its own heat.
    """

    time_seconds: float
    class_index: int
    region_xywh: tuple[float, float, float, float]
    heatmap: np.ndarray
    other_maps: tuple[tuple[int, np.ndarray], ...]
    scale: float
    fading: tuple[FadingHeat, ...] = ()


def kept_weight(passed_seconds: float, half_life_seconds: float) -> float:
    """Returns the weight of the past after that time: half after each half-life, at any frame rate."""
    return float(0.5 ** (passed_seconds / half_life_seconds))


def next_heat(
    state: HeatState | None, explanation: Explanation, time_seconds: float, half_life_seconds: float
) -> HeatState:
    """Returns the state after one more frame.

    The explained class's heatmap starts afresh when the class changes, because a heatmap of another class is no prior
    for this one; the one before fades out. Everything starts afresh when time runs backwards, or the heatmap's size or
    region changes.

    Args:
        state: After the frame before; None starts afresh, as after a cut.
        explanation: As computed.
        time_seconds: The frame's time.
        half_life_seconds: > 0.
    """
    if state is not None and not _continues(state, explanation, time_seconds):
        state = None
    passed_seconds = 0.0 if state is None else time_seconds - state.time_seconds
    kept = kept_weight(passed_seconds, half_life_seconds)
    same_class = state if state is not None and state.class_index == explanation.explained.class_index else None
    others_before = {} if state is None else dict(state.other_maps)
    indices = [prediction.class_index for prediction, _ in explanation.other_maps]
    own_before = None if same_class is None else same_class.heatmap
    before = [own_before, *(others_before.get(index) for index in indices)]
    computed = [_finite(explanation.heatmap), *(_finite(heatmap) for _, heatmap in explanation.other_maps)]
    mixed = [_mixed(old, new, kept) for old, new in zip(before, computed, strict=True)]
    scale = next_scale(same_class.scale if same_class else 0.0, _peak(mixed), _peak(computed), passed_seconds)
    heatmap, *others = (_without_trace(old, new, scale) for old, new in zip(mixed, computed, strict=True))
    return HeatState(
        time_seconds,
        explanation.explained.class_index,
        explanation.region_xywh,
        heatmap,
        tuple(zip(indices, others, strict=True)),
        scale,
        () if state is None else _next_fading(state, same_class is None, passed_seconds),
    )


def _next_fading(state: HeatState, has_class_changed: bool, passed_seconds: float) -> tuple[FadingHeat, ...]:
    """Returns what still fades out after that time; a class that is no longer explained begins to."""
    fading = list(state.fading)
    if has_class_changed:
        share = 1 - sum(heat.weight for heat in fading)
        heatmap = state.heatmap / state.scale if state.scale > 0 else state.heatmap
        fading.append(FadingHeat(heatmap.astype(np.float32), share))
    kept = kept_weight(passed_seconds, _FADE_SECONDS)
    faded = (replace(heat, weight=kept * heat.weight) for heat in fading)
    return tuple(heat for heat in faded if heat.weight >= _INVISIBLE_SHARE)


def next_scale(scale: float, peak: float, computed_peak: float, passed_seconds: float) -> float:
    """Returns the scale after one more frame: it rises quickly and decays slowly.

    Args:
        scale: The scale before; 0 if there was no evidence yet.
        peak: Maximum of the smoothed heatmaps. If it is 0, the scale stays.
        computed_peak: Maximum of this frame's own heatmaps, which the scale starts with.
        passed_seconds: Time since the frame before.
    """
    if scale == 0:
        return computed_peak
    if peak <= 0:
        return scale
    kept = kept_weight(passed_seconds, _SCALE_RISE_SECONDS if peak > scale else _SCALE_FALL_SECONDS)
    return peak + (scale - peak) * kept


def smoothed(explanation: Explanation, state: HeatState) -> tuple[Explanation, float]:
    """Returns the explanation with the heatmaps that are drawn, and the heatmap value that is drawn hottest.

    While a class that was explained before fades out, the heatmap that is drawn is a mixture of both. If several
    classes are explained, each is drawn by itself.
    """
    maps = zip(explanation.other_maps, state.other_maps, strict=True)
    others = tuple((prediction, heatmap) for (prediction, _), (_, heatmap) in maps)
    if not state.fading or others:
        return replace(explanation, heatmap=state.heatmap, other_maps=others), state.scale
    # Without any evidence for the new class there is no scale yet.
    scale = state.scale or 1.0
    faded_in = 1 - sum(heat.weight for heat in state.fading)
    heatmap = faded_in * state.heatmap + scale * sum(heat.weight * heat.heatmap for heat in state.fading)
    return replace(explanation, heatmap=heatmap.astype(np.float32)), scale


def heat_arrays(state: HeatState | None) -> dict[str, np.ndarray]:
    """Returns the state as named arrays for ``np.savez``; an empty dict for None."""
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
        "heat_fading_maps": np.array([heat.heatmap for heat in state.fading], np.float32),
        "heat_fading_weights": np.array([heat.weight for heat in state.fading], np.float64),
    }


def heat_state_from(arrays: Mapping[str, np.ndarray]) -> HeatState | None:
    """Returns the state that ``heat_arrays`` turned into these arrays."""
    if "heat_map" not in arrays:
        return None
    x, y, width, height = arrays["heat_region_xywh"].tolist()
    others = zip(arrays["heat_other_indexes"].tolist(), arrays["heat_other_maps"], strict=True)
    fading = zip(arrays["heat_fading_maps"], arrays["heat_fading_weights"].tolist(), strict=True)
    return HeatState(
        float(arrays["heat_time_seconds"]),
        int(arrays["heat_class_index"]),
        (x, y, width, height),
        arrays["heat_map"],
        tuple(others),
        float(arrays["heat_scale"]),
        tuple(FadingHeat(heatmap, weight) for heatmap, weight in fading),
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
    """Returns the heatmap, or zeros if it has values that are not finite: they would never fade."""
    return heatmap if np.isfinite(heatmap).all() else np.zeros_like(heatmap)


def _without_trace(heatmap: np.ndarray, computed: np.ndarray, scale: float) -> np.ndarray:
    """Returns the heatmap, or zeros if only an invisible trace of earlier evidence is left."""
    is_trace = computed.max() <= 0 and heatmap.max() < _INVISIBLE_SHARE * scale
    return np.zeros_like(heatmap) if is_trace else heatmap


def _peak(heatmaps: Sequence[np.ndarray]) -> float:
    return max(float(heatmap.max()) for heatmap in heatmaps)
