"""Losses between heatmap logits and target heatmaps.

With the logit ``x``, the probability ``p = sigmoid(x)`` and the target ``y`` in 0..1. Logarithms are taken
from the logits, ``log p = logsigmoid(x)`` and ``log(1 - p) = logsigmoid(-x)``, so that no probability has to
be clamped and a confident mistake keeps its gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

import torch
from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

from tracknet.errors import UsageError
from tracknet.models.network import HeatmapNetwork
from tracknet.models.tracknetv1 import LEVELS, TrackNetV1
from tracknet.training.settings import check_network

Reduction = Literal["pixel", "ball"]
"""Over what a loss is averaged: pixels, as the papers do, or frames."""


class HeatmapLoss(nn.Module, ABC):
    """A loss for each heatmap cell, averaged over the frames that count.

    Args:
        reduction: ``pixel``: mean over all cells of all counted frames, as published. ``ball``: sum over the
            cells of a frame, mean over the counted frames; the gradient of the tiny ball then does not shrink
            with the size of the heatmap (its values are h * w times larger, and so is a matching learning
            rate smaller).
    """

    def __init__(self, reduction: Reduction = "pixel") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, total: Tensor | None = None
    ) -> Tensor:
        """Give the loss of a batch of windows.

        Args:
            logits: Heatmap logits, float ``[B, L, h, w]``.
            target: Target heatmaps in 0..1, ``[B, L, h, w]``.
            weight: Weight of each frame, ``[B, L]``; 0 leaves a frame out, None counts all of them alike.
            total: Where this is a part of a batch, the sum of `frame_weights` of the whole batch; the losses
                of the parts then add up to the loss of the batch, and so do their gradients.

        Returns:
            ``sum(weight * loss) / (sum(weight) * h * w)``, or without ``h * w`` for ``ball``; a scalar, 0
            with a gradient of 0 when no frame counts.
        """
        frames = self.frame_loss(logits, target)
        weight = self.frame_weights(target, weight).to(frames.dtype)
        total = weight.sum() if total is None else total.to(frames.dtype)
        loss = (frames * weight).sum() / torch.where(total > 0, total, torch.ones_like(total))
        if self.reduction == "pixel":
            loss = loss / (logits.shape[-2] * logits.shape[-1])
        return loss

    def ask(self, network: HeatmapNetwork, x: Tensor) -> Tensor:
        """Ask the network for what this loss judges: its heatmap logits, unless a loss overrides it.

        Args:
            network: The network.
            x: What its `forward` takes.

        Returns:
            The answer, which this loss takes as its logits.
        """
        logits: Tensor = network(x)
        return logits

    def heatmap_logits(self, network: HeatmapNetwork, answer: Tensor) -> Tensor:
        """Give the heatmap logits ``[B, L, h, w]`` that an answer of `ask` stands for."""
        return answer

    def frame_weights(self, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Give what each frame weighs; a loss that leaves frames out by itself says so here.

        Args:
            target: Target heatmaps, ``[B, L, h, w]``.
            weight: As in `forward`.

        Returns:
            Weights, ``[B, L]``; `forward` divides by their sum.
        """
        return target.new_ones(target.shape[:2]) if weight is None else weight

    def frame_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each frame, the sum over its cells; arguments as in `cell_loss`.

        Returns:
            Losses, ``[B, L]``.
        """
        return self.cell_loss(logits, target).sum(dim=(-2, -1))

    @abstractmethod
    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell.

        Args:
            logits: Heatmap logits, ``[B, L, h, w]``.
            target: Target heatmaps in 0..1, ``[B, L, h, w]``.

        Returns:
            Losses, ``[B, L, h, w]``.
        """


class WBCELoss(HeatmapLoss):
    """Weighted binary cross-entropy of TrackNetV2 (Sun et al., 2020).

    ``-((1 - p)^2 y log p + p^2 (1 - y) log(1 - p))``: the focal loss with gamma 2 and no alpha. The published
    code clamps p at 1e-7; here a logit beyond +-16 goes on costing more instead.

    Args:
        reduction: ``pixel`` (published) or ``ball``, see `HeatmapLoss`.

    Example:
        >>> loss = WBCELoss()
        >>> loss(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))  # 0.25 log 2
        tensor(0.1733)
    """

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        log_p = logsigmoid(logits)
        log_q = log_p - logits  # log(1 - p): what it loses of a sure "no ball", p squared makes nothing of
        return -((2 * log_q).exp() * target * log_p + (2 * log_p).exp() * (1 - target) * log_q)


