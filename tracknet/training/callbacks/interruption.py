"""Ctrl-C that stops training between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class InterruptBetweenSteps(Callback):
    """Lets Ctrl-C wait until the step that is being taken is whole; a second Ctrl-C does not wait.

    Lightning stops in the middle of whatever runs, which may be the optimizer's step: the checkpoint that is
    saved then holds weights of which some have taken the step and some have not. Here it holds what a run
    that goes on from it needs to end as if it had not been stopped. ``tracknet fit`` has it always.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to Ctrl-C, unless somebody else does."""
        self._asked = False
        listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if listens and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._hear)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, where no gradients are kept for a later step.

        Raises:
            KeyboardInterrupt: Ctrl-C was heard.
        """
        if self._asked and batch_idx % trainer.accumulate_grad_batches == 0:
            raise KeyboardInterrupt

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop at once: validation changes nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C was heard.
        """
        if self._asked:
            raise KeyboardInterrupt

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no longer."""
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._hear:
            signal.signal(signal.SIGINT, self._before)
        self._before = None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        rank_zero_info("Ctrl-C: training stops after this step; press it again to stop at once")
