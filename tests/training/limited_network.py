"""A network for which more windows than a limit do not fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracknet.models.network import HeatmapNetwork


class LimitedNetwork(HeatmapNetwork):
    """Two convolutions, in double precision.

    Args:
        limit: Windows above which a training pass runs out of memory, in the forward or the backward pass.
        limit_eval: The same for passes that nobody learns from.
        backward: Whether it is the backward pass that runs out.
        extra: A layer between the two.
        dtype: Type of the weights.

    Attributes:
        seen: Number of windows of each training pass.
        error: What is raised.
    """

    def __init__(
        self,
        limit: int = 99,
        limit_eval: int = 99,
        backward: bool = False,
        extra: nn.Module | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(3, "none", outputs=3)
        self.limit, self.limit_eval, self.backward = limit, limit_eval, backward
        self.first = nn.Conv2d(9, 4, 3, padding=1)
        self.between = extra or nn.ReLU()
        self.last = nn.Conv2d(4, 3, 3, padding=1, stride=2)
        self.to(dtype)
        self.dtype = dtype
        self.seen: list[int] = []
        self.error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB")

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(len(x))
        too_big = len(x) > (self.limit if self.training else self.limit_eval)
        logits: Tensor = self.last(self.between(self.first(x.to(self.dtype))))
        if too_big and self.training and self.backward:
            logits.register_hook(self._fail)
        elif too_big:
            self._fail()
        return logits

    def _fail(self, gradient: Tensor | None = None) -> None:
        raise self.error
