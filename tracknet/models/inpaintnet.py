"""Networks that fill the gaps of a trajectory: InpaintNet of TrackNetV3, and a smaller one that is better."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn


class TrajectoryNetwork(nn.Module, ABC):
    """A network from a trajectory with gaps to one without.

    Attributes:
        context: Steps on each side of a gap that it is given.
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


class ResidualInpaintNet(TrajectoryNetwork):
    """Corrects the cubic through the balls around a gap; positions are relative to those that are seen.

    InpaintNet must learn from scratch where on the screen a ball is; this network starts from a curve that
    is right for a free flight, and learns drag and hits. Dilated convolutions see both ends of a long gap.
    63,874 parameters with 64 channels. A new network gives the cubic itself.

    Args:
        channels: Channels of each layer.
    """

    context = 12
    _DILATIONS = (1, 1, 2, 4, 2, 1)
    _FEATURES = 10

    def __init__(self, channels: PositiveInt = 64) -> None:
        super().__init__()
        self.channels = channels
        sizes = [self._FEATURES] + [channels] * len(self._DILATIONS)
        self.layers = nn.ModuleList(
            nn.Conv1d(sizes[n], sizes[n + 1], kernel_size=3, padding=dilation, dilation=dilation)
            for n, dilation in enumerate(self._DILATIONS)
        )
        self.predictor = nn.Conv1d(channels, 2, kernel_size=1)
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)  # type: ignore[arg-type]

    def forward(self, xy: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        """Give a position for each step, see `TrajectoryNetwork.forward`."""
        known = seen & ~mask
        # In units of the height of a picture of 16:9, so that a speed is the same in all directions.
        unit = xy.new_tensor([16 / 9, 1.0])
        xy = xy.where(known.unsqueeze(2), xy.new_zeros(())) * unit
        line, cubic = _curves(xy, known)
        share = known.unsqueeze(2).to(xy)
        count = share.sum(dim=1, keepdim=True).clamp(min=1)
        middle = xy.sum(dim=1, keepdim=True) / count
        spread = ((xy - middle).square() * share).sum(dim=(1, 2), keepdim=True) / count
        spread = spread.sqrt().clamp(min=0.02)
        steps = torch.diff(cubic, dim=1, prepend=cubic[:, :1])
        features = [
            (cubic - middle) / spread,
            steps / spread * 4,
            (line - cubic) / spread * 2,
            cubic - 0.5,
            share,
            mask.unsqueeze(2).to(xy),
        ]
        y = torch.cat(features, dim=2).transpose(1, 2)  # [B, 10, L]
        for n, layer in enumerate(self.layers):
            z = nn.functional.leaky_relu(layer(y), 0.1)
            y = y + z if n else z
        correction: Tensor = self.predictor(y).transpose(1, 2) * spread * 0.5
        return (cubic + correction) / unit


def _curves(xy: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Fill unknown steps by the line between their neighbours, and by the cubic through two on each side.

    Where there is only one side the nearest known position stays. Where the second neighbour on a side is
    missing, or more than 4 steps beyond the first, the cubic is the line.
    """
    batch, length = known.shape
    at = torch.arange(length, device=xy.device).expand(batch, length)
    before = torch.where(known, at, -1).cummax(dim=1).values
    after = torch.where(known, at, length).flip(1).cummin(dim=1).values.flip(1)
    # The last known step strictly before each one, and the first strictly after.
    previous = nn.functional.pad(before[:, :-1], (1, 0), value=-1)
    following = nn.functional.pad(after[:, 1:], (0, 1), value=length)
    has_before, has_after = before >= 0, after < length
    outer_before = previous.gather(1, before.clamp(min=0)).where(has_before, -1)
    outer_after = following.gather(1, after.clamp(max=length - 1)).where(has_after, length)

    def position(place: Tensor) -> Tensor:
        return xy.gather(1, place.clamp(0, length - 1).unsqueeze(2).expand(-1, -1, 2))

    start, stop = position(before), position(after)
    share = ((at - before) / (after - before).clamp(min=1)).unsqueeze(2)
    line = torch.where(
        (has_before & has_after).unsqueeze(2),
        start + share * (stop - start),
        torch.where(has_before.unsqueeze(2), start, stop),
    )
    near = (outer_before >= 0) & (before - outer_before <= 4)
    near &= (outer_after < length) & (outer_after - after <= 4)
    cubic = torch.zeros_like(xy)
    nodes = (outer_before, before, after, outer_after)
    for node in nodes:
        weight = torch.ones_like(share[..., 0])
        for other in nodes:
            if other is not node:
                between = (node - other).masked_fill(node == other, 1)
                weight = weight * (at - other) / between
        cubic = cubic + weight.unsqueeze(2) * position(node)
    line = torch.where(known.unsqueeze(2), xy, line)
    return line, torch.where((near & ~known).unsqueeze(2), cubic, line)


class _ConvBlock(nn.Module):
    """Conv 1-D of 3 steps, LeakyReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels_out, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.conv(x))
