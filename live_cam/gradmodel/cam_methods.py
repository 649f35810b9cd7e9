"""The class activation map methods: each computes a heatmap from activations and gradients.

A method is a pure function ``(activations, gradients) -> heatmap`` on tensors:

- activations: (h, w, channels) float32, the target layer's output for one frame.
- gradients: (h, w, channels) float32, the score's gradient with respect to the activations.
- heatmap: (h, w) float32, >= 0, not normalized.

To add one, write the function, name its paper, and add a line to ``CAM_METHODS``. TensorFlow and
OpenCV are imported inside the functions: the command line reads the table without loading them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    CamMethod: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1-2, arXiv:1610.02391).

    A channel's weight is the mean of its gradient over all places.
    """
    import tensorflow as tf

    weights = tf.reduce_mean(gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def grad_cam_plus_plus(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 10 and 19, arXiv:1710.11063).

    The score is exp(logit), as in the paper; the factor exp(logit), which is the same at every place, is left out.
    """
    import tensorflow as tf

    squares = gradients * gradients
    sums = tf.reduce_sum(activations, axis=(0, 1), keepdims=True)
    alphas = tf.math.divide_no_nan(squares, 2 * squares + sums * squares * gradients)
    weights = tf.reduce_sum(alphas * tf.nn.relu(gradients), axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def hires_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """HiResCAM (Draelos and Carin 2020, eq. 3, arXiv:2011.08891): weights each place by its own gradient."""
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(activations * gradients, axis=-1))


def x_grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """XGrad-CAM (Fu et al. 2020, eq. 8, arXiv:2008.02312).

    A channel's weight is the mean of its gradient, weighted by its activations.
    """
    import tensorflow as tf

    shares = tf.math.divide_no_nan(activations, tf.reduce_sum(activations, axis=(0, 1), keepdims=True))
    weights = tf.reduce_sum(shares * gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def layer_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """LayerCAM (Jiang et al. 2021, eq. 5-7, doi:10.1109/TIP.2021.3089943).

    Weights each place by its own gradient where that is positive.
    """
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(activations * tf.nn.relu(gradients), axis=-1))


def eigen_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Eigen-CAM (Muhammad and Yeasin 2020, eq. 2-3, arXiv:2008.00299). The map does not depend on the class.

    Projects the activations on their first right singular vector, which is found by power iteration on the smaller Gram
    matrix; each squaring of that matrix doubles the number of iterations. The sign of a singular vector is arbitrary;
    it is chosen so that the projection of the mean activation is positive.
    """
    import tensorflow as tf

    height, width, channels = activations.shape
    places = tf.reshape(activations, [height * width, channels])
    by_place = height * width <= channels
    gram = tf.matmul(places, places, transpose_b=True) if by_place else tf.matmul(places, places, transpose_a=True)
    for _ in range(_EIGEN_SQUARINGS):
        # Scaled every time, because the powers would overflow.
        gram = tf.math.divide_no_nan(gram, tf.reduce_max(tf.abs(gram)))
        gram = tf.matmul(gram, gram)
    mean = tf.reduce_mean(places, axis=0, keepdims=True)
    # A high power of the Gram matrix turns any vector towards the singular vector; the mean is a good start.
    start = tf.matmul(places, mean, transpose_b=True) if by_place else tf.transpose(mean)
    vector = tf.matmul(gram, start)
    if by_place:
        vector = tf.matmul(places, vector, transpose_a=True)
    vector = tf.math.divide_no_nan(vector, tf.sqrt(tf.reduce_sum(vector * vector)))
    projections = tf.matmul(places, vector) * tf.sign(tf.matmul(mean, vector))
    return tf.nn.relu(tf.reshape(projections, [height, width]))


def cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """CAM (Zhou et al. 2016, eq. 2, arXiv:1512.04150), for heads of average pooling and one dense layer.

    The weights of such a dense layer are the gradients summed over all places. Unlike in the paper, negative values are
    cut off.
    """
    import tensorflow as tf

    weights = tf.reduce_sum(gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def fuse(maps: list[tf.Tensor]) -> tf.Tensor:
    """Combines the maps of several layers, as in LayerCAM (Jiang et al. 2021, eq. 8-9).

    Each map m becomes ``tanh(2 m / max(m))``, so that the faint maps of shallow layers count as much as those of deep
    ones. All are enlarged to the size of the largest; the result is their maximum at each place, in [0, 1].
    """
    import tensorflow as tf

    size_hw = max((tuple(heatmap.shape) for heatmap in maps), key=lambda shape: shape[0] * shape[1])
    scaled = [tf.tanh(2 * tf.math.divide_no_nan(heatmap, tf.reduce_max(heatmap))) for heatmap in maps]
    enlarged = [tf.image.resize(heatmap[tf.newaxis, :, :, tf.newaxis], size_hw) for heatmap in scaled]
    return tf.reshape(tf.reduce_max(tf.concat(enlarged, axis=-1), axis=-1), size_hw)


def score_cam(
    activations: np.ndarray,
    size_wh: tuple[int, int],
    probability_of: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Score-CAM (Wang et al. 2020, eq. 4-6 and algorithm 1, arXiv:1910.01279).

    It needs no gradients, but a forward pass per channel. A channel's weight is the probability of the class for the
    image masked by that channel: its map, enlarged and stretched to [0, 1]. The paper takes the softmax over the
    channels' scores. For log probabilities that is each probability's share of their sum, by which the authors'
    code weights too. Channels whose map is constant are left out.

    Args:
        activations: (h, w, channels) float32, the target layer's output for the whole image.
        size_wh: Width and height of the network's input.
        probability_of: Returns the class's probability for the normalized image times a mask, (height, width) float32.

    Returns:
        (h, w) float32, >= 0.
    """
    import cv2
    import numpy as np

    weights = np.zeros(activations.shape[-1], np.float32)
    for channel in range(activations.shape[-1]):
        # Stretched after it was enlarged, as in eq. 6: an enlarged map need not reach its extremes.
        enlarged = cv2.resize(activations[..., channel], size_wh, interpolation=cv2.INTER_LINEAR)
        spread = float(np.ptp(enlarged))
        if spread > 0:
            weights[channel] = probability_of((enlarged - enlarged.min()) / spread)
    total = float(weights.sum())
    shares = weights / total if total > 0 else weights
    return np.maximum((activations * shares).sum(axis=-1), 0).astype(np.float32)


# 2 ** 7 = 128 power iterations: exact to 1e-4 if the second singular value is below 0.96 of the first.
_EIGEN_SQUARINGS = 7

# Not in the table below: ``score_cam`` needs further forward passes instead of gradients.
SCORE_CAM = "score-cam"

CAM_METHODS: dict[str, CamMethod] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hirescam": hires_cam,
    "xgrad-cam": x_grad_cam,
    "layercam": layer_cam,
    "eigen-cam": eigen_cam,
    "cam": cam,
}

# As their authors write them; a method that is missing here is shown by its name.
METHOD_TITLES = {
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "hirescam": "HiResCAM",
    "xgrad-cam": "XGrad-CAM",
    "layercam": "LayerCAM",
    "eigen-cam": "Eigen-CAM",
    "cam": "CAM",
    SCORE_CAM: "Score-CAM",
}

# Their maps do not depend on the gradients, so that subtracting a class's score would change nothing.
METHODS_WITHOUT_CONTRAST = {"eigen-cam", SCORE_CAM}
