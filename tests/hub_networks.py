"""Small KerasHub classifiers with random weights, one for each kind of backbone, for images of 64x64 pixels."""

from __future__ import annotations

import keras_hub
from keras_hub import models

SIZE = 64
CLASSES = 4
# Scale and offset of presets that were converted from timm; the three channels differ.
SCALE = (0.0171, 0.0175, 0.0174)
OFFSET = (-2.118, -2.036, -1.804)


def resnet(**options):
    return models.ResNetBackbone(
        **{
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 16],
            "stackwise_num_blocks": [1, 2],
            "stackwise_num_strides": [1, 2],
            "block_type": "basic_block",
            **options,
        }
    )


def efficientnet(**options):
    return models.EfficientNetBackbone(
        **{
            "stackwise_kernel_sizes": [3, 3, 5],
            "stackwise_num_repeats": [1, 1, 1],
            "stackwise_input_filters": [8, 8, 16],
            "stackwise_output_filters": [8, 16, 24],
            "stackwise_expansion_ratios": [1, 4, 4],
            "stackwise_squeeze_and_excite_ratios": [0.25, 0.25, 0.25],
            "stackwise_strides": [1, 2, 2],
            "stackwise_block_types": ["v1", "v1", "v1"],
            "stackwise_force_input_filters": [0, 0, 0],
            "stackwise_nores_option": [False, False, False],
            "width_coefficient": 1.0,
            "depth_coefficient": 1.0,
            **options,
        }
    )


def efficientnet_v2():
    return efficientnet(
        stackwise_block_types=["fused", "fused", "unfused"], stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.25]
    )


def efficientnet_lite():
    return efficientnet(
        stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.0], activation="relu6", include_stem_padding=True
    )


def mobilenet():
    return models.MobileNetBackbone(
        stackwise_expansion=[[16, 24], [32, 48]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[8, 8], [16, 16]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=32,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=8,
        image_shape=(None, None, 3),
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=24,
    )


def mobilenet_v5(**options):
    return models.MobileNetV5Backbone(
        **{
            "stackwise_block_types": [["er"], ["uir", "uir"]],
            "stackwise_num_blocks": [1, 2],
            "stackwise_num_filters": [[8], [16, 16]],
            "stackwise_strides": [[2], [2, 1]],
            "stackwise_act_layers": [["relu"], ["relu", "relu"]],
            "stackwise_exp_ratios": [[4.0], [6.0, 6.0]],
            "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
            "stackwise_dw_kernel_sizes": [[0], [5, 5]],
            "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
            "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
            "stackwise_exp_kernel_sizes": [[3], [0, 0]],
            "stackwise_pw_kernel_sizes": [[1], [0, 0]],
            "stackwise_num_heads": [[0], [0, 0]],
            "stackwise_key_dims": [[0], [0, 0]],
            "stackwise_value_dims": [[0], [0, 0]],
            "stackwise_kv_strides": [[0], [0, 0]],
            "stackwise_use_cpe": [[False], [False, False]],
            "use_msfa": False,
            **options,
        }
    )


def mobilenet_v5_with_attention():
    """As all presets of MobileNetV5 are: its last stage has attention between places."""
    return mobilenet_v5(
        stackwise_block_types=[["er"], ["uir", "mqa"]],
        stackwise_num_heads=[[0], [0, 2]],
        stackwise_key_dims=[[0], [0, 8]],
        stackwise_value_dims=[[0], [0, 8]],
        stackwise_kv_strides=[[0], [0, 1]],
    )


def densenet():
    return models.DenseNetBackbone(stackwise_num_repeats=[1, 2], growth_rate=8)


def vgg():
    return models.VGGBackbone(stackwise_num_repeats=[1, 1, 1], stackwise_num_filters=[8, 16, 16])


def xception():
    return models.XceptionBackbone(stackwise_conv_filters=[[8, 16], [24, 32]], stackwise_pooling=[True, False])


def cspnet(**options):
    return models.CSPNetBackbone(
        **{
            "stem_filters": 8,
            "stem_kernel_size": 3,
            "stem_strides": 1,
            "stem_padding": "same",
            "stackwise_depth": [1, 2],
            "stackwise_strides": [2, 2],
            "stackwise_num_filters": [16, 32],
            "bottle_ratio": [0.5, 1.0],
            "block_ratio": [1.0, 0.5],
            "expand_ratio": [2.0, 1.0],
            "block_type": "dark_block",
            "stage_type": "csp",
            "down_growth": True,
            **options,
        }
    )


def csp_resnet():
    return cspnet(
        block_type="bottleneck_block",
        stem_kernel_size=7,
        stem_strides=4,
        stem_padding="valid",
        stem_pooling="max",
        stackwise_strides=[1, 2],
        bottle_ratio=[0.5],
        block_ratio=[1.0],
        expand_ratio=[2.0],
        down_growth=False,
        cross_linear=True,
    )


def darknet():
    return cspnet(stage_type="dark", bottle_ratio=[0.5], block_ratio=[1.0], expand_ratio=[1.0], down_growth=False)


def hgnetv2():
    return models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[16, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(8, 8, 16, 1, 1, 3), (16, 8, 32, 1, 1, 3)],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, True],
        image_shape=(None, None, 3),
    )


def mit():
    return models.MiTBackbone(
        layerwise_depths=[1, 1],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        image_shape=(SIZE, SIZE, 3),
        hidden_dims=[8, 16],
    )


def vit():
    return models.ViTBackbone((SIZE, SIZE, 3), 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)


def deit():
    return models.DeiTBackbone((SIZE, SIZE, 3), 16, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32)


def swin():
    return models.SwinTransformerBackbone((SIZE, SIZE, 3), embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=4)


CONVOLUTIONAL = {
    "ResNet": resnet,
    "ResNetV2": lambda: resnet(use_pre_activation=True),
    "ResNet-vd": lambda: resnet(
        block_type="bottleneck_block_vd", input_conv_filters=[8, 8], input_conv_kernel_sizes=[3, 3]
    ),
    "EfficientNet": efficientnet,
    "EfficientNetV2": efficientnet_v2,
    "EfficientNet-Lite": efficientnet_lite,
    "MobileNetV3": mobilenet,
    "MobileNetV5 without attention": mobilenet_v5,
    "DenseNet": densenet,
    "VGG": vgg,
    "Xception": xception,
    "CSPDarkNet": cspnet,
    "CSPResNet": csp_resnet,
    "DarkNet": darknet,
    "HGNetV2": hgnetv2,
}
TRANSFORMERS = {
    "MobileNetV5": mobilenet_v5_with_attention,
    "MiT": mit,
    "ViT": vit,
    "DeiT": deit,
    "Swin": swin,
}


def preprocessor_of(**converter_options):
    """Returns a preprocessor that resizes to ``SIZE`` and applies ``SCALE`` and ``OFFSET``."""
    options = {"image_size": (SIZE, SIZE), "scale": SCALE, "offset": OFFSET, **converter_options}
    return models.ImageClassifierPreprocessor(keras_hub.layers.ImageConverter(**options))


def classifier(backbone, preprocessor=None, **options):
    """Returns the task that belongs to a backbone."""
    kinds = [
        kind
        for kind in vars(models).values()
        if isinstance(kind, type) and issubclass(kind, models.ImageClassifier) and kind.backbone_cls is type(backbone)
    ]
    return kinds[0](backbone=backbone, preprocessor=preprocessor, num_classes=CLASSES, **options)
