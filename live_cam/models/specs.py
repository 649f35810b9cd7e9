"""The models known by name. A new one needs a row here and nothing else; loading this table loads no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from live_cam.errors import unknown_name

DEFAULT_MODEL = "efficientnet-lite0"

BUNDLED = "bundled"
DOWNLOADED = "downloaded on first use"


@dataclass(frozen=True)
class ModelSpec:
    """What livecam must know of a model before it builds one.

    Attributes:
        name: As the user types it; case, "-" and "_" do not matter.
        builder: The function's name in ``keras.applications``, or module and function with dots. Called with
            ``weights="imagenet"`` or None and ``input_shape=(height, width, 3)``.
        input_size: Pixels a side of the square the weights were trained on.
        preprocessing: A key of `live_cam.preprocess.PREPROCESSINGS`. Raw: the network normalizes inside itself.
        target_layer: The last layer called whose output is a map of more than 1x1, the default for heatmaps. A name
            with a number that Keras counted up ("activation_17") is right for the first model of a process.
        labels: The name of a packaged list of classes.
        weights: `BUNDLED` or `DOWNLOADED`.
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
    """The row of the model that the user means.

    Args:
        name: As typed: "EfficientNet-Lite0", "mobilenet_v2" and "MobileNetV2" are all found.

    Raises:
        SettingError: There is no such model; the message names the nearest.
    """
    by_folded_name = {_folded(known): spec for known, spec in MODEL_SPECS.items()}
    if _folded(name) not in by_folded_name:
        raise unknown_name("model", name, MODEL_SPECS)
    return by_folded_name[_folded(name)]


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
