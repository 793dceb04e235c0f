"""What the processes of a run have kept, each a part of it, put together."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from lightning.pytorch import Trainer

Kept = TypeVar("Kept")


def of_all_processes(trainer: Trainer, kept: Kept) -> list[Kept]:
    """Give what each process has kept, in order of their ranks; all processes must ask.

    Args:
        trainer: The trainer that runs them.
        kept: What this process has kept.

    Returns:
        One entry for each process.
    """
    if trainer.world_size == 1:
        return [kept]
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, kept)
    return parts


def frames_of_all_processes(
    trainer: Trainer, frames: dict[int, dict[int, Kept]]
) -> dict[int, dict[int, Kept]]:
    """Give the frames of each clip that the processes have kept; all processes must ask.

    Args:
        trainer: The trainer that runs them.
        frames: Of this process, by clip and frame.

    Returns:
        Of all processes, by clip and frame.
    """
    merged: dict[int, dict[int, Kept]] = {}
    for part in of_all_processes(trainer, dict(frames)):
        for clip, rows in part.items():
            merged.setdefault(clip, {}).update(rows)
    return merged
