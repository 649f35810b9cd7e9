"""The class activation map methods: each turns activations and gradients into one map.

A method is a pure function ``(activations, gradients) -> map`` on tensors:

- activations: (h, w, channels) float32, the target layer's output for one frame.
- gradients: (h, w, channels) float32, the score's gradient with respect to the activations.
- the map: (h, w) float32, >= 0, not normalized.

To add one, write the function with its paper and add a line to ``CAM_METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import tensorflow as tf

    CamMethod: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1-2, arXiv:1610.02391).

    A channel's weight is the mean of its gradient over the map.
    """
    import tensorflow as tf

    weights = tf.reduce_mean(gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def grad_cam_plus_plus(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 10 and 19, arXiv:1710.11063).

    The score is taken as exp(logit), as in the paper; the factor exp(logit), the same at every place, is left out.
    """
    import tensorflow as tf

    squares = gradients * gradients
    sums = tf.reduce_sum(activations, axis=(0, 1), keepdims=True)
    alphas = tf.math.divide_no_nan(squares, 2 * squares + sums * squares * gradients)
    weights = tf.reduce_sum(alphas * tf.nn.relu(gradients), axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def hires_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """HiResCAM (Draelos and Carin 2020, eq. 3, arXiv:2011.08891): each place by its own gradient."""
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(activations * gradients, axis=-1))


def x_grad_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """XGrad-CAM (Fu et al. 2020, eq. 8, arXiv:2008.02312): gradients averaged by where the channel is active."""
    import tensorflow as tf

    shares = tf.math.divide_no_nan(activations, tf.reduce_sum(activations, axis=(0, 1), keepdims=True))
    weights = tf.reduce_sum(shares * gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def layer_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """LayerCAM (Jiang et al. 2021, eq. 5-7, doi:10.1109/TIP.2021.3089943): each place by its positive gradient."""
    import tensorflow as tf

    return tf.nn.relu(tf.reduce_sum(activations * tf.nn.relu(gradients), axis=-1))


def eigen_cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Eigen-CAM (Muhammad and Yeasin 2020, eq. 2-3, arXiv:2008.00299); the same for every class.

    The activations projected on their first right singular vector. Found by squaring the smaller Gram matrix: each
    squaring doubles the number of power iterations. A singular vector has no sign of its own; here the mean
    activation's projection is positive.
    """
    import tensorflow as tf

    height, width, channels = activations.shape
    places = tf.reshape(activations, [height * width, channels])
    by_place = height * width <= channels
    gram = tf.matmul(places, places, transpose_b=True) if by_place else tf.matmul(places, places, transpose_a=True)
    for _ in range(_EIGEN_SQUARINGS):
        # Scaled each time, or the powers overflow.
        gram = tf.math.divide_no_nan(gram, tf.reduce_max(tf.abs(gram)))
        gram = tf.matmul(gram, gram)
    mean = tf.reduce_mean(places, axis=0, keepdims=True)
    # What the power of the Gram matrix makes of any vector is the singular vector; the mean is never far from it.
    start = tf.matmul(places, mean, transpose_b=True) if by_place else tf.transpose(mean)
    vector = tf.matmul(gram, start)
    if by_place:
        vector = tf.matmul(places, vector, transpose_a=True)
    vector = tf.math.divide_no_nan(vector, tf.sqrt(tf.reduce_sum(vector * vector)))
    projections = tf.matmul(places, vector) * tf.sign(tf.matmul(mean, vector))
    return tf.nn.relu(tf.reshape(projections, [height, width]))


def cam(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """CAM (Zhou et al. 2016, eq. 2, arXiv:1512.04150), for heads of average pooling and one dense layer.

    There the dense layer's weights are the gradients summed over the places. Negative evidence is cut off.
    """
    import tensorflow as tf

    weights = tf.reduce_sum(gradients, axis=(0, 1))
    return tf.nn.relu(tf.reduce_sum(activations * weights, axis=-1))


def fused(maps: list[tf.Tensor]) -> tf.Tensor:
    """Maps of several layers as one, as LayerCAM's authors fuse them (Jiang et al. 2021, eq. 8-9).

    Each is scaled by ``tanh(2 m / max(m))``, so that shallow layers, whose maps are faint, count as much as deep ones;
    then the largest value at each place counts. The result is of the largest map's size and in [0, 1].
    """
    import tensorflow as tf

    size_hw = max((tuple(one.shape) for one in maps), key=lambda shape: shape[0] * shape[1])
    scaled = [tf.tanh(2 * tf.math.divide_no_nan(one, tf.reduce_max(one))) for one in maps]
    enlarged = [tf.image.resize(one[tf.newaxis, :, :, tf.newaxis], size_hw) for one in scaled]
    return tf.reshape(tf.reduce_max(tf.concat(enlarged, axis=-1), axis=-1), size_hw)


# 2 ** 7 = 128 power iterations: exact to 1e-4 where the second singular value is below 0.96 of the first.
_EIGEN_SQUARINGS = 7

# Not a function of activations and gradients: see ``live_cam.scorecam``. Its pass gives the activations themselves.
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
