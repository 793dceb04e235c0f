"""Checkpoints that may go, by age, number and room on disk; never the last good one."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracknet.data.sizes import bytes_of, days_of
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.checkpoint_format import check_seal
from tracknet.training.checkpoint_reading import read_checkpoint


@dataclass(frozen=True)
class Removable:
    """A checkpoint that may go.

    Attributes:
        path: The file.
        size: Its bytes.
        reason: Why, in words.
    """

    path: Path
    size: int
    reason: str


@dataclass(frozen=True)
class Retention:
    """What is kept of the checkpoints of each run.

    With a number alone, all but the newest ones may go. With an age or a budget, what is older or what is
    beyond it may go, the oldest first, and the number says how many newest ones of each run stay in any case.

    Attributes:
        keep_last: How many of the newest checkpoints of each run stay.
        older_than: Age in days beyond which the others may go.
        max_size: Bytes that all checkpoints together may take.
    """

    keep_last: int | None = None
    older_than: float | None = None
    max_size: int | None = None

    @classmethod
    def of(cls, keep_last: int | None, older_than: str | None, max_size: str | None, named: str) -> Retention:
        """Make one of an age and a size as people write them.

        Args:
            keep_last: How many of the newest checkpoints of each run stay.
            older_than: Age such as ``30d``.
            max_size: Size such as ``5GB``.
            named: What stands before the names of the settings, for messages.

        Raises:
            UsageError: An age or a size is none.
        """
        return cls(
            keep_last,
            None if older_than is None else days_of(older_than, f"{named}older_than"),
            None if max_size is None else bytes_of(max_size, f"{named}max_size"),
        )


def removable_checkpoints(root: Path, retention: Retention) -> list[Removable]:
    """List the checkpoints below a folder that may go, the oldest first; see `removable_of`.

    Args:
        root: Folder of a run, or of many.
        retention: What is kept.

    Raises:
        UsageError: There is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder")
    return removable_of(checkpoints_in(root, below=True), retention)


def removable_of(
    paths: Iterable[Path], retention: Retention, protected: Collection[Path] = ()
) -> list[Removable]:
    """List the checkpoints that may go, the oldest first.

    Of each folder of checkpoints, the newest one that is whole stays, the newest whole one whose name begins
    with ``best``, and what a link there leads to.

    Args:
        paths: The checkpoints that there are, of one run or of many; links among them lead to files that are
            counted where they lie.
        retention: What is kept.
        protected: Checkpoints that stay in any case.
    """
    files = sorted(
        (path for path in paths if path.is_file() and not path.is_symlink()),
        key=lambda path: path.stat().st_mtime_ns,
    )
    kept = {path.resolve() for path in protected}
    for folder in {path.parent for path in files}:
        newest = [path for path in reversed(files) if path.parent == folder]
        kept.update(newest[: retention.keep_last or 0])
        kept.update(one.resolve() for one in folder.glob("*.ckpt") if one.is_symlink())
    kept |= {path for path in files if path.resolve() in kept}
    # To find the good ones, files are read as a whole: only where something may go at all.
    if not _reasons(files, kept, retention):
        return []
    for folder in {path.parent for path in files}:
        newest = [path for path in reversed(files) if path.parent == folder]
        kept.update(_last_good(newest), _last_good([one for one in newest if one.name.startswith("best")]))
    found = _reasons(files, kept, retention)
    return [Removable(path, path.stat().st_size, reason) for path, reason in found.items()]


def _reasons(files: Sequence[Path], kept: Collection[Path], retention: Retention) -> dict[Path, str]:
    """Say which files may go and why, the oldest first."""
    others = [path for path in files if path not in kept]
    found: dict[Path, str] = {}
    if retention.older_than is not None:
        ages = {path: (time.time() - path.stat().st_mtime) / 86400 for path in others}
        found = {path: f"{age:.0f} days old" for path, age in ages.items() if age > retention.older_than}
    if retention.max_size is not None:
        room = sum(path.stat().st_size for path in files if path not in found)
        for path in others:
            if path not in found and room > retention.max_size:
                found[path] = f"beyond {retention.max_size / 1e9:.3g} GB"
                room -= path.stat().st_size
    if retention.older_than is None and retention.max_size is None:
        found = dict.fromkeys(others, f"not among the newest {retention.keep_last}")
    return {path: found[path] for path in others if path in found}


def _last_good(newest: Sequence[Path]) -> list[Path]:
    return next(([path] for path in newest if _is_good(path)), [])


def _is_good(path: Path) -> bool:
    try:
        if check_seal(path) != "whole":
            read_checkpoint(path)
    except (TrackNetError, OSError):
        return False
    return True
