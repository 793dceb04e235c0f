"""Where checkpoints lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def checkpoints_in(folder: Path, below: bool = False) -> Iterator[Path]:
    """Give the checkpoints in a folder; hidden ones are being written, or were when a process was killed.

    Args:
        folder: The folder.
        below: Those in its folders, too.
    """
    return (folder.rglob if below else folder.glob)("[!.]*.ckpt")
