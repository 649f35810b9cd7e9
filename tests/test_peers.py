"""The same heatmaps as two published libraries compute; how, and by how much, one of them departs from a paper.

tf-keras-vis 0.8.7 and xplique 2.0.2, on a network whose target layer has the size of the image, because xplique
enlarges every map with a bicubic kernel.
"""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.ndimage import zoom

from live_cam.explain.load import load_explainer

pytestmark = pytest.mark.slow

SIZE = 32
CLASS = 2
TOLERANCE = 1e-4


def network(head_activation=None, strides=1):
    """Two convolutions, so that the gradient differs from place to place behind the first."""
    keras.utils.set_random_seed(11)
    inputs = keras.Input((SIZE, SIZE, 3))
    values = layers.Conv2D(6, 3, strides=strides, padding="same", activation="relu", name="maps")(inputs)
    values = layers.Conv2D(8, 3, strides=2, activation="relu")(values)
    values = layers.GlobalAveragePooling2D()(values)
    return keras.Model(inputs, layers.Dense(4, activation=head_activation, name="head")(values))


@pytest.fixture(scope="module")
def image():
    """(32, 32, 3) uint8, BGR."""
    return np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pixels(image):
    """The image as the networks get it: (1, 32, 32, 3) float32, RGB, -1 to 1."""
    return image[np.newaxis, ..., ::-1].astype(np.float32) / 127.5 - 1


def our_map(model, image, method, score="logit"):
    explainer = load_explainer(model, method=method, layer="maps", preprocess="tf", score=score)
    return stretched(explainer.explain(image, CLASS).heatmap)


def tf_keras_vis_map(model, pixels, method):
    pytest.importorskip("tf_keras_vis", reason="tf-keras-vis is not installed")
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.layercam import Layercam
    from tf_keras_vis.scorecam import Scorecam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    makers = {"grad-cam": Gradcam, "grad-cam++": GradcamPlusPlus, "layercam": Layercam, "score-cam": Scorecam}
    explainer = makers[method](model, model_modifier=ReplaceToLinear(), clone=True)
    return stretched(explainer(CategoricalScore(CLASS), pixels, penultimate_layer="maps", expand_cam=False)[0])


def xplique_map(model, pixels, method):
    attributions = pytest.importorskip("xplique.attributions", reason="xplique is not installed")
    maker = {"grad-cam": attributions.GradCAM, "grad-cam++": attributions.GradCAMPP}[method]
    target = np.eye(4, dtype=np.float32)[[CLASS]]
    return stretched(np.asarray(maker(model, conv_layer="maps")(pixels, target))[0, ..., 0])


def stretched(heatmap):
    """Stretches a heatmap to [0, 1], as tf-keras-vis does."""
    heatmap = np.asarray(heatmap, np.float64)
    assert np.ptp(heatmap) > 0
    return (heatmap - heatmap.min()) / np.ptp(heatmap)


def activations_and_gradients(model, pixels):
    """Those of the layer "maps", (32, 32, 6) each, by a tape and layer by layer."""
    with tf.GradientTape() as tape:
        activations = model.get_layer("maps")(pixels)
        tape.watch(activations)
        values = activations
        for layer in model.layers[2:]:
            values = layer(values)
        score = values[0, CLASS]
    gradients = tape.gradient(score, activations)
    return activations.numpy()[0].astype(np.float64), gradients.numpy()[0].astype(np.float64)


def plus_plus(activations, gradients, part_of_sum=1.0, normalized=False):
    """Grad-CAM++ in numpy, with the departures of both libraries as options."""
    sums = part_of_sum * activations.sum(axis=(0, 1))
    denominators = 2 * gradients**2 + sums * gradients**3
    alphas = np.divide(gradients**2, denominators, out=np.zeros_like(gradients), where=denominators != 0)
    if normalized:
        totals = alphas.sum(axis=(0, 1))
        alphas /= np.where(totals == 0, 1, totals)
    weights = (alphas * np.maximum(gradients, 0)).sum(axis=(0, 1))
    return stretched(np.maximum((activations * weights).sum(axis=-1), 0))


