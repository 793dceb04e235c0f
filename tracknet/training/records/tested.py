"""What ``tracknet test`` has found of a run's checkpoints, kept in the run's folder."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tracknet.data.whole_file import whole_file

TESTS = "tests"
"""Folder in that of the run, with one file a test: two that end at once do not undo each other."""

_KINDS: dict[str, type | tuple[type, ...]] = {
    "figures": dict,
    "data": (dict, type(None)),
    "command": (list, type(None)),
}


def write_test(run: Path, told: Mapping[str, Any]) -> Path:
    """Write down a test.

    Args:
        run: Folder of the run whose checkpoint was tested.
        told: What is known of it, ``figures`` among it.

    Returns:
        The file.

    Raises:
        TrackNetError: The disk does not allow it.
    """
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
    path = run / TESTS / f"{stamp}-{secrets.token_hex(3)}.json"
    text = json.dumps(dict(told), indent=1, ensure_ascii=False)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return path


def read_tests(run: Path) -> list[dict[str, Any]]:
    """Read the tests of a run, the newest last; a file that cannot be read is left out.

    Args:
        run: Folder of the run.
    """
    found = []
    for path in sorted((run / TESTS).glob("*.json")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(told, dict) and all(isinstance(told.get(key), kinds) for key, kinds in _KINDS.items()):
            found.append(told)
    return found
