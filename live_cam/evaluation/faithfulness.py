"""Published metrics of a heatmap's faithfulness to its network, as functions of arrays.

All of them work on the network's input, (h, w, 3) uint8 pixels, which the map covers from edge to edge. Boxes on the
frame are mapped to the input (``boxes_on_input``). If the frame was padded, the padding is not part of the image: it is
neither dimmed, deleted nor blurred (``image_mask``).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

# The color of a deleted pixel: the mean color of ImageNet, which is near zero once normalized, as in the code published
# by Petsiuk et al.
DELETED_COLOR_BGR = (104, 117, 124)
# Standard deviation of the blur, relative to the input's shorter side: 10 pixels at 224. Petsiuk et al. use 5 pixels in
# a window of 11, after which a network still recognizes many images.
BLUR_DEVIATION_SHARE = 10 / 224


def heat_on_input(heatmap: np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
    """Returns the map relative to its maximum, enlarged to the network's input.

    It is divided by its maximum, not stretched from its minimum: a map that is warm everywhere stays warm everywhere.
    It is enlarged bilinearly by the half-pixel-center rule, as in published figures.

    Args:
        heatmap: (rows, columns) float32, >= 0, at target-layer resolution, not normalized.
        size_wh: The input's width and height.

    Returns:
        (h, w) float32 in [0, 1]; all zero if the map has no positive evidence.
    """
    peak = float(heatmap.max())
    if not peak > 0:
        return np.zeros(size_wh[::-1], np.float32)
    heat = (heatmap.astype(np.float64) / peak).astype(np.float32)
    return np.clip(cv2.resize(heat, size_wh, interpolation=cv2.INTER_LINEAR), 0, 1)


def image_mask(region_xywh: tuple[float, float, float, float], size_wh: tuple[int, int]) -> np.ndarray:
    """Returns where the input shows the frame, and not padding: (h, w) bool.

    Args:
        region_xywh: What the input shows, as fractions of the frame; padding is outside of [0, 1].
        size_wh: The input's width and height.
    """
    x, y, width, height = region_xywh
    across, down = (
        (start + extent * (np.arange(count) + 0.5) / count)
        for start, extent, count in ((x, width, size_wh[0]), (y, height, size_wh[1]))
    )
    return np.outer((down > 0) & (down < 1), (across > 0) & (across < 1))


def dim(pixels: np.ndarray, heat: np.ndarray, is_image: np.ndarray) -> np.ndarray:
    """Multiplies each pixel by the map: the explanation map of Grad-CAM++ (Chattopadhay et al. 2018, section 4.1).

    The paper is arXiv:1710.11063. The result is black where the map is zero, and unchanged where it has its maximum.

    Args:
        pixels: (h, w, 3) uint8.
        heat: (h, w) float32 in [0, 1].
        is_image: (h, w) bool; other pixels are not changed.

    Returns:
        (h, w, 3) uint8.
    """
    weights = np.where(is_image, heat, 1)[..., np.newaxis]
    return np.rint(pixels * weights).astype(np.uint8)


def drop_percent(confidence: float, dimmed_confidence: float) -> float:
    """Returns the drop of one image: 100 max(0, Y - O) / Y (Chattopadhay et al. 2018, section 4.1).

    Args:
        confidence: Y, of the explained class on the whole image.
        dimmed_confidence: O, of the same class on the result of ``dim``.

    Returns:
        In [0, 100]; low is good: the map keeps what the network needs.
    """
    return 100 * max(0.0, confidence - dimmed_confidence) / confidence if confidence > 0 else 0.0


def hottest_first(heat: np.ndarray, is_image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the image's pixels from hottest to coldest.

    Args:
        heat: (h, w) float32.
        is_image: (h, w) bool.
        rng: Shuffles equally hot pixels, which would otherwise come from top left to bottom right.

    Returns:
        (n,) indices into the flattened input.
    """
    shuffled = rng.permutation(np.flatnonzero(is_image))
    return shuffled[np.argsort(-heat.reshape(-1)[shuffled], kind="stable")]


def exchange_pixels(start: np.ndarray, finish: np.ndarray, order: np.ndarray, step_count: int) -> Iterator[np.ndarray]:
    """Turns one image into another, pixel by pixel (Petsiuk et al. 2018, arXiv:1806.07421).

    Deletion goes from the image to a constant color, insertion from the blurred image to the image.

    Args:
        start: (h, w, 3) uint8.
        finish: (h, w, 3) uint8.
        order: (n,) indices into the flattened image; the pixels to exchange, in this order.
        step_count: Number of steps, equal in size to within one pixel.

    Yields:
        step_count + 1 images, (h, w, 3) uint8, ``start`` first; each is valid until the next one.
    """
    current = start.copy()
    pixels, finished = current.reshape(-1, 3), finish.reshape(-1, 3)
    yield current
    for indices in np.array_split(order, step_count):
        pixels[indices] = finished[indices]
        yield current


