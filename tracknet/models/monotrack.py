"""The shuttle network of MonoTrack (Liu and Wang, 2022), in the form in which WASB compares it."""

from __future__ import annotations

from collections import OrderedDict

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.folding import Layers
from tracknet.models.imagenet import ImageNetInput
from tracknet.models.network import BackgroundMode, HeatmapNetwork, expect_no_ball


class MonoTrack(HeatmapNetwork):
    """TrackNetV2 at half the width, with a skip around each block and learnt upsampling.

    Liu and Wang, "MonoTrack: Shuttle trajectory reconstruction from monocular badminton video", CVPRW 2022;
    layers and names as in WASB's public code and checkpoints, colours normalised as for ImageNet inside.
    3 frames in, 3 heatmaps out: 2,903,171 parameters, 26.2 GMAC a forward at 288x512.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background; published without.
        width: Channels at full resolution, doubled with each level; published with 32.
    """

    stride = 8

    def __init__(
        self, frames: PositiveInt = 3, background: BackgroundMode = "none", width: PositiveInt = 32
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width = width
        c = width
        self.normalise = ImageNetInput(frames, background)
        self.inc = _Neck(self.in_channels, c)  # [B, C, H, W]
        self.down1 = _Down(c, 2 * c, depth=2)  # [B, 2C, H/2, W/2]
        self.down2 = _Down(2 * c, 4 * c, depth=3)  # [B, 4C, H/4, W/4]
        self.down3 = _Down(4 * c, 8 * c, depth=3)  # [B, 8C, H/8, W/8]
        self.up1 = _Up(8 * c, depth=3)
        self.up2 = _Up(4 * c, depth=2)
        self.up3 = _Up(2 * c, depth=2)
        last = nn.Conv2d(c, frames, kernel_size=1)
        expect_no_ball(last)
        self.outc = nn.Sequential(OrderedDict(conv=last))

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 8."""
        x1 = self.inc(self.normalise(x))
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        y = self.up1(self.down3(x3), x3)
        logits: Tensor = self.outc(self.up3(self.up2(y, x2), x1))
        return logits


class _Neck(nn.Module):
    """Two blocks of convolution, batch normalisation and ReLU, the first added to the second."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = Layers(*_layers(channels_in, channels_out, 0).values())
        self.conv2 = Layers(*_layers(channels_out, channels_out, 0).values())

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        total: Tensor = y + self.conv2(y)
        return total


class _Residual(nn.Module):
    """Some blocks of convolution, batch normalisation and ReLU, around a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels_in, channels_out, kernel_size=1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i in range(depth):
            layers |= _layers(channels_in if i == 0 else channels_out, channels_out, i)
        self.convs = Layers(layers)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.convs(x) + self.conv0(x)
        return total


class _Down(nn.Module):
    """Halve the size, then a residual block."""

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _Residual(channels_in, channels_out, depth))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.maxpool_conv(x)
        return found


class _Up(nn.Module):
    """Double the size and halve the channels, join the features of that size, then a residual block."""

    def __init__(self, channels_in: int, depth: int) -> None:
        super().__init__()
        half = channels_in // 2
        self.up = nn.ConvTranspose2d(channels_in, half, kernel_size=2, stride=2)
        self.conv = _Residual(2 * half, half, depth)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        found: Tensor = self.conv(torch.cat([skip, self.up(x)], dim=1))
        return found


def _layers(channels_in: int, channels_out: int, i: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        {
            f"conv{i}": nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
            f"bn{i}": nn.BatchNorm2d(channels_out),
            f"relu{i}": nn.ReLU(inplace=True),
        }
    )
