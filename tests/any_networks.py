"""Small classifiers of every kind: each structure with each head, for images of 32x32 pixels."""

from __future__ import annotations

from contextlib import contextmanager

import keras
from keras import layers

SIZE = 32
CLASSES = 4
# The last layer with a feature map, in every structure.
TARGET = "features"


def body():
    return [
        layers.Conv2D(8, 3, strides=2, activation="relu", name="first"),
        layers.Conv2D(12, 3, padding="same", activation="relu", name=TARGET),
    ]


def applied(parts, values):
    for part in parts:
        values = part(values)
    return values


def functional(head, size=(SIZE, SIZE), channels=3):
    inputs = keras.Input((*size, channels))
    return keras.Model(inputs, applied([*body(), layers.GlobalAveragePooling2D(), *head], inputs))


def sequential(head):
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body(), layers.GlobalAveragePooling2D(), *head])


def never_called(head):
    return keras.Sequential([*body(), layers.GlobalAveragePooling2D(), *head])


def base(inner=None):
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, applied(inner or body(), inputs), name="base")


def nested(head):
    inputs = keras.Input((SIZE, SIZE, 3))
    features = base()(layers.RandomFlip()(inputs))
    return keras.Model(inputs, applied([layers.GlobalAveragePooling2D(), layers.Dropout(0.3), *head], features))


def nested_twice(head):
    backbone = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), layers.Rescaling(1 / 127.5, offset=-1), base()], name="backbone"
    )
    return keras.Sequential([backbone, layers.GlobalAveragePooling2D(), *head])


def operations_inside(head):
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.applications.mobilenet_v2.preprocess_input(inputs)
    return keras.Model(inputs, applied([base(), layers.GlobalAveragePooling2D(), *head], values))


class Subclassed(keras.Model):
    def __init__(self, head):
        super().__init__()
        self.parts = [*body(), layers.GlobalAveragePooling2D(), *head]

    def call(self, images):
        return applied(self.parts, images)


@contextmanager
def policy(name):
    """Sets the dtype policy of layers that are created inside the ``with`` block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


WRAPPINGS = {
    "functional": functional,
    "sequential": sequential,
    "never called": never_called,
    "nested": nested,
    "nested twice": nested_twice,
    "operations inside": operations_inside,
    "subclassed": Subclassed,
}
HEADS = {
    "softmax": lambda: [layers.Dense(CLASSES, activation="softmax")],
    "separate softmax": lambda: [layers.Dense(CLASSES), layers.Softmax()],
    "separate activation": lambda: [layers.Dense(CLASSES), layers.Activation("softmax", dtype="float32")],
    "logits": lambda: [layers.Dense(CLASSES)],
    "binary": lambda: [layers.Dense(1, activation="sigmoid")],
    "sigmoid": lambda: [layers.Dense(CLASSES, activation="sigmoid")],
    "regression": lambda: [layers.Dense(1)],
}
