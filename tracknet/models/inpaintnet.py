"""InpaintNet of TrackNetV3 (Chen and Wang, 2023): fills gaps of a trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class TrajectoryNetwork(nn.Module, ABC):
    """A network from a trajectory with gaps to one without.

    Attributes:
        context: Steps on each side of a gap that it can make use of; more do not change what it gives.
    """

    context: int

    @abstractmethod
    def forward(self, xy: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        """Give a position for each step.

        Args:
            xy: Positions as shares of the width and height, ``[B, L, 2]``; those that are not seen, or are
                masked, are not looked at.
            seen: Whether the ball is seen, bool ``[B, L]``.
            mask: The steps to fill, bool ``[B, L]``.

        Returns:
            Positions as shares of the width and height, ``[B, L, 2]``; those of masked steps count.
        """


class InpaintNet(TrajectoryNetwork):
    """The rectification network of TrackNetV3: a U-Net along time without pooling, so that L is free.

    Chen and Wang, "TrackNetV3: Enhancing ShuttleCock Tracking with Augmentations and Trajectory
    Rectification", MMAsia 2023. The input holds x, y and the mask; x and y are 0 where there is nothing to
    see. 520,610 parameters; the names of the weights are those of the public checkpoints.
    """

    context = 9

    def __init__(self) -> None:
        super().__init__()
        self.down_1 = _ConvBlock(3, 32)  # [B, 32, L]
        self.down_2 = _ConvBlock(32, 64)
        self.down_3 = _ConvBlock(64, 128)
        self.buttleneck = nn.Sequential()  # sic, as in the public checkpoints
        self.buttleneck.add_module("conv_1", _ConvBlock(128, 256))
        self.buttleneck.add_module("conv_2", _ConvBlock(256, 256))
        self.up_1 = _ConvBlock(256 + 128, 128)
        self.up_2 = _ConvBlock(128 + 64, 64)
        self.up_3 = _ConvBlock(64 + 32, 32)
        self.predictor = nn.Conv1d(32, 2, kernel_size=3, padding=1)

    def forward(self, xy: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        """Give a position for each step, see `TrajectoryNetwork.forward`."""
        known = (seen & ~mask).unsqueeze(2)
        x = torch.cat([xy.where(known, xy.new_zeros(())), mask.unsqueeze(2).to(xy)], dim=2)
        x1 = self.down_1(x.transpose(1, 2))
        x2 = self.down_2(x1)
        x3 = self.down_3(x2)
        y = self.buttleneck(x3)
        y = self.up_1(torch.cat([y, x3], dim=1))
        y = self.up_2(torch.cat([y, x2], dim=1))
        y = self.up_3(torch.cat([y, x1], dim=1))
        return torch.sigmoid(self.predictor(y)).transpose(1, 2)


class _ConvBlock(nn.Module):
    """Conv 1-D of 3 steps, LeakyReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.conv(x))
