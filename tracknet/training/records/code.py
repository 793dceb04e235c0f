"""The version of code: commit and uncommitted changes of a folder under git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from tracknet.training.records.redaction import Redactor

_SECONDS = 20
_LARGEST = 200_000  # bytes of a new file that goes into the diff
_MOST = 50  # new files in the diff


def code_version(folder: Path, redactor: Redactor) -> tuple[dict[str, Any], str] | None:
    """Find the commit of a folder and what differs from it.

    Args:
        folder: A folder in a working tree of git.
        redactor: Takes secrets out of the diff.

    Returns:
        ``root``, ``commit``, ``branch``, ``dirty``, ``untracked`` (names), ``diff_redacted``; and the diff,
        new Python files that are not ignored included. None where git or a commit is missing.
    """
    root = _git(folder, "rev-parse", "--show-toplevel").strip()
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    if not root or not commit:
        return None
    top = Path(root)
    untracked = _untracked(top)
    diff = _git(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    new = [name for name in untracked if name.endswith(".py") and _is_small(top / name)]
    for name in new[:_MOST]:
        diff += _git(top, "diff", "--no-ext-diff", "--no-color", "--no-index", "--", os.devnull, name)
    kept = redactor.code(diff)
    told = {
        "root": root,
        "commit": commit,
        "branch": _git(top, "rev-parse", "--abbrev-ref", "HEAD").strip(),
        "dirty": bool(diff),
        "untracked": untracked[:_MOST],
        "diff_redacted": kept != diff,
    }
    return told, kept


def state_now(root: Path) -> tuple[str, str]:
    """Give the commit of a working tree, and a diff as `code_version` makes it without secrets known.

    Args:
        root: Top of the working tree.

    Returns:
        Two empty strings where git finds none.
    """
    found = code_version(root, Redactor())
    return (found[0]["commit"], found[1]) if found else ("", "")


def is_checkout(package: Path) -> bool:
    """Say whether a package lies in a working tree that holds it, and not in one that ignores it.

    Args:
        package: Folder of the package.
    """
    return bool(_git(package, "ls-files", "--", "__init__.py").strip())


def _untracked(top: Path) -> list[str]:
    return [n for n in _git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0") if n]


def _is_small(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= _LARGEST


def _git(folder: Path, *words: str) -> str:
    """Ask git; nothing that the repository's own settings name is started."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", "-C", str(folder), *words]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    # A diff between two files ends with 1 where they differ.
    differs = "--no-index" in words and done.returncode == 1
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 or differs else ""
