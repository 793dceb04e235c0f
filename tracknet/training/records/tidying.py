"""Runs that may go: which they are, and their removal."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from tracknet.errors import TrackNetError
from tracknet.training.records.run import Run, find_runs, moment, read_run

Kind = Literal["no-checkpoint", "failed", "killed", "any"]
"""Runs without a checkpoint, that failed, that were killed; all that have ended."""


@dataclass(frozen=True)
class Removable:
    """A run that may go.

    Attributes:
        run: The run.
        reasons: Why, in words.
        size: Bytes of its files.
    """

    run: Run
    reasons: tuple[str, ...]
    size: int


def removable_runs(root: Path, kinds: Collection[str], older_than: float | None = None) -> list[Removable]:
    """List the runs below a folder that may go.

    Runs that train, or of which that cannot be known, and those whose record is damaged or missing are never
    among them; nor is the folder itself.

    Args:
        root: The folder; links below it are not followed.
        kinds: Which ones, of `Kind`.
        older_than: Only those whose last sign is more than so many days ago.

    Raises:
        UsageError: There is no such folder.
    """
    found = []
    for run in find_runs(root):
        reasons = reasons_to_remove(run, kinds)
        age = _days(run)
        if older_than is not None and (age is None or age <= older_than):
            continue
        if reasons and _lies_below(run.folder, root):
            aged = () if older_than is None else (f"{age:.0f} days old",)
            found.append(Removable(run, (*reasons, *aged), folder_size(run.folder)))
    return found


def reasons_to_remove(run: Run, kinds: Collection[str]) -> tuple[str, ...]:
    """Say why a run may go.

    Args:
        run: The run.
        kinds: Which ones may.

    Returns:
        Reasons; none where it must stay.
    """
    state = run.state
    if state in ("running", "unknown", "no record", "damaged"):
        return ()
    reasons: list[str] = [state] if state in kinds or "any" in kinds else []
    if "no-checkpoint" in kinds and not run.checkpoints:
        reasons.append("no checkpoint")
    return tuple(reasons)


def remove_run(run: Run, root: Path) -> None:
    """Delete a run's folder; what links in it lead to stays.

    Args:
        run: The run, as it was listed.
        root: The folder that it must lie below.

    Raises:
        TrackNetError: It lies elsewhere, trains again, or cannot be removed.
    """
    if not _lies_below(run.folder, root):
        raise TrackNetError(f"{run.folder}: kept: it does not lie below {root}")
    state = read_run(run.folder).state
    if state != run.state:
        raise TrackNetError(f"{run.folder}: kept: it was {run.state} and is {state} now")
    try:
        shutil.rmtree(run.folder)
    except OSError as error:
        raise TrackNetError(f"{error.filename or run.folder}: cannot be removed: {error.strerror}") from error


def folder_size(folder: Path) -> int:
    """Add up the sizes of the files of a folder, in bytes; links count as themselves."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_symlink() or file.is_file())


def _lies_below(folder: Path, root: Path) -> bool:
    inside = folder.resolve()
    return not folder.is_symlink() and root.resolve() in inside.parents


def _days(run: Run) -> float | None:
    sign = moment(run.session.get("end")) or moment(run.session.get("heartbeat"))
    return None if sign is None else (datetime.now(timezone.utc) - sign).total_seconds() / 86400
