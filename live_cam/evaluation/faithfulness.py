"""How far a heatmap tells the truth about a network: the published measures, as functions of arrays.

All work on what the network sees, its input of (h, w, 3) uint8 pixels. The map of a network covers its input from edge
to edge, so nothing has to be laid back before anything is measured; boxes on the frame are laid on the input instead
(``boxes_on_input``). Where the frame was padded, the padding is no part of the picture: it is neither dimmed, deleted
nor blurred (``picture_mask``).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

# What a deleted pixel becomes: the mean colour of ImageNet, near zero once normalized, as in the code that Petsiuk et
# al. published.
DELETED_COLOUR_BGR = (104, 117, 124)
# Pixels of deviation for each pixel of the input's shorter side: 10 at 224. Theirs is 5 within a window of 11 pixels,
# with which a network still knows many pictures.
BLUR_DEVIATION_SHARE = 10 / 224


def heat_on_input(heatmap: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """A map as shares of its own maximum, enlarged to the network's input.

    Divided by the maximum, not stretched from the minimum: a map that is warm everywhere stays so. Enlarged bilinearly
    by the half-pixel-centre rule, as it is drawn.

    Args:
        heatmap: (rows, columns) float32, >= 0, at target-layer resolution, not normalized.
        size_wh: The input's width and height.

    Returns:
        (h, w) float32 in [0, 1]; all zero where the map has no positive evidence.
    """
    peak = float(heatmap.max())
    if not peak > 0:
        return np.zeros(size_wh[::-1], np.float32)
    shares = (heatmap.astype(np.float64) / peak).astype(np.float32)
    return np.clip(cv2.resize(shares, size_wh, interpolation=cv2.INTER_LINEAR), 0, 1)


def picture_mask(region_xywh: tuple[float, float, float, float], size_wh: tuple[int, int]) -> np.ndarray:
    """Where the input shows the frame and not padding: (h, w) bool.

    Args:
        region_xywh: What the input shows, as fractions of the frame; padding reaches outside 0..1.
        size_wh: The input's width and height.
    """
    x, y, width, height = region_xywh
    across, down = (
        (start + extent * (np.arange(count) + 0.5) / count)
        for start, extent, count in ((x, width, size_wh[0]), (y, height, size_wh[1]))
    )
    return np.outer((down > 0) & (down < 1), (across > 0) & (across < 1))


def dimmed(pixels: np.ndarray, heat: np.ndarray, is_picture: np.ndarray) -> np.ndarray:
    """The explanation picture of Grad-CAM++ (Chattopadhay et al. 2018, section 4.1, arXiv:1710.11063).

    Each pixel times the map: black where the map is zero, as it was where the map has its maximum.

    Args:
        pixels: (h, w, 3) uint8.
        heat: (h, w) float32 in [0, 1].
        is_picture: (h, w) bool; other pixels stay.

    Returns:
        (h, w, 3) uint8.
    """
    shares = np.where(is_picture, heat, 1)[..., np.newaxis]
    return np.rint(pixels * shares).astype(np.uint8)


def drop_percent(confidence: float, dimmed_confidence: float) -> float:
    """What one picture adds to the average drop: 100 max(0, Y - O) / Y (Chattopadhay et al. 2018, section 4.1).

    Args:
        confidence: Y, of the explained class on the whole picture.
        dimmed_confidence: O, of the same class on ``dimmed``.

    Returns:
        0..100; low is good: what the map keeps is what the network needs.
    """
    return 100 * max(0.0, confidence - dimmed_confidence) / confidence if confidence > 0 else 0.0


def hottest_first(heat: np.ndarray, is_picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture's pixels in the order of the map; equally hot ones in the generator's order, not from the top left.

    Args:
        heat: (h, w) float32.
        is_picture: (h, w) bool.
        rng: Decides between equals.

    Returns:
        (n,) positions in the flattened input.
    """
    shuffled = rng.permutation(np.flatnonzero(is_picture))
    return shuffled[np.argsort(-heat.reshape(-1)[shuffled], kind="stable")]


def exchanged(start: np.ndarray, finish: np.ndarray, order: np.ndarray, step_count: int) -> Iterator[np.ndarray]:
    """One picture turning into another, pixel by pixel (Petsiuk et al. 2018, arXiv:1806.07421).

    Deletion goes from the picture to a constant, insertion from the blurred picture to the picture.

    Args:
        start: (h, w, 3) uint8.
        finish: (h, w, 3) uint8.
        order: (n,) positions in the flattened picture, all that are exchanged.
        step_count: How many steps of equal size, to within a pixel.

    Yields:
        step_count + 1 pictures, (h, w, 3) uint8, ``start`` first; each is valid until the next.
    """
    current = start.copy()
    pixels, finished = current.reshape(-1, 3), finish.reshape(-1, 3)
    yield current
    for positions in np.array_split(order, step_count):
        pixels[positions] = finished[positions]
        yield current