def delete(pixels: np.ndarray, is_image: np.ndarray) -> np.ndarray:
    """Returns the end of deletion: the image replaced by ``DELETED_COLOR_BGR``, (h, w, 3) uint8."""
    return np.where(is_image[..., np.newaxis], np.array(DELETED_COLOR_BGR, np.uint8), pixels)


def blur(pixels: np.ndarray, is_image: np.ndarray) -> np.ndarray:
    """Returns the start of insertion: the image without its details, (h, w, 3) uint8.

    The blur is Gaussian, with a standard deviation of ``BLUR_DEVIATION_SHARE`` of the shorter side; the image is
    mirrored at its edges.
    """
    rows, columns = np.flatnonzero(is_image.any(axis=1)), np.flatnonzero(is_image.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result = pixels.copy()
    deviation = BLUR_DEVIATION_SHARE * min(pixels.shape[:2])
    result[area] = cv2.GaussianBlur(pixels[area], (0, 0), deviation, borderType=cv2.BORDER_REFLECT)
    return result


def area_under(curve: np.ndarray) -> float:
    """Returns the area under a curve of evenly spaced values over [0, 1], by the trapezoid rule.

    For deletion low is good, for insertion high is good (Petsiuk et al. 2018).
    """
    return float((curve[:-1] + curve[1:]).sum() / 2 / (len(curve) - 1))


def boxes_on_input(
    boxes_xyxy: np.ndarray, region_xywh: tuple[float, float, float, float], size_wh: tuple[int, int]
) -> np.ndarray:
    """Returns which part of each pixel of the input lies in a box.

    Args:
        boxes_xyxy: (n, 4) float: left, top, right, bottom, as fractions of the frame.
        region_xywh: What the input shows, as fractions of the frame.
        size_wh: The input's width and height.

    Returns:
        (h, w) float64 in [0, 1]. Of several boxes, the one that covers most of the pixel counts.
    """
    x, y, width, height = region_xywh
    cover = np.zeros(size_wh[::-1])
    for left, top, right, bottom in boxes_xyxy:
        across = _covered(size_wh[0], (left - x) / width, (right - x) / width)
        down = _covered(size_wh[1], (top - y) / height, (bottom - y) / height)
        cover = np.maximum(cover, np.outer(down, across))
    return cover


def _covered(pixel_count: int, start: float, end: float) -> np.ndarray:
    """Returns the part of each pixel between two positions, which are fractions of the axis."""
    edges = np.arange(pixel_count + 1)
    inside = np.clip(edges, start * pixel_count, end * pixel_count)
    return np.diff(inside)


def energy_inside(heat: np.ndarray, cover: np.ndarray) -> float:
    """Returns the score of the energy-based pointing game (Wang et al. 2020, section 4.3, arXiv:1910.01279).

    Args:
        heat: (h, w) float32, >= 0.
        cover: (h, w) in [0, 1], from ``boxes_on_input``.

    Returns:
        The part of the map's sum that lies in the boxes, in [0, 1], high is good; 0 for a map without any heat. Heat on
        padding counts as outside.
    """
    total = float(heat.sum(dtype=np.float64))
    return float((heat * cover).sum(dtype=np.float64)) / total if total > 0 else 0.0


def rank_correlation(trained: np.ndarray, randomized: np.ndarray) -> float:
    """Returns Spearman's rank correlation, by which Adebayo et al. (2018, arXiv:1810.03292) compare maps.

    Args:
        trained: (h, w) float32, the map of the trained network.
        randomized: (h, w) float32, the map of the same network with a random head.

    Returns:
        In [-1, 1]; equal values share their mean rank. 1: randomizing changed nothing, so the map does not depend on
        what the head learned. 0 if one of the maps is flat, 1 if both are.
    """
    ranks = [_mean_ranks(values.reshape(-1)) for values in (trained, randomized)]
    deviations = [values - values.mean() for values in ranks]
    lengths = [float(np.linalg.norm(values)) for values in deviations]
    if min(lengths) == 0:
        return float(max(lengths) == 0)
    return float(np.clip(deviations[0] @ deviations[1] / (lengths[0] * lengths[1]), -1, 1))


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)
    return (last_ranks - (counts - 1) / 2)[positions]
