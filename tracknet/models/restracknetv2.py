"""ResTrackNetV2: TrackNetV2 of residual bottlenecks, in the form in which WASB compares it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.folding import Layers
from tracknet.models.imagenet import ImageNetInput
from tracknet.models.network import BackgroundMode, HeatmapNetwork, expect_no_ball

NECK = 64
BLOCKS = (3, 3, 4, 3)
"""Channels at both ends, and residual blocks at 1/2, 1/4, 1/8 and 1/16 of the resolution."""


class ResTrackNetV2(HeatmapNetwork):
    """A U-Net of pre-activated residual bottlenecks, four levels deep: a tenth of TrackNetV2's parameters.

    By C.-C. Chang ("TrackNet-Badminton-Tracking-tensorflow2"); layers and names as in the public code and
    checkpoints of WASB (Tarashima et al., 2023), colours normalised as for ImageNet inside. 3 frames in,
    3 heatmaps out: 1,210,451 parameters, 15.95 GMAC a forward at 288x512.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background; published without.
        width: Channels at half the resolution, doubled with each level; published with 16.
    """

    stride = 16

    def __init__(
        self, frames: PositiveInt = 3, background: BackgroundMode = "none", width: PositiveInt = 16
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width = width
        c = width
        self.normalise = ImageNetInput(frames, background)
        self.inc = _Neck(self.in_channels, NECK)  # [B, 64, H, W]
        self.down1 = _Down(NECK, c, BLOCKS[0])  # [B, C, H/2, W/2]
        self.down2 = _Down(c, 2 * c, BLOCKS[1])  # [B, 2C, H/4, W/4]
        self.down3 = _Down(2 * c, 4 * c, BLOCKS[2])  # [B, 4C, H/8, W/8]
        self.down4 = _Down(4 * c, 8 * c, BLOCKS[3])  # [B, 8C, H/16, W/16]
        self.up1 = _Up(8 * c, 4 * c, BLOCKS[2] - 1)
        self.up2 = _Up(4 * c, 2 * c, BLOCKS[1] - 1)
        self.up3 = _Up(2 * c, c, BLOCKS[0] - 1)
        self.up4 = _Double(c)  # [B, C, H, W]
        self.outc = _Head(c, frames)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 16."""
        x2 = self.down1(self.inc(self.normalise(x)))
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        y = self.up1(self.down4(x4), x4)
        y = self.up3(self.up2(y, x3), x2)
        logits: Tensor = self.outc(self.up4(y))
        return logits


class _Neck(nn.Module):
    """Two blocks of convolution, batch normalisation and ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = Layers(_conv3x3(channels_in, channels_out), *_bn_relu(channels_out))
        self.conv2 = Layers(_conv3x3(channels_out, channels_out), *_bn_relu(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv2(self.conv1(x))
        return found


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, each after batch normalisation and ReLU, around a skip."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv0: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.conv0 = Layers(
                nn.MaxPool2d(stride), _conv1x1(channels_in, channels_out), nn.BatchNorm2d(channels_out)
            )
        self.conv1 = Layers(
            *_bn_relu(channels_in),
            _conv1x1(channels_in, channels_out),
            *_bn_relu(channels_out),
            _conv3x3(channels_out, channels_out, stride),
            *_bn_relu(channels_out),
            _conv1x1(channels_out, channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.conv1(x) + self.conv0(x)
        return total


class _Double(nn.Module):
    """Double the size: a bottleneck with a transposed convolution, around a skip with nearest upsampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = Layers(
            nn.Upsample(scale_factor=2, mode="nearest"),
            _conv1x1(channels, channels),
            nn.BatchNorm2d(channels),
        )
        self.conv1 = Layers(
            *_bn_relu(channels),
            _conv1x1(channels, channels),
            *_bn_relu(channels),
            nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
            *_bn_relu(channels),
            _conv1x1(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.conv1(x) + self.conv0(x)
        return total


class _Down(nn.Module):
    """Some bottlenecks, the first of which halves the size."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        layers = {"block0": _Bottleneck(channels_in, channels_out, stride=2)}
        layers |= {f"block{i}": _Bottleneck(channels_out, channels_out) for i in range(1, blocks)}
        self.convs = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.convs(x)
        return found


class _Up(nn.Module):
    """Double the size, join the features of that size, then some bottlenecks."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.conv0 = _Double(channels_in)
        layers = {"block0": _Bottleneck(channels_in + channels_out, channels_out)}
        layers |= {f"block{i}": _Bottleneck(channels_out, channels_out) for i in range(1, blocks)}
        self.convs = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        found: Tensor = self.convs(torch.cat([skip, self.conv0(x)], dim=1))
        return found


class _Head(nn.Module):
    """Two blocks of convolution, batch normalisation and ReLU, and a 1x1 convolution to logits."""

    def __init__(self, channels_in: int, frames: int) -> None:
        super().__init__()
        last = _conv1x1(NECK, frames)
        expect_no_ball(last)
        self.convs = Layers(
            _conv3x3(channels_in, NECK), *_bn_relu(NECK), _conv3x3(NECK, NECK), *_bn_relu(NECK), last
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.convs(x)
        return logits


def _bn_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _conv1x1(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=1)


def _conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1)
