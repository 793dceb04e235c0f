"""TrackNet (Huang et al., 2019), the first of the family."""

from __future__ import annotations

from typing import Literal

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.errors import UsageError
from tracknet.models.network import BackgroundMode, HeatmapNetwork

LEVELS = 256
"""Intensities that the last layer tells apart at each pixel, 0 to 255."""


class TrackNetV1(HeatmapNetwork):
    """The encoder and decoder of TrackNet: 3 frames in, one heatmap of the last frame out.

    Huang et al., "TrackNet: A Deep Learning Network for Tracking High-speed and Tiny Objects in Sports
    Applications", AVSS 2019. The encoder is that of VGG16, the decoder has no skips, and the last layer names
    one of 256 intensities at each pixel: 10,708,032 parameters, 183.8 GMAC a forward at 360x640.

    The published network is trained as a classifier of intensities (`GreyLevelLoss`) and its heatmap is the
    likeliest of them at each pixel, ``argmax_i z_i / 255``. That has no gradient; the *expected* intensity
    ``E = sum_i softmax(z)_i i / 255`` has one, so that every loss and target of this package can train it.
    The logit of E has a closed form, without a rounded probability in between:
    ``logsumexp_i(z_i + log i) - logsumexp_i(z_i + log(255 - i))``. The 256 channels and their weights are
    the published ones either way.

    The published ball is the only Hough circle of radius 2 to 7 px among the pixels from level 128 on, at
    the size of the video. Here a decoder takes that place: `ComponentDecoder` with ``select: box`` and
    ``centre: box`` gives the middle of the largest component of those pixels, also where there are several
    or none is round.

    Published weights see the newest frame first and blue before red; here the oldest is first and red before
    blue. One is the other backwards: flip the first convolution's weight along its input channels.

    Args:
        frames: Frames per window, L; the heatmap is that of the last one.
        background: What the network sees of the median background; published without.
        width: Channels at full resolution, doubled with each level; published with 64.
        reading: Which intensity the heatmap shows, the ``expected`` or (published) the ``likeliest``.
    """

    stride = 8

    log_light: Tensor
    log_dark: Tensor

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: BackgroundMode = "none",
        width: PositiveInt = 64,
        reading: Literal["expected", "likeliest"] = "expected",
    ) -> None:
        super().__init__(frames, background, outputs=1)
        self.width = width
        self.reading: Literal["expected", "likeliest"] = reading
        c = width
        self.down1 = _block(self.in_channels, c, 2)  # [B, C, H, W]
        self.down2 = _block(c, 2 * c, 2)  # [B, 2C, H/2, W/2]
        self.down3 = _block(2 * c, 4 * c, 3)  # [B, 4C, H/4, W/4]
        self.down4 = _block(4 * c, 8 * c, 3)  # [B, 8C, H/8, W/8]
        self.up1 = _block(8 * c, 4 * c, 3)
        self.up2 = _block(4 * c, 2 * c, 2)
        self.up3 = _block(2 * c, c, 2)
        self.levels = _block(c, LEVELS, 1)  # [B, 256, H, W]
        self.pool = nn.MaxPool2d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        intensity = torch.arange(LEVELS, dtype=torch.float32)[:, None, None]
        self.register_buffer("log_light", intensity.log(), persistent=False)  # [256, 1, 1], from -inf
        self.register_buffer("log_dark", intensity.flip(0).log(), persistent=False)
        # Start where nearly every pixel says 0: with the other levels at random, E is then about 0.01.
        last: nn.BatchNorm2d = self.levels[0][2]  # type: ignore[index]
        with torch.no_grad():
            last.bias[0] = 10.0

    def forward(self, x: Tensor) -> Tensor:
        """Give the heatmap of the last frame: ``[B, C_in, H, W] -> [B, 1, H, W]``; sides divisible by 8.

        Raises:
            UsageError: It is to learn from its likeliest intensity, which has no gradient.
        """
        if self.reading == "likeliest" and self.training and torch.is_grad_enabled():
            raise UsageError(
                "TrackNetV1: reading is 'likeliest', which has no gradient; train with GreyLevelLoss, or set "
                "reading to 'expected'"
            )
        return self.logit(self.intensities(x))

    def intensities(self, x: Tensor) -> Tensor:
        """Give the published output, logits of the 256 intensities: ``[B, C_in, H, W] -> [B, 256, H, W]``."""
        y = self.down1(x)
        y = self.down2(self.pool(y))
        y = self.down3(self.pool(y))
        y = self.down4(self.pool(y))
        y = self.up1(self.upsample(y))
        y = self.up2(self.upsample(y))
        levels: Tensor = self.levels(self.up3(self.upsample(y)))
        return levels

    def logit(self, levels: Tensor) -> Tensor:
        """Give the logit of the intensity that is read: ``[B, 256, H, W] -> [B, 1, H, W]``.

        Logits of the likeliest are those of half a level inside 0..1 at both ends, so that all are finite.
        """
        if self.reading == "likeliest":
            level = levels.argmax(dim=1, keepdim=True).to(levels.dtype)
            return (level / (LEVELS - 1)).logit(eps=0.5 / (LEVELS - 1))
        light = torch.logsumexp(levels + self.log_light, dim=1, keepdim=True)
        return light - torch.logsumexp(levels + self.log_dark, dim=1, keepdim=True)


def _block(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    block = nn.Sequential()
    for i in range(depth):
        block.append(
            nn.Sequential(
                nn.Conv2d(channels_in if i == 0 else channels_out, channels_out, kernel_size=3, padding=1),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(channels_out),
            )
        )
    return block
