"""Ctrl-C, lost loader workers and what a cluster says are heeded between two steps, by all processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data._utils import signal_handling

_WARNINGS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""What clusters send a while before they take a machine back; Lightning then saves and has SLURM requeue."""

_ENDS = [signal.SIGINT, signal.SIGTERM]


class InterruptBetweenSteps(Callback):
    """Lets Ctrl-C wait until the step that is being taken is whole; a second Ctrl-C does not wait.

    Lightning stops in the middle of whatever runs, which may be the optimizer's step: the checkpoint that is
    saved then holds weights of which some have taken the step and some have not. So does PyTorch when a
    process that loads data is lost, which it hears of by a signal, too, and Lightning itself when SLURM warns
    of a machine's end. Here the checkpoint holds what a run that goes on from it needs to end as if it had
    not been stopped. ``tracknet fit`` has it always.

    Several processes heed what any of them has heard, all behind the same step. By themselves they would stop
    behind different ones, each waiting for the others in another place. Only training steps are common to
    them: what comes during a validation waits for its end.
    """

    def __init__(self) -> None:
        self._heard: set[int] = set()
        self._told: set[int] = set()  # what another process heard first, and was heeded then
        self._before: dict[int, Any] = {}
        self._child_ended = False
        self._look_at_workers: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over what PyTorch hears of processes that end, before the first of them begins."""
        if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
            return
        # PyTorch's own, set once, with its first worker: heard while that starts, it ends in a traceback.
        getattr(signal_handling, "_set_SIGCHLD_handler", int)()
        if callable(handler := signal.getsignal(signal.SIGCHLD)):
            self._look_at_workers = handler
            signal.signal(signal.SIGCHLD, self._note_end)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to Ctrl-C, unless somebody else does, and to other signals for those who do."""
        self._heard.clear()
        self._told.clear()
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._hear)
        for number in (*_WARNINGS, signal.SIGTERM):
            if callable(handler := signal.getsignal(number)):
                self._before[number] = handler
                signal.signal(number, self._note)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, where no gradients are kept for a later step.

        Raises:
            KeyboardInterrupt: Ctrl-C was heard.
            SystemExit: SIGTERM was heard.
            RuntimeError: A worker was lost.
        """
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._heed_all(trainer)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop at once, where there is one process: validation changes nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C was heard.
            SystemExit: SIGTERM was heard.
            RuntimeError: A worker was lost.
        """
        if trainer.world_size == 1:
            self._heed_all(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Heed a warning that came during the last step; what else came asks for the end, which is here."""
        self._heed(trainer, _WARNINGS)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no longer."""
        if self._look_at_workers is not None:
            signal.signal(signal.SIGCHLD, self._look_at_workers)
        self._look_at_workers = None
        for number, handler in self._before.items():
            if signal.getsignal(number) in (self._hear, self._note):
                signal.signal(number, handler)
        self._before.clear()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen to Ctrl-C no longer; a warning would save in the midst of what is saved now.

        Lightning gives all signals back to whom it had them from, and calls `teardown` only where all went
        well.
        """
        self._before = {n: handler for n, handler in self._before.items() if n == signal.SIGINT}
        self.teardown(trainer, pl_module, "fit")

    def _heed_all(self, trainer: Trainer) -> None:
        self._heed(trainer, [*_WARNINGS, *_ENDS])
        # Let PyTorch look at its workers, should one have ended.
        if self._child_ended and self._look_at_workers is not None:
            self._child_ended = False
            self._look_at_workers(signal.SIGCHLD, None)

    def _heed(self, trainer: Trainer, numbers: Sequence[int]) -> None:
        """Do, in this order, what the signals ask for that this process has heard or another one."""
        heard = [number in self._heard for number in numbers]
        if trainer.world_size > 1:
            asked = torch.tensor(heard, dtype=torch.int32, device=trainer.strategy.root_device)
            heard = trainer.strategy.reduce(asked, reduce_op="max").tolist()
        now = [number for number, one in zip(numbers, heard, strict=True) if one]
        self._told.update(set(now) - self._heard)
        self._heard.difference_update(now)
        for number in now:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            if number in self._before:
                self._before[number](number, None)
            if number == signal.SIGTERM:
                raise SIGTERMException

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number in self._heard:
            raise KeyboardInterrupt
        self._heard.add(number)
        rank_zero_info("Ctrl-C: training stops after this step; press it again to stop at once")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number in self._told:
            self._told.remove(number)
        else:
            self._heard.add(number)

    def _note_end(self, number: int, frame: FrameType | None) -> None:
        self._child_ended = True
