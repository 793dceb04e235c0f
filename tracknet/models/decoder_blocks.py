"""Blocks of convolutions of which decoders on backbones are built."""

from __future__ import annotations

from math import gcd
from typing import Literal, NamedTuple

from torch import Tensor, nn

from tracknet.models.folding import Layers

Norm = Literal["bn", "gn"]
Activation = Literal["relu", "gelu"]

GROUPS = 32
"""Groups of a group normalisation, where they divide the channels."""


class BlockStyle(NamedTuple):
    """What the blocks of a decoder have in common.

    Attributes:
        norm: Batch or group normalisation.
        activation: What follows it.
        depthwise: Whether the 3x3 convolution is a depthwise one and a pointwise one.
        se_reduction: By how much squeeze-and-excitation narrows the channels; 0 for none.
        dropout: Share of the channels that is dropped in training.
    """

    norm: Norm = "bn"
    activation: Activation = "relu"
    depthwise: bool = False
    se_reduction: int = 0
    dropout: float = 0.0


def conv_block(channels_in: int, channels_out: int, style: BlockStyle | None = None) -> Layers:
    """Make a 3x3 convolution with what follows it.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        style: How the block is made.

    Returns:
        ``[B, channels_in, h, w] -> [B, channels_out, h, w]``.
    """
    style = style or BlockStyle()
    layers: list[nn.Module] = []
    if style.depthwise:
        layers += [
            nn.Conv2d(channels_in, channels_in, kernel_size=3, padding=1, groups=channels_in, bias=False),
            nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False),
        ]
    else:
        layers += [nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)]
    layers += [_norm(style.norm, channels_out), nn.GELU() if style.activation == "gelu" else nn.ReLU(True)]
    if style.se_reduction:
        layers.append(SqueezeExcitation(channels_out, style.se_reduction))
    if style.dropout:
        layers.append(nn.Dropout2d(style.dropout))
    return Layers(*layers)


class SqueezeExcitation(nn.Module):
    """Weigh the channels by what the whole picture holds (Hu et al., CVPR 2018).

    Args:
        channels: Channels, C.
        reduction: By how much they are narrowed in between.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, narrow, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, channels, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give ``[B, C, h, w] -> [B, C, h, w]``."""
        y: Tensor = x * self.weigh(x)
        return y


def _norm(kind: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "bn" else nn.GroupNorm(gcd(GROUPS, channels), channels)
