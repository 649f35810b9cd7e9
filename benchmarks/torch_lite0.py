"""EfficientNet-Lite0 in PyTorch, with the bundled weights, for the peers that explain PyTorch models.

Tan & Le 2019, arXiv:1905.11946. The Lite variant has no squeeze-and-excite, ReLU6, and a stem and head of fixed width.
"""

from __future__ import annotations

import torch
from torch import nn

# Per stage: number of blocks, kernel size, stride of the first block, expansion, output channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BATCH_NORM = {"eps": 1e-3, "momentum": 0.01}


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: an odd pixel of padding goes to the right and the bottom."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Returns (n, channels, ceil(h / stride), ceil(w / stride)) for (n, channels, h, w)."""
        padding = []
        for side, kernel, stride in zip(values.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(nn.functional.pad(values, padding) if any(padding) else values)


class Block(nn.Module):
    """An inverted residual block. The attributes have the names of the weights file."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands, self.adds_input = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv(inputs, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, **_BATCH_NORM)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, **_BATCH_NORM)
        self._project_conv = SameConv(inner, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, **_BATCH_NORM)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Returns (n, outputs, h / stride, w / stride) for (n, inputs, h, w)."""
        inner = nn.functional.relu6(self._bn0(self._expand_conv(values))) if self.expands else values
        inner = nn.functional.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return inner + values if self.adds_input else inner


class EfficientNetLite0(nn.Module):
    """The classifier. ``top_activation`` is the target layer of the heatmaps."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, **_BATCH_NORM)
        blocks, channels = [], 32
        for count, kernel, stride, expansion, outputs in _STAGES:
            for number in range(count):
                blocks.append(Block(channels, outputs, kernel, 1 if number else stride, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, **_BATCH_NORM)
        self.top_activation = nn.ReLU6()
        self._fc = nn.Linear(1280, 1000)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns (n, 1000) logits for (n, 3, 224, 224) normalized RGB."""
        values = nn.functional.relu6(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            values = block(values)
        values = self.top_activation(self._bn1(self._conv_head(values)))
        return self._fc(values.mean((2, 3)))