class FocalLoss(HeatmapLoss):
    """Focal loss (Lin et al., 2017): cells that are answered well already count less.

    ``-(a (1 - p)^gamma y log p + (1 - a) p^gamma (1 - y) log(1 - p))``, without ``a`` and ``1 - a`` when
    there is no alpha. With gamma 0 and no alpha it is the binary cross-entropy.

    Args:
        gamma: Exponent of the modulating factor.
        alpha: Share of the loss that falls on the ball, ``a``; None weighs ball and background alike.
        reduction: ``pixel`` or ``ball``, see `HeatmapLoss`.
    """

    def __init__(
        self,
        gamma: NonNegativeFloat = 2.0,
        alpha: ClosedUnitInterval | None = None,
        reduction: Reduction = "pixel",
    ) -> None:
        super().__init__(reduction)
        self.gamma: float = gamma
        self.alpha: float | None = alpha

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        log_p, log_q = logsigmoid(logits), logsigmoid(-logits)
        # Powers as exponentials: p^gamma itself has no finite gradient at p = 0 when gamma < 1.
        ball = (self.gamma * log_q).exp() * target * log_p
        ground = (self.gamma * log_p).exp() * (1 - target) * log_q
        if self.alpha is not None:
            ball, ground = self.alpha * ball, (1 - self.alpha) * ground
        return -(ball + ground)


class QualityFocalLoss(HeatmapLoss):
    """Quality focal loss for real-valued targets (Li et al., 2020; WASB trains with it).

    ``|y - p|^beta * -(y log p + (1 - y) log(1 - p))``: 0 where p = y also for y between 0 and 1 as far as its
    modulating factor goes. With beta 0 it is the binary cross-entropy.

    Args:
        beta: Exponent of the modulating factor.
        reduction: ``pixel`` or ``ball``, see `HeatmapLoss`.
    """

    def __init__(self, beta: NonNegativeFloat = 2.0, reduction: Reduction = "pixel") -> None:
        super().__init__(reduction)
        self.beta: float = beta

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        # |y - p|^beta has no finite gradient at p = y when beta < 1; the clamp gives 0 there.
        gap = (target - logits.sigmoid()).abs().clamp(min=torch.finfo(logits.dtype).tiny)
        return gap.pow(self.beta) * binary_cross_entropy_with_logits(logits, target, reduction="none")