def deleted(pixels: np.ndarray, is_picture: np.ndarray) -> np.ndarray:
    """Where deletion ends: the picture in ``DELETED_COLOUR_BGR``, (h, w, 3) uint8."""
    return np.where(is_picture[..., np.newaxis], np.array(DELETED_COLOUR_BGR, np.uint8), pixels)


def blurred(pixels: np.ndarray, is_picture: np.ndarray) -> np.ndarray:
    """Where insertion begins: the picture without its details, (h, w, 3) uint8.

    A Gaussian with a deviation of ``BLUR_DEVIATION_SHARE`` of the shorter side, the picture mirrored at its edges.
    """
    rows, columns = np.flatnonzero(is_picture.any(axis=1)), np.flatnonzero(is_picture.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result = pixels.copy()
    deviation = BLUR_DEVIATION_SHARE * min(pixels.shape[:2])
    result[area] = cv2.GaussianBlur(pixels[area], (0, 0), deviation, borderType=cv2.BORDER_REFLECT)
    return result


def area_under(curve: np.ndarray) -> float:
    """The area under a curve of evenly spaced values over [0, 1], by the trapezoid rule.

    Of deletion low is good, of insertion high is good (Petsiuk et al. 2018).
    """
    return float((curve[:-1] + curve[1:]).sum() / 2 / (len(curve) - 1))


def boxes_on_input(
    boxes_xyxy: np.ndarray, region_xywh: tuple[float, float, float, float], size_wh: tuple[int, int]
) -> np.ndarray:
    """How much of each pixel of the input lies in a box.

    Args:
        boxes_xyxy: (n, 4) float: left, top, right, bottom, as fractions of the frame.
        region_xywh: What the input shows, as fractions of the frame.
        size_wh: The input's width and height.

    Returns:
        (h, w) float64 in [0, 1]. A pixel at the edges of several boxes counts as in the one that has most of it.
    """
    x, y, width, height = region_xywh
    cover = np.zeros(size_wh[::-1])
    for left, top, right, bottom in boxes_xyxy:
        across = _covered(size_wh[0], (left - x) / width, (right - x) / width)
        down = _covered(size_wh[1], (top - y) / height, (bottom - y) / height)
        cover = np.maximum(cover, np.outer(down, across))
    return cover


def _covered(pixel_count: int, start: float, end: float) -> np.ndarray:
    """The part of each pixel between two places, given as fractions of the axis."""
    edges = np.arange(pixel_count + 1)
    inside = np.clip(edges, start * pixel_count, end * pixel_count)
    return np.diff(inside)


def energy_inside(heat: np.ndarray, cover: np.ndarray) -> float:
    """The energy-based pointing game (Wang et al. 2020, section 4.3, arXiv:1910.01279).

    Args:
        heat: (h, w) float32, >= 0.
        cover: (h, w) in [0, 1], see ``boxes_on_input``.

    Returns:
        The share of the map's sum that lies in the boxes, 0..1, high is good; 0 for a map without any energy. Heat on
        padding is heat outside.
    """
    total = float(heat.sum(dtype=np.float64))
    return float((heat * cover).sum(dtype=np.float64)) / total if total > 0 else 0.0


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation, with which Adebayo et al. (2018, arXiv:1810.03292) compare maps.

    Args:
        one: (h, w) float32, the map of the trained network.
        other: (h, w) float32, that of a network whose head was made random.

    Returns:
        -1..1; equal values share their mean rank. 1: randomizing changed nothing, so the map cannot tell what the head
        learned. Of two maps one of which is flat, 0; of two flat ones, 1.
    """
    ranks = [_mean_ranks(values.reshape(-1)) for values in (one, other)]
    deviations = [values - values.mean() for values in ranks]
    lengths = [float(np.linalg.norm(values)) for values in deviations]
    if min(lengths) == 0:
        return float(max(lengths) == 0)
    return float(np.clip(deviations[0] @ deviations[1] / (lengths[0] * lengths[1]), -1, 1))


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)
    return (last_ranks - (counts - 1) / 2)[positions]
