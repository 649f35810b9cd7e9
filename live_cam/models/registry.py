"""The models known by name, and the families of networks that are recognized by their layers.

A new model needs one row here and nothing else. Loading these tables loads no TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from live_cam.errors import unknown_name

BUNDLED = "bundled"
DOWNLOADED = "downloaded on first use"


@dataclass(frozen=True)
class ModelSpec:
    """Facts about a model that livecam needs before it builds the model.

    Attributes:
        name: What the user types; case, "-" and "_" do not matter.
        builder: The name of a function in ``keras.applications``, or a dotted path of module and function. It is called
            with ``weights="imagenet"`` or None, and ``input_shape=(height, width, 3)``.
        input_size: Side of the square input in pixels that the weights were trained on.
        preprocessing: A key of ``live_cam.preprocess.PREPROCESSINGS``; "raw" if the network normalizes by itself.
        target_layer: The last layer called whose output is a map of more than 1x1, which is the default target layer. A
            name that Keras numbered ("activation_17") is right for the first model of a process.
        labels: The name of a packaged list of class names.
        weights: ``BUNDLED`` or ``DOWNLOADED``.
        any_size: Whether the weights fit other input sizes too.
    """

    name: str
    builder: str
    input_size: int
    preprocessing: str
    target_layer: str
    labels: str = "imagenet"
    weights: str = DOWNLOADED
    any_size: bool = True

    @property
    def title(self) -> str:
        """The name as its authors write it: "MobileNetV2"."""
        return "EfficientNet-Lite0" if self.weights == BUNDLED else self.builder


_LITE0 = "live_cam.models.efficientnet_lite.efficientnet_lite0"

# fmt: off
_ROWS = (
    ModelSpec("efficientnet-lite0", _LITE0,              224, "lite",  "top_activation", weights=BUNDLED),
    ModelSpec("mobilenet",          "MobileNet",         224, "tf",    "conv_pw_13_relu"),
    ModelSpec("mobilenetv2",        "MobileNetV2",       224, "tf",    "out_relu"),
    ModelSpec("mobilenetv3small",   "MobileNetV3Small",  224, "raw",   "activation_17"),
    ModelSpec("mobilenetv3large",   "MobileNetV3Large",  224, "raw",   "activation_19"),
    ModelSpec("efficientnetb0",     "EfficientNetB0",    224, "raw",   "top_activation"),
    ModelSpec("efficientnetb1",     "EfficientNetB1",    240, "raw",   "top_activation"),
    ModelSpec("efficientnetb2",     "EfficientNetB2",    260, "raw",   "top_activation"),
    ModelSpec("efficientnetb3",     "EfficientNetB3",    300, "raw",   "top_activation"),
    ModelSpec("efficientnetb4",     "EfficientNetB4",    380, "raw",   "top_activation"),
    ModelSpec("efficientnetb5",     "EfficientNetB5",    456, "raw",   "top_activation"),
    ModelSpec("efficientnetb6",     "EfficientNetB6",    528, "raw",   "top_activation"),
    ModelSpec("efficientnetb7",     "EfficientNetB7",    600, "raw",   "top_activation"),
    ModelSpec("efficientnetv2b0",   "EfficientNetV2B0",  224, "raw",   "top_activation"),
    ModelSpec("efficientnetv2b1",   "EfficientNetV2B1",  240, "raw",   "top_activation"),
    ModelSpec("efficientnetv2b2",   "EfficientNetV2B2",  260, "raw",   "top_activation"),
    ModelSpec("efficientnetv2b3",   "EfficientNetV2B3",  300, "raw",   "top_activation"),
    ModelSpec("efficientnetv2s",    "EfficientNetV2S",   384, "raw",   "top_activation"),
    ModelSpec("efficientnetv2m",    "EfficientNetV2M",   480, "raw",   "top_activation"),
    ModelSpec("efficientnetv2l",    "EfficientNetV2L",   480, "raw",   "top_activation"),
    ModelSpec("resnet50",           "ResNet50",          224, "caffe", "conv5_block3_out"),
    ModelSpec("resnet101",          "ResNet101",         224, "caffe", "conv5_block3_out"),
    ModelSpec("resnet152",          "ResNet152",         224, "caffe", "conv5_block3_out"),
    ModelSpec("resnet50v2",         "ResNet50V2",        224, "tf",    "post_relu"),
    ModelSpec("resnet101v2",        "ResNet101V2",       224, "tf",    "post_relu"),
    ModelSpec("resnet152v2",        "ResNet152V2",       224, "tf",    "post_relu"),
    ModelSpec("densenet121",        "DenseNet121",       224, "torch", "relu"),
    ModelSpec("densenet169",        "DenseNet169",       224, "torch", "relu"),
    ModelSpec("densenet201",        "DenseNet201",       224, "torch", "relu"),
    ModelSpec("convnexttiny",       "ConvNeXtTiny",      224, "raw",   "convnext_tiny_stage_3_block_2_layer_scale"),
    ModelSpec("convnextsmall",      "ConvNeXtSmall",     224, "raw",   "convnext_small_stage_3_block_2_layer_scale"),
    ModelSpec("convnextbase",       "ConvNeXtBase",      224, "raw",   "convnext_base_stage_3_block_2_layer_scale"),
    ModelSpec("convnextlarge",      "ConvNeXtLarge",     224, "raw",   "convnext_large_stage_3_block_2_layer_scale"),
    ModelSpec("convnextxlarge",     "ConvNeXtXLarge",    224, "raw",   "convnext_xlarge_stage_3_block_2_layer_scale"),
    ModelSpec("xception",           "Xception",          299, "tf",    "block14_sepconv2_act"),
    ModelSpec("inceptionv3",        "InceptionV3",       299, "tf",    "mixed10"),
    ModelSpec("inceptionresnetv2",  "InceptionResNetV2", 299, "tf",    "conv_7b_ac"),
    ModelSpec("nasnetmobile",       "NASNetMobile",      224, "tf",    "activation_187"),
    ModelSpec("nasnetlarge",        "NASNetLarge",       331, "tf",    "activation_259"),
    # Flatten ties their dense layers to the size of the map.
    ModelSpec("vgg16",              "VGG16",             224, "caffe", "block5_pool", any_size=False),
    ModelSpec("vgg19",              "VGG19",             224, "caffe", "block5_pool", any_size=False),
)
# fmt: on

MODEL_SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in _ROWS}


def find_spec(name: str) -> ModelSpec:
    """Returns the row of a model.

    Args:
        name: What the user typed; "mobilenet_v2", "MobileNet-V2" and "MobileNetV2" mean the same.

    Raises:
        SettingError: There is no such model; the message names the nearest.
    """
    by_folded_name = {_folded(known): spec for known, spec in MODEL_SPECS.items()}
    if _folded(name) not in by_folded_name:
        raise unknown_name("model", name, MODEL_SPECS, more="...; livecam models lists all")
    return by_folded_name[_folded(name)]


def is_known(name: str) -> bool:
    """Returns whether ``find_spec`` finds a model of that name."""
    return _folded(name) in map(_folded, MODEL_SPECS)


@dataclass(frozen=True)
class Family:
    """A family of ``keras.applications`` that leaves the normalization to its user.

    Attributes:
        name: Its name in ``keras.applications``.
        layers: Names of layers that all its networks have, and that others do not have together.
        preprocessing: A key of ``live_cam.preprocess.PREPROCESSINGS``.
    """

    name: str
    layers: tuple[str, ...]
    preprocessing: str


# Families that normalize inside the network are missing: their normalizing layers are found first. The layers are early
# ones, because the end of a base network is often cut off.
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


def detect_family(layer_names: Iterable[str], network_names: Iterable[str]) -> Family | None:
    """Returns the family of a network, recognized by the names of its layers, else by its own name.

    Args:
        layer_names: Names of all its layers, including those of nested networks.
        network_names: Its own name and those of the networks nested in it.
    """
    known = set(layer_names)
    for family in FAMILIES:
        if known.issuperset(family.layers):
            return family
    # The longest name first: "mobilenetv2_1.00_224" begins with "mobilenet" too.
    by_length = sorted(FAMILIES, key=lambda family: -len(family.name))
    named = (family for family in by_length for name in network_names if _is_of_family(name, family))
    return next(named, None)


def _is_of_family(network_name: str, family: Family) -> bool:
    # Without the number of layers: "resnet50v2" belongs to ResNetV2.
    without_depth = re.sub(r"^([a-z]*net|vgg)\d+", r"\1", _folded(network_name))
    return without_depth.startswith(family.name.lower())


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
