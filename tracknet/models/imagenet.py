"""Input normalisation with the mean and spread of ImageNet's colours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of red, green and blue in 0..1."""


class ImageNetInput(nn.Module):
    """Normalise the colours of a stacked window; differences from the background stay as they are.

    It has nothing in the state dictionary, so that the keys of a network stay those of its public weights.

    Args:
        frames: Frames per window, L.
        background: Background mode, see `stack_frames`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, frames: int, background: BackgroundMode) -> None:
        super().__init__()
        mean, std, times = {
            "none": (MEAN, STD, frames),
            "subtract": ((0.0,), (1.0,), frames),
            "subtract_concat": ((*MEAN, 0.0), (*STD, 1.0), frames),
            "concat": (MEAN, STD, frames + 1),
        }[background]
        self.register_buffer("mean", torch.tensor(mean * times)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std * times)[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Give ``(x - mean) / std``, ``[B, C_in, H, W]``."""
        return (x - self.mean) / self.std