def difference(heatmap, other):
    return np.abs(heatmap - other).max()


@pytest.mark.parametrize("method", ["grad-cam", "layercam", "score-cam"])
def test_tf_keras_vis_computes_the_same_heatmap(method, image, pixels):
    model = network("softmax")
    assert difference(our_map(model, image, method), tf_keras_vis_map(model, pixels, method)) <= TOLERANCE


def test_xplique_computes_the_same_grad_cam(image, pixels):
    model = network()
    assert difference(our_map(model, image, "grad-cam"), xplique_map(model, pixels, "grad-cam")) <= TOLERANCE


def test_xplique_explains_the_probability_of_a_softmax(image, pixels):
    """The paper takes the score before the softmax (section 3), as we do by default."""
    model = network("softmax")
    theirs = xplique_map(model, pixels, "grad-cam")
    assert difference(our_map(model, image, "grad-cam", score="probability"), theirs) <= TOLERANCE
    assert difference(our_map(model, image, "grad-cam"), theirs) > 0.3  # 0.38


def test_tf_keras_vis_divides_the_alphas_of_grad_cam_plus_plus_by_their_sum(image, pixels):
    """The paper does not (eq. 10 and 19), but the code of its authors does."""
    model = network()
    ours, tensors = our_map(model, image, "grad-cam++"), activations_and_gradients(model, pixels)
    theirs = tf_keras_vis_map(model, pixels, "grad-cam++")
    assert difference(ours, plus_plus(*tensors)) <= TOLERANCE
    assert difference(theirs, plus_plus(*tensors, normalized=True)) <= TOLERANCE
    assert difference(theirs, ours) > 0.01  # 0.016


def test_xplique_takes_the_mean_for_the_sum_in_grad_cam_plus_plus(image, pixels):
    """The paper sums the activations in the denominator of alpha (eq. 19)."""
    model = network()
    ours, tensors = our_map(model, image, "grad-cam++"), activations_and_gradients(model, pixels)
    theirs = xplique_map(model, pixels, "grad-cam++")
    assert difference(ours, plus_plus(*tensors)) <= TOLERANCE
    assert difference(theirs, plus_plus(*tensors, part_of_sum=1 / SIZE**2)) <= TOLERANCE
    assert difference(theirs, ours) > 0.01  # 0.012


def test_tf_keras_vis_enlarges_the_masks_of_score_cam_from_corner_to_corner(image, pixels):
    """The paper only says "upsample"; the code of its authors and ours align the centers of pixels."""
    model = network("softmax", strides=4)
    ours, theirs = our_map(model, image, "score-cam"), tf_keras_vis_map(model, pixels, "score-cam")
    from_corner_to_corner = score_cam_in_a_loop(model, pixels, lambda mask: zoom(mask, SIZE / len(mask), order=1))
    with_centers_in_place = score_cam_in_a_loop(model, pixels, lambda mask: cv2.resize(mask, (SIZE, SIZE)))
    assert difference(theirs, from_corner_to_corner) <= TOLERANCE
    assert difference(ours, with_centers_in_place) <= TOLERANCE
    assert difference(theirs, ours) > 0.001


def score_cam_in_a_loop(model, pixels, enlarge):
    """Score-CAM in a loop, with a function that enlarges the masks."""
    maps = model.get_layer("maps")(pixels).numpy()[0]
    weights = []
    for channel in range(maps.shape[-1]):
        mask = enlarge(maps[..., channel])
        mask = (mask - mask.min()) / np.ptp(mask)
        weights.append(model(pixels * mask[..., np.newaxis]).numpy()[0, CLASS])
    return stretched(np.maximum((maps * weights).sum(axis=-1), 0))
