"""What to do when the loss or a gradient is no number any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from tracknet.errors import TrackNetError
from tracknet.training.callbacks.monitoring.replay import (
    Recorded,
    run_again,
    save_recorded,
    windows_in_words,
)
from tracknet.training.callbacks.monitoring.telling import clip_names, is_windows, run_folder, tell
from tracknet.training.random_state import RandomState


class NonFiniteGuard(Callback):
    """Stops, or skips the step, when the loss or a gradient is NaN or infinite, and says where it came from.

    The check comes before the optimizer step, so that the weights are still those before it, and before a
    checkpoint of the moment is saved; running statistics (batch normalisation) that the batch has spoilt are
    put back. The batch is then run again with the same random numbers, to name the first layer, in the order
    of the forward pass, whose output is not finite, or else the layer at which the backward pass went wrong.
    Batch, weights and random numbers go to ``RUN/nonfinite/step_N.pt`` (tensors and plain values). To run
    them again, here or with a debugger::

        from tracknet.training.callbacks.monitoring import replay
        from tracknet.training.checkpoints import load_tracker

        print(replay("RUN/nonfinite/step_12.pt", load_tracker("RUN/checkpoints/last.ckpt")))

    Lightning can only ask autograd to watch every operation (``detect_anomaly``), which is slow and names no
    batch, and stops at a loss but not at a gradient (``TerminateOnNaN`` of old). Here one number is read from
    the device a check. With 16-bit mixed precision, gradients that overflow are part of how the loss is
    scaled: only the loss is looked at.

    Args:
        action: ``stop`` ends the run with exit code 1; ``skip`` leaves out the optimizer step and goes on.
        every_n_steps: Optimizer steps between checks, each of which waits for the device. With more than 1
            the weights may be spoilt when it is found, and no layer can be named.
        keep: Number of batches that are saved at most in a run.
        max_skips: Number of steps that may be skipped one after the other before the run ends after all.

    Batches other than windows of frames are passed over.

    Raises:
        TrackNetError: The loss or a gradient is not finite, and the action is to stop.
    """

    def __init__(
        self,
        action: Literal["stop", "skip"] = "stop",
        every_n_steps: PositiveInt = 1,
        keep: NonNegativeInt = 5,
        max_skips: PositiveInt = 20,
    ) -> None:
        self.action: Literal["stop", "skip"] = action
        self.every_n_steps: int = every_n_steps
        self.keep: int = keep
        self.max_skips: int = max_skips
        self.saved: list[Path] = []
        self._batches: list[Recorded] = []
        self._finite: Tensor | None = None
        self._buffers: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._checked_until = 0
        self._skipped = 0
        self._folder = Path()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._folder = run_folder(trainer) / "nonfinite"
        self._batches, self._finite = [], None
        self._buffers = [one for one in pl_module.buffers() if one.is_floating_point()]
        self._copies = [one.clone() for one in self._buffers]
        self._checked_until, self._skipped = trainer.global_step, 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember what a step is made of."""
        if not self._due(trainer) or not is_windows(batch):
            return
        if not self._batches and self._buffers:
            torch._foreach_copy_(self._copies, self._buffers)
        self._batches.append(Recorded(batch, batch_idx, RandomState.now(pl_module.device)))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the loss."""
        if self._due(trainer) and self._batches:
            finite = loss.detach().isfinite()
            self._finite = finite if self._finite is None else self._finite & finite

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at the gradients, and act."""
        if not self._due(trainer) or self._finite is None:
            return
        finite, batches = self._finite, self._batches
        self._finite, self._batches = None, []
        # Not those of the module: to look through its layers takes longer than to look at its gradients.
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        gradients = [one.grad for one in parameters if one.grad is not None]
        if gradients and getattr(trainer.precision_plugin, "scaler", None) is None:
            finite = finite & _are_finite(gradients)
        if trainer.world_size > 1:
            finite = trainer.strategy.reduce(finite.float(), reduce_op="mean") == 1
        before, self._checked_until = self._checked_until, trainer.global_step + 1
        if bool(finite):
            self._skipped = 0
            return
        self._act(trainer, pl_module, batches, before)
        optimizer.zero_grad(set_to_none=True)

    def _put_buffers_back(self) -> None:
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._copies)

    def _due(self, trainer: Trainer) -> bool:
        return (trainer.global_step + 1) % self.every_n_steps == 0

    def _act(self, trainer: Trainer, module: LightningModule, batches: list[Recorded], before: int) -> None:
        step, names = trainer.global_step + 1, clip_names(trainer, "train")
        spoilt = [name for name, one in module.named_parameters() if not bool(one.isfinite().all())]
        self._put_buffers_back()
        recorded, finding = batches[-1], ""
        if spoilt:
            finding = (
                f"the weights themselves are not finite ({spoilt[0]} first), since a step after {before}; "
                "every_n_steps: 1 catches the batch that does it"
            )
        else:
            for candidate in batches:
                if finding := run_again(module, candidate):
                    recorded = candidate
                    break
            self._put_buffers_back()
        found = [(finding, windows_in_words(recorded.batch, names))]
        if trainer.world_size > 1:  # the numbers may have gone wrong in another process
            found *= trainer.world_size
            torch.distributed.all_gather_object(found, found[0])
        rank = next((rank for rank, (finding, _) in enumerate(found) if finding), 0)
        finding, where = found[rank]
        finding = finding or "the batch, run again, gives finite numbers: the device does not repeat itself"
        words = f"step {step}: loss or gradient is not finite: {finding}; batch: {where}"
        if len(self.saved) < self.keep:
            path = self._folder / f"step_{step}.pt"
            if trainer.global_rank == rank:
                save_recorded(path, recorded, module, step, names)
            self.saved.append(path)
            words += f"; saved for replay: {path}"
        self._skipped += 1
        if self.action == "stop" or self._skipped > self.max_skips:
            advice = (
                "lower the learning rate, clip gradients (trainer.gradient_clip_val), use trainer.precision "
            )
            advice += "32-true or bf16-mixed, or go on without such batches (NonFiniteGuard: action: skip)"
            if self.action == "skip":
                advice = f"{self._skipped} steps one after the other; lower the learning rate"
            raise TrackNetError(f"{words}; {advice}")
        tell(trainer, f"{words}; step skipped")


def _are_finite(gradients: list[Tensor]) -> Tensor:
    """Say whether all entries are finite; their squares, whose sum may overflow, take a CPU least time."""
    finite = get_total_norm(gradients).isfinite()
    return finite if bool(finite) else get_total_norm(gradients, norm_type=float("inf")).isfinite()
