"""A loss of another package."""

from __future__ import annotations

from jsonargparse.typing import PositiveFloat
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from tracknet.training.losses import HeatmapLoss, Reduction


class SmoothL1Loss(HeatmapLoss):
    """Smooth L1 distance between probabilities and targets.

    Args:
        beta: Distance below which the loss is quadratic.
        reduction: See `HeatmapLoss`.
    """

    def __init__(self, beta: PositiveFloat = 0.1, reduction: Reduction = "pixel") -> None:
        super().__init__(reduction)
        self.beta = beta

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell, ``[B, L, h, w]``."""
        return smooth_l1_loss(logits.sigmoid(), target, reduction="none", beta=self.beta)
