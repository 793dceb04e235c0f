"""TrackNetV2 (Sun et al., 2020) and, with a background mode, the tracking network of TrackNetV3."""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode, HeatmapNetwork


class TrackNetV2(HeatmapNetwork):
    """The U-Net of TrackNetV2: full-resolution heatmaps, one for each frame of the window.

    Sun et al., "TrackNetV2: Efficient Shuttlecock Tracking Network", ICPAI 2020; with ``frames=8`` and
    ``background="concat"`` it is the network of Chen and Wang, "TrackNetV3", MMAsia 2023. 3 frames without
    background: 11,330,307 parameters, 112 GMAC a forward at 288x512.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
    """

    stride = 8

    def __init__(self, frames: PositiveInt = 3, background: BackgroundMode = "none") -> None:
        super().__init__(frames, background, outputs=frames)
        self.down_block_1 = _block(self.in_channels, 64, 2)  # [B, 64, H, W]
        self.down_block_2 = _block(64, 128, 2)  # [B, 128, H/2, W/2]
        self.down_block_3 = _block(128, 256, 3)  # [B, 256, H/4, W/4]
        self.bottleneck = _block(256, 512, 3)  # [B, 512, H/8, W/8]
        self.up_block_1 = _block(512 + 256, 256, 3)
        self.up_block_2 = _block(256 + 128, 128, 2)
        self.up_block_3 = _block(128 + 64, 64, 2)
        self.predictor = nn.Conv2d(64, frames, kernel_size=1)
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 8."""
        x1 = self.down_block_1(x)
        x2 = self.down_block_2(self.pool(x1))
        x3 = self.down_block_3(self.pool(x2))
        y = self.bottleneck(self.pool(x3))
        y = self.up_block_1(torch.cat([self.upsample(y), x3], dim=1))
        y = self.up_block_2(torch.cat([self.upsample(y), x2], dim=1))
        y = self.up_block_3(torch.cat([self.upsample(y), x1], dim=1))
        logits: Tensor = self.predictor(y)
        return logits


class _ConvBlock(nn.Module):
    """Conv 3x3 without bias, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.bn(self.conv(x)), inplace=True)


def _block(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    # Named conv_1, conv_2, ... so that the keys are those of TrackNetV3's public checkpoints.
    block = nn.Sequential()
    for i in range(depth):
        block.add_module(f"conv_{i + 1}", _ConvBlock(channels_in if i == 0 else channels_out, channels_out))
    return block
