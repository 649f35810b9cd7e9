"""Each method on a 2x2 map of two channels that can be computed by hand, and against its formula in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.gradmodel.cam_methods import CAM_METHODS

# Channel 0 is active on the left column, channel 1 at the bottom right.
ACTIVATIONS = np.array([[[1, 0], [0, 0]], [[1, 0], [0, 2]]], np.float32)
# Channel 0 raises the score everywhere; channel 1 lowers it at the top and raises it at the bottom right.
GRADIENTS = np.array([[[1, -1], [1, -1]], [[1, 0], [1, 1]]], np.float32)

BY_HAND = {
    # mean gradients: 1 and (-1 - 1 + 0 + 1) / 4 = -1/4; at the bottom right 2 * -1/4 is cut off
    "grad-cam": [[1, 0], [1, 0]],
    # sums of activations: 2 and 2. Channel 0: alpha = 1 / (2 + 2) = 1/4 at four places, weight 1.
    # Channel 1: relu leaves the bottom right, alpha = 1 / (2 + 2) = 1/4, weight 1/4: 2 * 1/4
    "grad-cam++": [[1, 0], [1, 0.5]],
    # place by place: 1 * 1, 0, 1 * 1, 2 * 1
    "hirescam": [[1, 0], [1, 2]],
    # gradients weighted by activations: channel 0 1/2 + 1/2 = 1, channel 1 1 * 1 = 1
    "xgrad-cam": [[1, 0], [1, 2]],
    # as HiResCAM: no gradient is negative where there are activations
    "layercam": [[1, 0], [1, 2]],
    # A^T A = [[2, 0], [0, 4]]: the first singular vector is channel 1, the projection its activations
    "eigen-cam": [[0, 0], [0, 2]],
    # summed gradients: 4 and -1
    "cam": [[4, 0], [4, 0]],
}


@pytest.mark.parametrize("method", CAM_METHODS)
def test_the_heatmap_equals_one_computed_by_hand(method):
    np.testing.assert_allclose(CAM_METHODS[method](ACTIVATIONS, GRADIENTS), BY_HAND[method], atol=1e-6)


def relu(values):
    return np.maximum(values, 0)


def grad_cam_plus_plus_in_numpy(a, g):
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = np.nan_to_num(g**2 / (2 * g**2 + a.sum((0, 1)) * g**3), posinf=0, neginf=0)
    return relu((a * (alpha * relu(g)).sum((0, 1))).sum(-1))


def eigen_cam_in_numpy(a, g):
    places = a.reshape(-1, a.shape[-1])
    vector = np.linalg.svd(places, full_matrices=False)[2][0]
    return relu((places @ vector * np.sign(places.mean(0) @ vector)).reshape(a.shape[:2]))


IN_NUMPY = {
    "grad-cam": lambda a, g: relu((a * g.mean((0, 1))).sum(-1)),
    "grad-cam++": grad_cam_plus_plus_in_numpy,
    "hirescam": lambda a, g: relu((a * g).sum(-1)),
    "xgrad-cam": lambda a, g: relu((a * (g * a / a.sum((0, 1))).sum((0, 1))).sum(-1)),
    "layercam": lambda a, g: relu((a * relu(g)).sum(-1)),
    "eigen-cam": eigen_cam_in_numpy,
    "cam": lambda a, g: relu((a * g.sum((0, 1))).sum(-1)),
}


@pytest.mark.parametrize("shape", [(7, 7, 60), (5, 8, 12)])
@pytest.mark.parametrize("method", CAM_METHODS)
def test_the_heatmap_equals_the_formula_in_numpy(method, shape):
    random = np.random.default_rng(4)
    activations = relu(random.normal(0.5, 1, shape))
    gradients = random.normal(0.05, 1, shape)
    heatmap = CAM_METHODS[method](activations.astype(np.float32), gradients.astype(np.float32)).numpy()
    expected = IN_NUMPY[method](activations, gradients)
    np.testing.assert_allclose(heatmap / expected.max(), expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize("method", CAM_METHODS)
def test_activations_of_zero_give_zeros_and_no_nan(method):
    zeros = np.zeros((3, 3, 4), np.float32)
    np.testing.assert_array_equal(CAM_METHODS[method](zeros, zeros), np.zeros((3, 3)))
