"""Score-CAM, computed by hand and by an independent loop over the Keras model."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from live_cam.errors import SettingError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.gradmodel.cam_methods import score_cam

LEFT_AND_RIGHT = np.array([[[1, 0, 5], [0, 3, 5]]], np.float32)  # 1x2, three channels; the third is constant


def test_a_heatmap_computed_by_hand():
    seen = []

    def probability_from_the_left_pixel(mask):
        seen.append(mask.tolist())
        return 0.75 if mask[0, 0] == 1 else 0.25

    heatmap = score_cam(LEFT_AND_RIGHT, (2, 1), probability_from_the_left_pixel)
    assert seen == [[[1, 0]], [[0, 1]]]  # the masks of the left and the right channel; none for the constant one
    np.testing.assert_allclose(heatmap, [[0.75 * 1, 0.25 * 3]])


def test_a_class_with_no_probability_under_any_mask_has_no_evidence():
    heatmap = score_cam(LEFT_AND_RIGHT, (2, 1), lambda mask: 0.0)
    np.testing.assert_array_equal(heatmap, [[0, 0]])


def small_network(head):
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(6, 5, strides=4, activation="relu", name="maps"),
            layers.GlobalAveragePooling2D(),
            head,
        ]
    )


def test_the_heatmap_equals_that_of_an_independent_loop_over_the_keras_model():
    model = small_network(layers.Dense(4, activation="softmax"))
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    heatmap = load_explainer(model, method="score-cam", preprocess="tf").explain(image, 2).heatmap

    normalized = image[np.newaxis, ..., ::-1] / 127.5 - 1
    maps = model.get_layer("maps")(normalized.astype(np.float32)).numpy()[0]
    weights = []
    for channel in range(6):
        enlarged = cv2.resize(maps[..., channel], (32, 32), interpolation=cv2.INTER_LINEAR)
        mask = (enlarged - enlarged.min()) / np.ptp(enlarged)
        weights.append(model((normalized * mask[..., np.newaxis]).astype(np.float32)).numpy()[0, 2])
    expected = np.maximum((maps * (np.array(weights) / np.sum(weights))).sum(-1), 0)
    np.testing.assert_allclose(heatmap / heatmap.max(), expected / expected.max(), atol=1e-4)


def test_a_model_that_returns_a_number_is_refused():
    explainer = load_explainer(small_network(layers.Dense(1)), method="score-cam")
    with pytest.raises(SettingError, match="score-cam needs probabilities"):
        explainer.explain(synthetic_image())


def test_several_top_maps_are_refused():
    with pytest.raises(SettingError, match="score-cam explains one class by one layer"):
        load_explainer(method="score-cam", top_maps=2)
