"""The random numbers to come, kept and put back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """The random numbers to come, of torch on the host and on the device.

    Attributes:
        host: State of the host's generator.
        device: State of the device's generator; None where it has none of its own.
    """

    host: Tensor
    device: Tensor | None = None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """Take the states as they are."""
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None)

    def restore(self, device: torch.device) -> None:
        """Put the states back."""
        torch.set_rng_state(self.host)
        if device.type == "cuda" and self.device is not None:
            torch.cuda.set_rng_state(self.device, device)