class ComboLoss(HeatmapLoss):
    """Cross-entropy and Dice together (Taghanaki et al., 2018), as WASB offers it.

    ``(1 - a) mean(BCE) + a (1 - (2 sum(p y) + e) / (sum(p) + sum(y) + e))`` for each frame. WASB takes the
    sums of the second term over the whole batch, to which parts of a batch would not add up.

    Args:
        alpha: Share of the Dice term, ``a``.
        epsilon: What makes it 0 for an empty heatmap of a frame without a ball, ``e``.
        reduction: ``pixel`` or ``ball``, see `HeatmapLoss`.
    """

    def __init__(
        self, alpha: ClosedUnitInterval = 0.1, epsilon: PositiveFloat = 1e-4, reduction: Reduction = "pixel"
    ) -> None:
        super().__init__(reduction)
        self.alpha: float = alpha
        self.epsilon: float = epsilon

    def frame_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each frame; arguments as in `HeatmapLoss.frame_loss`."""
        p = logits.sigmoid()
        overlap, both = ((p * target).sum(dim=(-2, -1)), (p + target).sum(dim=(-2, -1)))
        dice = (2 * overlap + self.epsilon) / (both + self.epsilon)
        cells = logits.shape[-2] * logits.shape[-1]
        return super().frame_loss(logits, target) + self.alpha * cells * (1 - dice)

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the cross-entropy of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        return (1 - self.alpha) * binary_cross_entropy_with_logits(logits, target, reduction="none")


class MSELoss(HeatmapLoss):
    """Squared error of the probabilities: ``(p - y)^2``.

    Args:
        reduction: ``pixel`` or ``ball``, see `HeatmapLoss`.
    """

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        return (logits.sigmoid() - target).square()


class GreyLevelLoss(HeatmapLoss):
    """Cross-entropy over the 256 grey levels that `TrackNetV1` tells apart (Huang et al., 2019).

    ``-log softmax(z)_k`` with the level ``k = floor(255 y)`` of the target. It judges the levels themselves,
    not the heatmap that the network makes of them, and so no other network can be trained with it.

    Args:
        reduction: ``pixel`` (published) or ``ball``, see `HeatmapLoss`.

    Example:
        >>> loss = GreyLevelLoss()
        >>> loss(torch.zeros(1, 256, 2, 2), torch.ones(1, 1, 2, 2))  # log 256
        tensor(5.5452)
    """

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say that the network has no levels."""
        yield from check_network(key, config, TrackNetV1)

    def ask(self, network: HeatmapNetwork, x: Tensor) -> Tensor:
        """Ask for the logits of the levels, ``[B, 256, h, w]``; arguments as in `HeatmapLoss.ask`.

        Raises:
            UsageError: The network has no levels.
        """
        return _with_levels(network).intensities(x)

    def heatmap_logits(self, network: HeatmapNetwork, answer: Tensor) -> Tensor:
        """Give the network's reading of the levels, ``[B, 1, h, w]``."""
        return _with_levels(network).logit(answer)

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell, ``[B, 1, h, w]``.

        Args:
            logits: Logits of the levels, ``[B, 256, h, w]``.
            target: Target heatmap in 0..1, ``[B, 1, h, w]``.
        """
        level = (target * (LEVELS - 1)).long().squeeze(1)
        return cross_entropy(logits, level, reduction="none").unsqueeze(1)


def _with_levels(network: HeatmapNetwork) -> TrackNetV1:
    if not isinstance(network, TrackNetV1):
        raise UsageError(
            "model.loss: GreyLevelLoss judges the grey levels of TrackNetV1, found "
            f"{type(network).__name__}; take another loss, such as WBCELoss"
        )
    return network


class _VisibleFrames(HeatmapLoss):
    """Leaves out the frames whose target heatmap shows no ball: 'no ball' is never learned."""

    def frame_weights(self, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Give what each frame weighs, 0 without a ball; arguments as in `HeatmapLoss.frame_weights`."""
        return super().frame_weights(target, weight) * (target.amax(dim=(-2, -1)) > 0)


class MaskedMSELoss(_VisibleFrames, MSELoss):
    """Squared error of the probabilities, ``(p - y)^2``, over the frames that show a ball.

    A frame whose target is zero everywhere does not count. The network of the older single-frame ``tracknet``
    is trained with it; `MSELoss` learns from all frames.

    Args:
        reduction: ``pixel`` or ``ball``, see `HeatmapLoss`.

    Example:
        >>> loss = MaskedMSELoss()
        >>> loss(torch.zeros(1, 2, 1, 1), torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1))  # (1/2 - 1)^2
        tensor(0.2500)
    """


class MaskedFocalLoss(_VisibleFrames):
    """Focal loss of CenterNet (Zhou et al., "Objects as Points", 2019) over the frames that show a ball.

    ``-(1 - p)^alpha log p`` at the ball, ``-(1 - y)^beta p^alpha log(1 - p)`` elsewhere: near the ball, where
    the target is high, a high answer costs little. Published targets are 1 in the ball's cell; positions
    below a cell leave no cell at 1, so that "at the ball" is the highest cell of the frame (all of them on a
    tie, such as those of a disc) where it is at least 0.5.

    Args:
        alpha: Exponent of the modulating factor.
        beta: Exponent by which cells near the ball count less.
        reduction: ``ball``, which divides by the number of balls as published, or ``pixel``.
    """

    def __init__(
        self, alpha: NonNegativeFloat = 2.0, beta: NonNegativeFloat = 4.0, reduction: Reduction = "ball"
    ) -> None:
        super().__init__(reduction)
        self.alpha: float = alpha
        self.beta: float = beta

    def cell_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Give the loss of each cell; arguments as in `HeatmapLoss.cell_loss`."""
        log_p, log_q = logsigmoid(logits), logsigmoid(-logits)
        ball = (self.alpha * log_q).exp() * log_p
        ground = (1 - target).pow(self.beta) * (self.alpha * log_p).exp() * log_q
        at_ball = target == target.amax(dim=(-2, -1), keepdim=True).clamp(min=0.5)
        return -torch.where(at_ball, ball, ground)
