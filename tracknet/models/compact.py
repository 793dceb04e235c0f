"""A network small enough to train on two CPU cores at 288x512."""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode, HeatmapNetwork

MEAN_LIGHT = 0.45
LIGHT = 0.25
MOTION = 0.08
"""Mean and spread of light in broadcast pictures, and spread of its difference from the background."""


class CompactTrackNet(HeatmapNetwork):
    """A U-Net that works at a quarter of the resolution and sees each frame by itself at the half one.

    What costs in a TrackNet is the full-resolution convolutions over all frames at once. Here a stem shared
    by all frames halves the picture, the window is then fused at a quarter of the resolution, where motion is
    found with a wide view, and a sub-pixel convolution (Shi et al., 2016) brings what it found back to each
    frame at half the resolution. A head, again shared by all frames, weighs it against the stem's own
    features: a slow, faint ball is seen there or nowhere. With ``concat`` the stem sees each frame beside its
    signed difference from the background, not the background again and again. At 288x512 with 8 frames:
    1.64 M parameters, 0.82 GMAC a frame.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        stem: Channels a frame in the stem and in the head.
        widths: Channels at 1/4, 1/8 and 1/16 of the resolution.
    """

    stride = 16

    def __init__(
        self,
        frames: PositiveInt = 8,
        background: BackgroundMode = "concat",
        stem: PositiveInt = 16,
        widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 96, 128),
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self._stem = stem
        self.widths = widths
        a, b, c = widths
        per_frame = {"none": 3, "subtract": 1, "subtract_concat": 4, "concat": 6}[background]
        self.stem = nn.Sequential(  # [B*L, stem, H/2, W/2]
            _conv(per_frame, stem, stride=2), _conv(stem, stem)
        )
        self.down1 = nn.Sequential(_conv(frames * stem, a, stride=2), _Residual(a))  # [B, a, H/4, W/4]
        self.down2 = nn.Sequential(_conv(a, b, stride=2), _Residual(b))  # [B, b, H/8, W/8]
        self.down3 = nn.Sequential(_conv(b, c, stride=2), _Residual(c), _Residual(c))  # [B, c, H/16, W/16]
        self.up2 = nn.Sequential(_conv(c + b, b), _Residual(b))
        self.up1 = nn.Sequential(_conv(b + a, a), _Residual(a))
        self.context = nn.Conv2d(a, frames * 4 * stem, kernel_size=1, bias=False)  # 2x2 cells of each frame
        self.detail = nn.Conv2d(stem, stem, kernel_size=3, padding=1, bias=False)
        self.fused = nn.Sequential(nn.BatchNorm2d(stem), nn.ReLU(inplace=True))
        self.predictor = nn.Conv2d(stem, 1, kernel_size=1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        # A ball covers some 5 of 36,864 cells: start where nearly every cell says no.
        nn.init.constant_(self.predictor.bias, -5.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H/2, W/2]``; H and W divisible by 16."""
        batch, _, height, width = x.shape
        half = (height // 2, width // 2)
        stem = self.stem(self._by_frame(x))  # [B*L, stem, H/2, W/2]
        y1 = self.down1(_channels_last(stem.reshape(batch, -1, *half)))
        y2 = self.down2(y1)
        y3 = self.down3(y2)
        y2 = self.up2(torch.cat([self.upsample(y3), y2], dim=1))
        y1 = self.up1(torch.cat([self.upsample(y2), y1], dim=1))
        y = self.fused(self.detail(stem) + self._to_frames(self.context(y1)))
        logits: Tensor = self.predictor(y)
        return logits.reshape(batch, self.frames, *half)

    def _to_frames(self, x: Tensor) -> Tensor:
        """Give each frame its cells at twice the resolution: ``[B, L*4*C, h, w] -> [B*L, C, 2h, 2w]``.

        The channels hold frame, row, column and C in this order: C then stays innermost in channels_last.
        """
        batch, _, height, width = x.shape
        cells = x.permute(0, 2, 3, 1).reshape(batch, height, width, self.frames, 2, 2, -1)
        cells = cells.permute(0, 3, 1, 4, 2, 5, 6)  # [B, L, h, 2, w, 2, C]
        return cells.reshape(batch * self.frames, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)

    def _by_frame(self, x: Tensor) -> Tensor:
        """Give each frame its own channels, of like size: ``[B, C_in, H, W] -> [B*L, C, H, W]``.

        A passing ball changes a pixel by a tenth of what separates light from dark; unscaled, the first
        layers take long to notice it.
        """
        batch, _, height, width = x.shape
        if self.background == "concat":
            background, frames = x[:, None, :3], x[:, 3:].reshape(batch, self.frames, 3, height, width)
            parts = [(frames - MEAN_LIGHT) / LIGHT, (frames - background) / MOTION]
            return _channels_last(torch.cat(parts, dim=2).flatten(0, 1))
        y = x.reshape(batch * self.frames, -1, height, width)
        if self.background == "none":
            return _channels_last((y - MEAN_LIGHT) / LIGHT)
        difference = y[:, -1:] / MOTION
        if self.background == "subtract":
            return _channels_last(difference)
        return _channels_last(torch.cat([(y[:, :3] - MEAN_LIGHT) / LIGHT, difference], dim=1))


class _Residual(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = _conv(channels, channels)
        self.conv_2 = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x + self.conv_2(self.conv_1(x)))


def _conv(channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _channels_last(x: Tensor) -> Tensor:
    # 3x3 convolutions run two to four times faster in this format, and reshaping loses it.
    return x.contiguous(memory_format=torch.channels_last)
