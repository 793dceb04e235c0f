"""Learning-rate schedules: one that follows the length of the run, and how often each takes a step."""

from __future__ import annotations

import math
from typing import Any

from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from tracknet.errors import UsageError


class WarmupCosine(LambdaLR):
    """Rises linearly to the learning rate, then falls along half a cosine to the end of training.

    It steps with every optimizer step. PyTorch's own need the number of steps written down; here the trainer
    tells it.

    Args:
        optimizer: The optimizer.
        warmup: Share of the steps for the rise.
        floor: Share of the learning rate that is left at the end.
        total_steps: Optimizer steps of the whole training; default what the trainer expects.
    """

    interval = "step"

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: ClosedUnitInterval = 0.1,
        floor: ClosedUnitInterval = 0.01,
        total_steps: PositiveInt | None = None,
    ) -> None:
        # Plain numbers: these go into checkpoints, which hold no classes of ours or of jsonargparse.
        self.warmup = float(warmup)
        self.floor = float(floor)
        self.total_steps = None if total_steps is None else int(total_steps)
        super().__init__(optimizer, self._share)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, with the length of the run that goes on.

        Args:
            state_dict: What `state_dict` gave.
        """
        super().load_state_dict({**state_dict, "total_steps": self.total_steps})
        # The rates in the optimizer are those of the length before.
        share = self._share(self.last_epoch)
        self._last_lr = [base * share for base in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def _share(self, step: int) -> float:
        if self.total_steps is None:
            # Before the trainer has told the length there is only step 0.
            return 1e-3 if self.warmup else 1.0
        rise: float = self.warmup * self.total_steps
        if step < rise:
            return max(step / rise, 1e-3)
        progress = min(1.0, (step - rise) / max(1.0, self.total_steps - rise))
        share: float = self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
        return share


def configure_optimizers(
    lightning_module: LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
) -> Any:
    """Step schedules that count steps with every step, others with every epoch.

    Args:
        lightning_module: The module, of a trainer.
        optimizer: Its optimizer.
        lr_scheduler: Its schedule.

    Returns:
        What ``LightningModule.configure_optimizers`` gives.

    Raises:
        UsageError: A schedule does not fit the length of the run.
    """
    if not isinstance(lr_scheduler, LRScheduler) or isinstance(lr_scheduler, ReduceLROnPlateau):
        chosen: Any = LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)
        if str(getattr(lr_scheduler, "monitor", "")).startswith("val/"):
            # There is a new figure after each validation only.
            epochs = lightning_module.trainer.check_val_every_n_epoch
            chosen["lr_scheduler"]["frequency"] = epochs or 1
        return chosen
    if isinstance(lr_scheduler, WarmupCosine) and lr_scheduler.total_steps is None:
        steps = lightning_module.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise UsageError(
                "lr_scheduler: WarmupCosine follows the length of the run, which max_time alone does not "
                "tell; set trainer.max_epochs, trainer.max_steps or lr_scheduler.total_steps"
            )
        lr_scheduler.total_steps = int(steps)
    if isinstance(lr_scheduler, OneCycleLR):
        steps, cycle = lightning_module.trainer.estimated_stepping_batches, lr_scheduler.total_steps
        if cycle < steps < float("inf"):
            raise UsageError(
                f"lr_scheduler: OneCycleLR counts optimizer steps and ends after {cycle}, "
                f"but the run has {steps}; set lr_scheduler.total_steps={steps} in a new run; one that "
                "goes on keeps the cycle it was begun with"
            )
    counts_steps = isinstance(lr_scheduler, (OneCycleLR, CyclicLR))
    interval = "step" if counts_steps else getattr(lr_scheduler, "interval", "epoch")
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": lr_scheduler, "interval": interval}}
