"""Crops of training windows, so that a step spends its time where a ball may be."""

from __future__ import annotations

from itertools import compress

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import Tensor, nn

from tracknet.errors import UsageError


class RandomCrop(nn.Module):
    """Cuts the same rectangle out of all frames of a training window.

    The networks are convolutional: trained on crops, they run on whole pictures. Most of a picture holds
    nothing to learn, so a share of the crops is placed to hold a ball of the window, anywhere in the crop;
    the others lie anywhere in the picture. Draws come from torch's default generator.

    Args:
        size: Height and width of the crops, divisible by 16.
        on_ball: Share of the windows with a ball whose crop is made to hold it.
        epochs: Epochs that train on crops; the later ones train on whole pictures, where balls are as rare as
            they are in tracking. Default all.
    """

    def __init__(
        self,
        size: tuple[PositiveInt, PositiveInt] = (160, 256),
        on_ball: ClosedUnitInterval = 0.7,
        epochs: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.size = (int(size[0]), int(size[1]))
        self.on_ball = on_ball
        self.epochs = epochs

    def lasts(self, epoch: int) -> bool:
        """Tell whether an epoch, from 0, trains on crops."""
        return self.epochs is None or epoch < self.epochs

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Crop a batch of windows.

        Args:
            batch: Of `WindowDataset`, at least ``frames``, ``xy`` and ``visible``.

        Returns:
            A new batch; a ball outside the crop is not visible, its frame stays labelled.

        Raises:
            UsageError: The crop is larger than the picture.
        """
        height, width = batch["frames"].shape[-2:]
        h, w = self.size
        if h > height or w > width:
            raise UsageError(f"RandomCrop: size {h}x{w} is larger than the input, {height}x{width}")
        # Four draws a window whatever is in it, so that settings do not shift the draws that follow.
        draws = torch.rand(len(batch["frames"]), 4).tolist()
        corners = [
            self._corner(list(compress(xy, visible)), (height, width), draw)
            for xy, visible, draw in zip(batch["xy"].tolist(), batch["visible"].tolist(), draws, strict=True)
        ]
        cropped = dict(batch)
        cropped["frames"] = _cut(batch["frames"], corners, self.size)
        if "background" in batch:
            cropped["background"] = _cut(batch["background"], corners, self.size)
        origin = batch["xy"].new_tensor([(left, top) for top, left in corners])
        xy = batch["xy"] - origin[:, None]
        inside = ((xy >= -0.5) & (xy < xy.new_tensor([w - 0.5, h - 0.5]))).all(dim=-1)
        cropped["xy"], cropped["visible"] = xy, batch["visible"] & inside
        return cropped

    def _corner(
        self, balls: list[list[float]], picture: tuple[int, int], draw: list[float]
    ) -> tuple[int, int]:
        """Draw the top and left edge of one crop."""
        chance, which, down, across = draw
        room = (picture[0] - self.size[0], picture[1] - self.size[1])
        if len(balls) == 0 or chance >= self.on_ball:
            return int(down * (room[0] + 1)), int(across * (room[1] + 1))
        x, y = balls[int(which * len(balls))]
        top = round(y - down * (self.size[0] - 1))
        left = round(x - across * (self.size[1] - 1))
        return min(max(top, 0), room[0]), min(max(left, 0), room[1])


def _cut(pictures: Tensor, corners: list[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    h, w = size
    cut = [p[..., top : top + h, left : left + w] for p, (top, left) in zip(pictures, corners, strict=True)]
    return torch.stack(cut)
