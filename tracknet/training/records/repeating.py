"""The command that repeats a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tracknet.training.records.code import state_now
from tracknet.training.records.redaction import REDACTED
from tracknet.training.records.run import Run


def repeat_command(run: Run) -> list[str]:
    """Write what to enter in a shell to train a run again, with the code, the folder and the seed it had.

    Args:
        run: A run with a record.

    Returns:
        Lines of a shell; what cannot be had again is said in comments.
    """
    session = run.session
    code: dict[str, Any] = session.get("code") or {}
    folder = session.get("folder") or "."
    lines: list[str] = []
    for what in ("folder", "tracknet"):
        if isinstance(code.get(what), dict):
            lines += _checked_out(run, code[what])
    if isinstance(installed := code.get("tracknet_version"), str) and "tracknet" not in code:
        own = (code.get("folder") or {}).get("root")
        if own is None or not (Path(own) / "tracknet" / "__init__.py").is_file():
            lines.append(f"# with tracknet {installed}")
    config = run.folder.absolute() / "config.yaml"
    words = ["tracknet", "fit", "--config", str(config)]
    seed = run.settings.get("seed_everything")
    if session.get("seed") is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        words += ["--seed_everything", str(session["seed"])]
    if not config.is_file():
        lines.append("# the configuration is missing; the command line of the run was")
        words = [str(word) for word in session.get("command") or ()]
    elif REDACTED in config.read_text(encoding="utf-8", errors="replace"):
        lines.append(f"# secrets are not kept: where {config} holds {REDACTED}, give them again")
    lines += [f"cd {shlex.quote(str(folder))}", shlex.join(words)]
    return lines


def _checked_out(run: Run, code: dict[str, Any]) -> list[str]:
    """Bring a working tree to what it was, where it is not so now."""
    root, commit, diff = str(code.get("root")), str(code.get("commit")), code.get("diff")
    now, changes = state_now(Path(root)) if Path(root).is_dir() else ("", "")
    kept = run.folder.absolute() / diff if isinstance(diff, str) else None
    before = ""
    if kept is not None:
        if kept.parent != run.folder.absolute() or not kept.is_file():
            return [f"# {kept}: the uncommitted changes of {root} are lost", *_checkout(root, commit)]
        before = kept.read_text(encoding="utf-8", errors="surrogateescape")
    if (now, changes) == (commit, before):
        return []
    lines = []
    if changes:
        lines.append(f"# {root} has other changes now: commit them, or put them away with git stash -u")
    lines += _checkout(root, commit)
    if kept is not None and code.get("diff_redacted"):
        lines.append(f"# secrets are not kept: {kept} may not apply where it holds {REDACTED}")
    if kept is not None:
        lines.append(f"git -C {shlex.quote(root)} apply {shlex.quote(str(kept))}")
    return lines


def _checkout(root: str, commit: str) -> list[str]:
    return [f"git -C {shlex.quote(root)} checkout {shlex.quote(commit)}"]
