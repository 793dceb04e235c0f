"""Training windows in an order, and with draws, that a run resumed inside an epoch has again."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, DistributedSampler

T = TypeVar("T")
_SEED = "PL_GLOBAL_SEED"


class ResumableSampler(DistributedSampler[int]):
    """Shuffles by seed and epoch alone, and begins where the trainer is in its epoch.

    PyTorch's samplers always begin with the first sample of an epoch. The trainer's own progress, which is in
    every checkpoint, says how many batches of the epoch were taken; so nothing else has to be saved. Where
    the trainer is not training with this sampler, an epoch is given whole.

    Args:
        dataset: What to shuffle.
        batch_size: Samples per batch (of each process).
        trainer: The trainer; None for one process without a trainer.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, trainer: Trainer | None) -> None:
        processes, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        seed = int(os.environ.get(_SEED, torch.initial_seed()))
        super().__init__(dataset, processes, rank, shuffle=True, seed=seed)
        self.batch_size = batch_size
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        return islice(super().__iter__(), self.taken(), None)

    def taken(self) -> int:
        """Count the samples of the epoch that this process has trained on."""
        trainer = self.trainer
        if trainer is None or not trainer.training:
            return 0
        if getattr(trainer.train_dataloader, "sampler", None) is not self:
            return 0
        return int((trainer.fit_loop.epoch_loop.batch_idx + 1) * self.batch_size)


class ResumableLoader(DataLoader[T]):
    """A DataLoader that may begin inside an epoch, together with `ResumableSampler`.

    PyTorch's asks the sampler, and its workers read ahead, as soon as it is iterated over: before Lightning
    has restored how far the epoch had come. Here that happens when the first batch is asked for.
    """

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Give nothing: the trainer's progress is the state. Lightning takes loaders with it as resumable."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, see `state_dict`."""


def seed_step(trainer: Trainer) -> None:
    """Make the draws of a training step depend on the run's seed, the epoch and the batch alone.

    A run that is resumed then crops, augments and mixes as it would have without the interruption, and the
    processes of a run draw differently. The generators of Python, NumPy and PyTorch are set. Without a seed
    for the run, draws are left as they are.

    Args:
        trainer: The trainer, about to take the step.
    """
    seed = os.environ.get(_SEED)
    if seed is None:
        return
    # The index is that of the batch before.
    batch = trainer.fit_loop.epoch_loop.batch_idx + 1
    key = (int(seed), trainer.current_epoch, batch, trainer.global_rank)
    drawn = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    torch.manual_seed(drawn >> 1)
    random.seed(drawn)
    np.random.seed(drawn & 0xFFFFFFFF)
