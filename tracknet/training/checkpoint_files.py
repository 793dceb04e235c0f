"""Where checkpoints lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def checkpoints_in(folder: Path, below: bool = False) -> Iterator[Path]:
    """Give the checkpoints in a folder; hidden ones are being written, or were when a process was killed.

    Args:
        folder: The folder.
        below: Those in its folders, too.
    """
    return (folder.rglob if below else folder.glob)("[!.]*.ckpt")


def checkpoint_folders(trainer: Trainer) -> set[Path]:
    """Give the folders that the callbacks of a run save to, but for those at remote addresses (``s3://...``)."""
    named = (getattr(one, "dirpath", None) for one in trainer.checkpoint_callbacks)
    return {Path(folder) for folder in named if folder and "://" not in str(folder)}
