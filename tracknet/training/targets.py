"""Target heatmaps: what a network should answer for a ball at a given position.

All lengths are pixels of the network's input unless said otherwise, so that one setting means the same ball
on heatmaps of any stride. The centre of heatmap cell ``j`` lies at the input coordinate
``(j + 0.5) * W / w - 0.5``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat
from torch import Tensor, nn

from tracknet.data.geometry import resize_xy


class HeatmapTarget(nn.Module, ABC):
    """Draws one target heatmap a frame; a subclass says which shape the ball gets."""

    def forward(
        self, xy: Tensor, visible: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int]
    ) -> Tensor:
        """Draw the heatmaps of a batch of windows, on the device of ``xy``.

        Args:
            xy: Ball positions in input pixels, sub-pixel, ``[B, L, 2]``; anything (NaN too) where not
                visible.
            visible: Whether there is a ball, bool ``[B, L]``.
            input_size: Height and width of the network's input.
            heatmap_size: Height and width of the heatmaps, h and w.

        Returns:
            Heatmaps in 0..1, float32 ``[B, L, h, w]``; all zero where no ball is visible.
        """
        xy = xy.float().where(visible.unsqueeze(-1), 0.0)
        x, y = xy[..., 0, None], xy[..., 1, None]
        square_x = (_centres(input_size[1], heatmap_size[1], xy.device) - x).square_()
        square_y = (_centres(input_size[0], heatmap_size[0], xy.device) - y).square_()
        extent = xy.new_tensor([input_size[1], input_size[0]]) - 0.5
        inside = visible & ((xy >= -0.5) & (xy <= extent)).all(dim=-1)
        heatmaps = self.draw(square_x.unsqueeze(-2), square_y.unsqueeze(-1), inside[..., None, None])
        return heatmaps.mul_(visible[..., None, None].float())

    @abstractmethod
    def draw(self, square_x: Tensor, square_y: Tensor, inside: Tensor) -> Tensor:
        """Give the values of all cells, as if every ball were visible.

        Args:
            square_x: Squared horizontal distances between cell and ball, px^2, ``[B, L, 1, w]``.
            square_y: Squared vertical distances, px^2, ``[B, L, h, 1]``.
            inside: Whether a visible ball lies in the picture, bool ``[B, L, 1, 1]``.

        Returns:
            A new float32 tensor ``[B, L, h, w]``.
        """


class DiscTarget(HeatmapTarget):
    """Binary disc: 1 where the distance to the ball is at most the radius (TrackNetV2, TrackNetV3).

    ``y = 1 if d <= radius else 0``. On coarse heatmaps a disc can slip between the cell centres; the cell
    nearest to the ball (all of them on a tie) is then set, so that no visible ball is taught as absent.

    Args:
        radius: Radius of the disc in input pixels.

    Example:
        >>> disc = DiscTarget(radius=1.0)
        >>> disc(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[True]]), (2, 4), (2, 4))
        tensor([[[[1., 1., 1., 0.],
                  [0., 1., 0., 0.]]]])
    """

    def __init__(self, radius: PositiveFloat = 2.5) -> None:
        super().__init__()
        self.radius: float = radius

    def draw(self, square_x: Tensor, square_y: Tensor, inside: Tensor) -> Tensor:
        """Give the disc; arguments as in `HeatmapTarget.draw`."""
        reach = _reach(square_x, square_y, inside, self.radius)
        return (square_x + square_y).le_(reach)


class GaussianTarget(HeatmapTarget):
    """Gaussian of height 1: ``y = exp(-d^2 / (2 sigma^2))`` (TrackNet, 2019; most keypoint networks).

    Args:
        sigma: Standard deviation.
        unit: Whether sigma and d are pixels of the network's ``input`` or cells of the ``heatmap``, on which
            the ball is then round also where width and height are scaled by different factors.

    Example:
        >>> gaussian = GaussianTarget(sigma=2.0)
        >>> gaussian(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[True]]), (1, 4), (1, 4))
        tensor([[[[0.8825, 1.0000, 0.8825, 0.6065]]]])
    """

    def __init__(self, sigma: PositiveFloat = 2.5, unit: Literal["input", "heatmap"] = "input") -> None:
        super().__init__()
        self.sigma: float = sigma
        self.unit: Literal["input", "heatmap"] = unit

    def forward(
        self, xy: Tensor, visible: Tensor, input_size: tuple[int, int], heatmap_size: tuple[int, int]
    ) -> Tensor:
        """Draw the heatmaps of a batch of windows; arguments as in `HeatmapTarget.forward`."""
        if self.unit == "heatmap":
            xy, input_size = resize_xy(xy.float(), input_size, heatmap_size), heatmap_size
        return super().forward(xy, visible, input_size, heatmap_size)

    def draw(self, square_x: Tensor, square_y: Tensor, inside: Tensor) -> Tensor:
        """Give the Gaussian; arguments as in `HeatmapTarget.draw`."""
        factor = -0.5 / self.sigma**2
        return (square_x * factor).exp() * (square_y * factor).exp()


class PeakTarget(HeatmapTarget):
    """Real-valued peak with a floor, cut off at a radius, in the manner of WASB (Tarashima et al., 2023).

    ``y = 1 - (1 - floor) (d / radius)^2 if d <= radius else 0``: 1 at the ball, ``floor`` at the radius. With
    floor 1 it is `DiscTarget`. As there, the cell nearest to a ball that slips between the cell centres is
    set, here to ``floor``. WASB's own code draws ``min(1, floor exp(1 - d^2 / radius^2))`` where that is at
    least 0.5, which agrees at the radius, is flat around the ball and ends a little beyond the radius.

    Args:
        radius: Radius of the peak in input pixels.
        floor: Value at the radius; WASB trains with 0.6 to 0.7.

    Example:
        >>> peak = PeakTarget(radius=2.0, floor=0.6)
        >>> peak(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[True]]), (1, 5), (1, 5))
        tensor([[[[0.9000, 1.0000, 0.9000, 0.6000, 0.0000]]]])
    """

    def __init__(self, radius: PositiveFloat = 2.5, floor: ClosedUnitInterval = 0.6) -> None:
        super().__init__()
        self.radius: float = radius
        self.floor: float = floor

    def draw(self, square_x: Tensor, square_y: Tensor, inside: Tensor) -> Tensor:
        """Give the peak; arguments as in `HeatmapTarget.draw`."""
        reach = _reach(square_x, square_y, inside, self.radius)
        square = square_x + square_y
        fall = (1.0 - self.floor) / self.radius**2
        return (1.0 - square * fall).clamp_(min=self.floor).masked_fill_(square > reach, 0.0)


def _centres(input_length: int, heatmap_length: int, device: torch.device) -> Tensor:
    """Input coordinates of the cell centres along one axis."""
    cells = torch.arange(heatmap_length, dtype=torch.float32, device=device)
    return (cells + 0.5) * (input_length / heatmap_length) - 0.5


def _reach(square_x: Tensor, square_y: Tensor, inside: Tensor, radius: float) -> Tensor:
    """Squared radius up to which cells are set, ``[B, L, 1, 1]``: a ball inside reaches its nearest cell."""
    nearest = square_x.amin(dim=-1, keepdim=True) + square_y.amin(dim=-2, keepdim=True)
    return torch.where(inside, nearest.clamp(min=radius**2), radius**2)
