"""Checkpoints of both kinds that the older tracknet had, and those of today."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tracknet.errors import TrackNetError, nearest
from tracknet.training.checkpoint_contents import is_ours, read_file


def newest_best(folder: Path) -> Path:
    """Find the newest ``best_*.ckpt`` or ``best_*.pt`` in a folder.

    Args:
        folder: Folder of checkpoints.

    Returns:
        The file.

    Raises:
        TrackNetError: There is none.
    """
    found = [path for path in folder.glob("best_*") if path.suffix in (".ckpt", ".pt")]
    if not found:
        raise TrackNetError(f"{folder}: no best_*.ckpt or best_*.pt; name one with --checkpoint")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def read(path: Path) -> Any:
    """Read a checkpoint.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        TrackNetError: There is no such file, or it cannot be read.
    """
    if not path.is_file():
        near = [str(one) for one in path.parent.glob("*")] if path.parent.is_dir() else []
        raise TrackNetError(f"--checkpoint: no file {str(path)!r}{nearest(str(path), near)}")
    return read_file(path)


def new_form(path: Path, content: Any, command: str) -> str:
    """Give the commands that take the place of an old one, for the file ``new.yaml``.

    Args:
        path: A checkpoint.
        content: Its content.
        command: The new command, which the checkpoint is put behind.

    Returns:
        The command, after the one that makes the checkpoint one of ours where it is none.
    """
    if is_ours(content):
        return f"{command} {shlex.quote(str(path))}"
    made = "weights.ckpt"
    first = ["tracknet", "checkpoint", "import", str(path), "--config", "new.yaml", "--output", made]
    return f"{shlex.join(first)} && {command} {made}"
