"""The U-Net that TrackNetV2, V3, V4 and V5 share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tracknet.models.folding import normalised
from tracknet.models.network import BackgroundMode, HeatmapNetwork


class UNet(HeatmapNetwork):
    """Three levels down, three up, skips between them; a subclass makes heatmaps of its features.

    The names of the layers are those of TrackNetV3's public checkpoints.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        width: Channels at full resolution, C; doubled with each level.
        channels_in: Channels of what `features` takes, where that is not the network's input itself.
        relu_first: Whether a convolution is followed by ReLU, then batch normalisation, not the reverse.
        upsampling: How the way up doubles the size; ``bilinear`` aligns corners.
    """

    stride = 8

    def __init__(
        self,
        frames: int,
        background: BackgroundMode,
        width: int,
        channels_in: int | None = None,
        relu_first: bool = False,
        upsampling: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width = width
        c = width

        def block(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
            # Named conv_1, conv_2, ... so that the keys are those of TrackNetV3's public checkpoints.
            layers = nn.Sequential()
            for i in range(depth):
                seen = channels_in if i == 0 else channels_out
                layers.add_module(f"conv_{i + 1}", ConvBlock(seen, channels_out, relu_first))
            return layers

        self.down_block_1 = block(channels_in or self.in_channels, c, 2)  # [B, C, H, W]
        self.down_block_2 = block(c, 2 * c, 2)  # [B, 2C, H/2, W/2]
        self.down_block_3 = block(2 * c, 4 * c, 3)  # [B, 4C, H/4, W/4]
        self.bottleneck = block(4 * c, 8 * c, 3)  # [B, 8C, H/8, W/8]
        self.up_block_1 = block(8 * c + 4 * c, 4 * c, 3)
        self.up_block_2 = block(4 * c + 2 * c, 2 * c, 2)
        self.up_block_3 = block(2 * c + c, c, 2)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(
            scale_factor=2, mode=upsampling, align_corners=True if upsampling == "bilinear" else None
        )

    def features(self, x: Tensor) -> Tensor:
        """Give the last features: ``[B, channels_in, H, W] -> [B, C, H, W]``; H and W divisible by 8."""
        x1 = self.down_block_1(x)
        x2 = self.down_block_2(self.pool(x1))
        x3 = self.down_block_3(self.pool(x2))
        y = self.bottleneck(self.pool(x3))
        y = self.up_block_1(torch.cat([self.upsample(y), x3], dim=1))
        y = self.up_block_2(torch.cat([self.upsample(y), x2], dim=1))
        found: Tensor = self.up_block_3(torch.cat([self.upsample(y), x1], dim=1))
        return found


class ConvBlock(nn.Module):
    """Conv 3x3 without bias, batch normalisation, ReLU; or the last two in the other order.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        relu_first: Whether ReLU comes before batch normalisation.
    """

    def __init__(self, channels_in: int, channels_out: int, relu_first: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        self.relu_first = relu_first

    def forward(self, x: Tensor) -> Tensor:
        """Give ``[B, channels_in, H, W] -> [B, channels_out, H, W]``."""
        if self.relu_first:
            y: Tensor = self.bn(nn.functional.relu(self.conv(x), inplace=True))
            return y
        return nn.functional.relu(normalised(self.conv, self.bn, x), inplace=True)
