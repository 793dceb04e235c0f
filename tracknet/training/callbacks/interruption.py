"""Ctrl-C, lost loader workers and a cluster's warning are heeded between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data._utils import signal_handling

_WARNINGS = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""What clusters send a while before they take a machine back; Lightning then saves and has SLURM requeue."""


class InterruptBetweenSteps(Callback):
    """Lets Ctrl-C wait until the step that is being taken is whole; a second Ctrl-C does not wait.

    Lightning stops in the middle of whatever runs, which may be the optimizer's step: the checkpoint that is
    saved then holds weights of which some have taken the step and some have not. So does PyTorch when a
    process that loads data is lost, which it hears of by a signal, too, and Lightning itself when SLURM warns
    of a machine's end. Here the checkpoint holds what a run that goes on from it needs to end as if it had
    not been stopped. ``tracknet fit`` has it always.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None
        self._child_ended = False
        self._look_at_workers: Any = None
        self._heed: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._warned: list[int] = []

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
        """Listen to Ctrl-C, unless somebody else does, and to warnings for those who do."""
        self._asked = False
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._hear)
        for number in _WARNINGS:
            if callable(handler := signal.getsignal(number)):
                self._heed[number] = handler
                signal.signal(number, self._note_warning)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop, where no gradients are kept for a later step.

        Raises:
            KeyboardInterrupt: Ctrl-C was heard.
            RuntimeError: A worker was lost.
        """
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._heed_all()

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
            RuntimeError: A worker was lost.
        """
        self._heed_all()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Heed what came during the last step."""
        self._heed_warnings()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no longer."""
        if self._look_at_workers is not None:
            signal.signal(signal.SIGCHLD, self._look_at_workers)
        self._look_at_workers = None
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._hear:
            signal.signal(signal.SIGINT, self._before)
        self._before = None
        for number, handler in self._heed.items():
            if signal.getsignal(number) == self._note_warning:
                signal.signal(number, handler)
        self._heed.clear()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no longer: Lightning calls `teardown` only where all went well."""
        self._heed_warnings()
        self.teardown(trainer, pl_module, "fit")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        rank_zero_info("Ctrl-C: training stops after this step; press it again to stop at once")

    def _heed_all(self) -> None:
        self._heed_warnings()
        if self._asked:
            raise KeyboardInterrupt
        # Let PyTorch look at its workers, should one have ended.
        if self._child_ended and self._look_at_workers is not None:
            self._child_ended = False
            self._look_at_workers(signal.SIGCHLD, None)

    def _heed_warnings(self) -> None:
        while self._warned:
            number = self._warned.pop(0)
            self._heed[number](number, None)

    def _note_warning(self, number: int, frame: FrameType | None) -> None:
        self._warned.append(number)

    def _note_end(self, number: int, frame: FrameType | None) -> None:
        self._child_ended = True
