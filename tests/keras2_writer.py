"""Writes model files with Keras 2, and what Keras 2 computes for an image. Run it in a process of its own.

``python keras2_writer.py FOLDER NAME...`` writes, for each name, NAME.h5, NAME.keras and NAME.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

SIZE = 64
IMAGE_RGB = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def base(name, **options):
    builder = getattr(keras.applications, name)
    return builder(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), **options)


def head():
    return [layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]


def called(parts, values):
    for part in parts:
        values = part(values)
    return values


def nested_sequential(network, head):
    return keras.Sequential([network, *head])


def nested_functional(network, head):
    inputs = layers.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, called(head, network(inputs, training=False)))


def operations_between(network, head):
    """Arithmetic between layers, which Keras 2 stores as layers that call TensorFlow."""
    inputs = layers.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, called(head, network(inputs / 127.5 - 1)))


def teachable_machine(network, head):
    """The layout of Teachable Machine: Sequential[Sequential[Functional, pooling], Sequential[Dense, Dense]]."""
    features = keras.Model(network.input, network.output, name="model1")
    first = keras.Sequential([features, head[0]], name="sequential_1")
    second = keras.Sequential([layers.Input((network.output_shape[-1],)), *head[1:]], name="sequential_3")
    return keras.Sequential([first, second], name="sequential_4")


def small():
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(12, 3, strides=2, activation="relu", name="last"),
        ]
    )


def flat(network, head):
    return keras.Sequential([layers.Input((SIZE, SIZE, 3)), *network.layers, *head])


def unit(pixels):
    return pixels / 255


def unchanged(pixels):
    return pixels


def mobilenet_v2():
    return base("MobileNetV2", alpha=0.35)


APPLICATIONS = keras.applications
# The wrapping, the network, and the preprocessing it was made for.
MODELS = {
    "cnn": (flat, small, unit),
    "sequential": (
        nested_sequential,
        mobilenet_v2,
        APPLICATIONS.mobilenet_v2.preprocess_input,
    ),
    "functional": (
        nested_functional,
        mobilenet_v2,
        APPLICATIONS.mobilenet_v2.preprocess_input,
    ),
    "machine": (teachable_machine, mobilenet_v2, APPLICATIONS.mobilenet_v2.preprocess_input),
    "operations": (operations_between, mobilenet_v2, unchanged),
    "mobilenet": (nested_functional, lambda: base("MobileNet", alpha=0.25), APPLICATIONS.mobilenet.preprocess_input),
    "resnet50": (nested_functional, lambda: base("ResNet50"), APPLICATIONS.resnet50.preprocess_input),
    "efficientnetb0": (nested_sequential, lambda: base("EfficientNetB0"), APPLICATIONS.efficientnet.preprocess_input),
}


def grad_cam(network, head, values, class_index):
    """Grad-CAM of a class's logit at the network's last map, computed eagerly; (h, w) float32."""
    activations = network(values, training=False)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        dense = head[-1]
        logits = called(head[:-1], activations) @ dense.kernel + dense.bias
        score = logits[0, class_index]
    weights = tf.reduce_mean(tape.gradient(score, activations), (0, 1, 2))
    return np.maximum((activations[0] @ weights[:, tf.newaxis])[..., 0], 0)


def write(folder, name):
    keras.utils.set_random_seed(len(name))
    wrap, build, preprocess = MODELS[name]
    network, top = build(), head()
    if name == "machine":
        top.insert(1, layers.Dense(10, activation="relu"))
    model = wrap(network, top)
    # Random means and variances: with the initial ones, batch normalization would do nothing.
    random = np.random.default_rng(5)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape) / 10)
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.compile(loss="categorical_crossentropy")
    model.save(folder / f"{name}.h5")
    model.save(folder / f"{name}.keras")
    values = preprocess(IMAGE_RGB[np.newaxis].astype(np.float32))
    inner = values / 127.5 - 1 if wrap is operations_between else values
    heatmaps = np.stack([grad_cam(network, top, inner, class_index) for class_index in range(3)])
    np.savez(folder / f"{name}.npz", outputs=model(values, training=False)[0], heatmaps=heatmaps)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        write(Path(sys.argv[1]), name)
