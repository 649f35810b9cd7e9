"""Comparison of two engines' results for an image."""

from __future__ import annotations

import numpy as np

from live_cam.engines.protocol import Engine
from live_cam.predictions import NO_CLASS, TOP_CLASS, Head, class_probabilities, top_class_index

# How far the candidate may differ: in probabilities absolutely, in the heatmap relative to its peak.
PROBABILITY_TOLERANCE = 1e-4
HEATMAP_TOLERANCE = 1e-3


def disagreement(trusted: Engine, candidate: Engine, pixels: np.ndarray, head: Head) -> str | None:
    """Compares the outputs and heatmaps of two engines.

    Args:
        trusted: The engine that is correct by definition.
        candidate: The engine to check.
        pixels: (1, h, w, 3) uint8, BGR.
        head: What kind of outputs the model has.

    Returns:
        What differs, in a few words; None if they agree.
    """
    outputs, _ = trusted.explain(pixels, (TOP_CLASS, NO_CLASS))
    top_class = top_class_index(outputs, head)
    # Explicitly, so that both explain the same class.
    _, heatmap = trusted.explain(pixels, (top_class, NO_CLASS))
    candidate_outputs, candidate_heatmap = candidate.explain(pixels, (top_class, NO_CLASS))
    if not (np.isfinite(candidate_outputs).all() and np.isfinite(candidate_heatmap).all()):
        return "its values are not finite"
    if top_class_index(candidate_outputs, head) != top_class:
        return "another top class"
    expected, actual = class_probabilities(outputs, head), class_probabilities(candidate_outputs, head)
    if expected is None or actual is None:
        expected, actual = _relative(outputs, outputs), _relative(candidate_outputs, outputs)
    difference = float(np.abs(actual - expected).max())
    if difference > PROBABILITY_TOLERANCE:
        return f"probabilities differ by {difference:.1e}"
    difference = float(np.abs(_relative(candidate_heatmap, heatmap) - _relative(heatmap, heatmap)).max())
    return f"heatmaps differ by {difference:.1e} of their peak" if difference > HEATMAP_TOLERANCE else None


def _relative(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Divides the values by the largest magnitude in the reference, unless that is zero."""
    peak = float(np.abs(reference).max())
    return values / peak if peak > 0 else values


def synthetic_image() -> np.ndarray:
    """Returns (480, 640, 3) uint8, BGR: waves of color and noise, to compare engines on if there is no frame."""
    rows, columns = np.mgrid[0:480, 0:640].astype(np.float32)
    waves = [np.sin(rows / period + columns / (period + 11)) for period in (17, 31, 59)]
    noise = np.random.default_rng(0).normal(0, 12, (480, 640, 3))
    return np.clip(128 + 90 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)
