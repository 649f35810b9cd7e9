"""The heatmap of a network that only knows a planted square peaks in the square, for all frame sizes and shapes."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from live_cam.explain.load import load_explainer

SIZE = 64
RED_BGR, BLUE_BGR = (40, 40, 220), (220, 40, 40)
FRAMES_WH = [(64, 64), (176, 144), (640, 360), (360, 640), (940, 400)]


def planted(random, width, height, color_bgr):
    """A noisy gray frame with a square, and the square as left, top, right, bottom."""
    frame = random.integers(90, 160, (height, width, 1)).repeat(3, axis=2).astype(np.uint8)
    side = int(min(width, height) * random.uniform(0.3, 0.4))
    left, top = random.integers(0, width - side + 1), random.integers(0, height - side + 1)
    frame[top : top + side, left : left + side] = color_bgr
    return frame, (left, top, left + side, top + side)


@pytest.fixture(scope="module")
def network():
    """Distinguishes red squares from blue ones; trained here in seconds."""
    keras.utils.set_random_seed(7)
    random = np.random.default_rng(7)
    labels = random.integers(0, 2, 600)
    shapes = [FRAMES_WH[index] for index in random.integers(0, len(FRAMES_WH), 600)]
    frames = [
        planted(random, *size_wh, (RED_BGR, BLUE_BGR)[label])[0] for size_wh, label in zip(shapes, labels, strict=True)
    ]
    images = np.stack([cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for frame in frames])
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(12, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images[..., ::-1].astype(np.float32), labels, epochs=8, batch_size=32, verbose=0)
    return model


def peak_xy(explanation, width, height):
    """The center of the hottest cell, in pixels of the frame."""
    left, top, region_width, region_height = explanation.region_xywh
    rows, columns = explanation.heatmap.shape
    row, column = np.unravel_index(explanation.heatmap.argmax(), explanation.heatmap.shape)
    return (
        (left + (column + 0.5) / columns * region_width) * width,
        (top + (row + 0.5) / rows * region_height) * height,
    )


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("size_wh", FRAMES_WH, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_peak_lies_inside_the_square(network, size_wh, fit):
    explainer = load_explainer(network, fit=fit)
    random = np.random.default_rng(11)
    hits = 0
    for number in range(60):
        frame, (left, top, right, bottom) = planted(random, *size_wh, (RED_BGR, BLUE_BGR)[number % 2])
        x, y = peak_xy(explainer.explain(frame, number % 2), *size_wh)
        hits += left <= x <= right and top <= y <= bottom
    assert hits >= 57  # 95 %
