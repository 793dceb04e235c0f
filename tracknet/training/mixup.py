"""Mixup: training samples that are blends of two (Zhang et al., 2018).

As in TrackNetV3, each sample weighs more than its partner.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mix(NamedTuple):
    """Which samples of a batch are mixed.

    Attributes:
        share: Share of each sample in its mixture, ``[B]`` in 0.5..1.
        partner: The sample that makes up the rest, ``[B]``.
    """

    share: Tensor
    partner: Tensor

    @classmethod
    def draw(cls, samples: int, alpha: float, device: torch.device) -> Mix:
        """Draw a partner for each sample, and how much both weigh.

        Args:
            samples: Samples in the batch, B.
            alpha: Parameter of the Beta distribution that shares come from, above 0.
            device: Where the batch is.
        """
        concentration = torch.tensor(alpha, device=device)
        share = torch.distributions.Beta(concentration, concentration).sample((samples,))
        return cls(torch.maximum(share, 1 - share), torch.randperm(samples, device=device))

    def blend(self, values: Tensor) -> Tensor:
        """Mix a batch, ``[B, ...]``."""
        share = self.share.reshape(-1, *[1] * (values.dim() - 1))
        return share * values + (1 - share) * values[self.partner]
