"""Learning-rate schedules that follow the length of the run."""

from __future__ import annotations

import math
from typing import Any

from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosine(LambdaLR):
    """Rises linearly to the learning rate, then falls along half a cosine; can begin a second fall.

    A second fall suits a last stage on other pictures, such as whole ones after crops; it is a warm restart
    as in SGDR (Loshchilov and Hutter, 2017). It steps with every optimizer step. PyTorch's own need the
    number of steps written down; here the trainer tells it.

    Args:
        optimizer: The optimizer.
        warmup: Share of the steps for the rise.
        floor: Share of the learning rate that is left at the end of each fall.
        restart: Share of the steps after which a second fall begins; 1 for none.
        restart_height: Share of the learning rate at which it begins.
        total_steps: Optimizer steps of the whole training; default what the trainer expects.
    """

    interval = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: ClosedUnitInterval = 0.1,
        floor: ClosedUnitInterval = 0.01,
        restart: ClosedUnitInterval = 1.0,
        restart_height: ClosedUnitInterval = 0.3,
        total_steps: PositiveInt | None = None,
    ) -> None:
        # Plain numbers: these go into checkpoints, which hold no classes of ours or of jsonargparse.
        self.warmup = float(warmup)
        self.floor = float(floor)
        self.restart = float(restart)
        self.restart_height = float(restart_height)
        self.total_steps = None if total_steps is None else int(total_steps)
        super().__init__(optimizer, self._share)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, with the length of the run that goes on.

        Args:
            state_dict: What `state_dict` gave.
        """
        super().load_state_dict({**state_dict, "total_steps": self.total_steps})

    def _share(self, step: int) -> float:
        if self.total_steps is None:
            # Before the trainer has told the length there is only step 0.
            return 1e-3 if self.warmup else 1.0
        rise: float = self.warmup * self.total_steps
        if step < rise:
            return max(step / rise, 1e-3)
        turn = self.restart * self.total_steps
        if turn <= step and turn < self.total_steps:
            return self._fall((step - turn) / (self.total_steps - turn), self.restart_height)
        return self._fall((step - rise) / max(1.0, turn - rise), 1.0)

    def _fall(self, progress: float, height: float) -> float:
        share: float = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return self.floor + (height - self.floor) * share
