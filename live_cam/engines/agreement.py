"""Whether two engines say the same of a picture."""

from __future__ import annotations

import numpy as np

from live_cam.engines import Engine
from live_cam.predictions import Head, class_probabilities, top_class_index

# How far the candidate may be: probabilities absolutely, the heatmap as a part of its peak.
PROBABILITY_TOLERANCE = 1e-4
HEATMAP_TOLERANCE = 1e-3


def disagreement(trusted: Engine, candidate: Engine, pixels: np.ndarray, head: Head) -> str | None:
    """Compares the one pass of two engines on one picture.

    Args:
        trusted: The engine that is right by definition.
        candidate: The engine in doubt.
        pixels: (1, h, w, 3) uint8, BGR.
        head: What kind of output the model has.

    Returns:
        None if they agree, else what differs, in a few words.
    """
    outputs, _ = trusted.explain(pixels, (-1, -1))
    top_class = top_class_index(outputs, head)
    # Named, so that both explain the same class.
    _, heatmap = trusted.explain(pixels, (top_class, -1))
    own_outputs, own_heatmap = candidate.explain(pixels, (top_class, -1))
    if not (np.isfinite(own_outputs).all() and np.isfinite(own_heatmap).all()):
        return "its values are not finite"
    if top_class_index(own_outputs, head) != top_class:
        return "another top class"
    probabilities, own_probabilities = class_probabilities(outputs, head), class_probabilities(own_outputs, head)
    if probabilities is None or own_probabilities is None:
        probabilities, own_probabilities = relative(outputs, outputs), relative(own_outputs, outputs)
    farthest = float(np.abs(own_probabilities - probabilities).max())
    if farthest > PROBABILITY_TOLERANCE:
        return f"probabilities differ by {farthest:.1e}"
    farthest = float(np.abs(relative(own_heatmap, heatmap) - relative(heatmap, heatmap)).max())
    return f"heatmaps differ by {farthest:.1e} of their peak" if farthest > HEATMAP_TOLERANCE else None


def relative(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The values as parts of the reference's largest magnitude; as they are where that is zero."""
    peak = float(np.abs(reference).max())
    return values / peak if peak > 0 else values
