"""Networks known by their layers, whatever they are nested in and whatever head they have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A family of ``keras.applications`` that leaves the normalization to its user.

    Attributes:
        name: As in ``keras.applications``.
        layers: Names that its networks have, all of them, and others do not.
        preprocessing: A key of `live_cam.preprocess.PREPROCESSINGS`.
    """

    name: str
    layers: tuple[str, ...]
    preprocessing: str


# Those that normalize inside themselves are not here: their layers for that are found first. The first layers, not the
# last ones: a base is often cut.
FAMILIES = (
    Family("MobileNet", ("conv_dw_1", "conv_pw_1"), "tf"),
    Family("MobileNetV2", ("expanded_conv_depthwise", "expanded_conv_project"), "tf"),
    Family("ResNetV2", ("conv2_block1_preact_bn", "conv2_block1_out"), "tf"),
    Family("ResNet", ("conv2_block1_1_bn", "conv2_block1_out"), "caffe"),
    Family("DenseNet", ("conv2_block1_0_bn", "conv2_block1_concat"), "torch"),
    Family("Xception", ("block1_conv1_bn", "block2_sepconv1"), "tf"),
    Family("VGG", ("block1_conv2", "block1_pool", "block2_conv2"), "caffe"),
    Family("InceptionV3", ("mixed0", "mixed1"), "tf"),
    Family("InceptionResNetV2", ("mixed_5b", "block35_1_mixed"), "tf"),
    Family("NASNet", ("stem_conv1", "stem_bn1"), "tf"),
)


def family_of(layer_names: Iterable[str], network_names: Iterable[str]) -> Family | None:
    """The family of a network, by the names of its layers, else by its own.

    Args:
        layer_names: Of all its layers, those of nested networks too.
        network_names: Its own and those of the networks nested in it.
    """
    known = set(layer_names)
    for family in FAMILIES:
        if known.issuperset(family.layers):
            return family
    # The longest first: "mobilenetv2_1.00_224" begins with "mobilenet" too.
    by_length = sorted(FAMILIES, key=lambda one: -len(one.name))
    named = (one for one in by_length for name in network_names if _folded(name).startswith(one.name.lower()))
    return next(named, None)


def _folded(name: str) -> str:
    """Without the number of layers: "resnet50v2" is of ResNetV2."""
    return re.sub(r"^([a-z]*net|vgg)\d+", r"\1", name.lower().replace("_", "").replace("-", ""))
