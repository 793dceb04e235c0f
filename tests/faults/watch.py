"""Which files this process looks at and changes, as Python's audit events and the decoder tell."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

_EVENTS = {
    *("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link"),
    *("os.symlink", "os.truncate", "os.utime", "os.chmod", "shutil.rmtree", "shutil.copyfile", "shutil.move"),
}
_heard: list[tuple[str, Path]] | None = None
_installed = False


@contextmanager
def watched() -> Iterator[list[tuple[str, Path]]]:
    """Note what is opened, listed, made, moved and removed meanwhile: the event and the path behind links."""
    global _heard, _installed
    if not _installed:
        sys.addaudithook(_hear)  # for good; Python takes none back
        _installed = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", _telling(av.open))
        _heard = []
        try:
            yield _heard
        finally:
            _heard = None


def snapshot(folder: Path, without: Path) -> dict[str, str]:
    """Give what lies in a folder: files with their content, links with where they lead."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if Path(place, one) != without]
        for name in (*folders, *names):
            path = Path(place, name)
            if path.is_symlink():
                found[str(path)] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[str(path)] = "folder"
    return found


def _hear(event: str, given: tuple[Any, ...]) -> None:
    if _heard is None or event not in _EVENTS:
        return
    for one in given[:2]:
        if isinstance(one, (str, bytes, os.PathLike)) and "\0" not in os.fsdecode(one):
            _heard.append((event, Path(os.path.realpath(os.fsdecode(one)))))


def _telling(opening: Callable[..., Any]) -> Callable[..., Any]:
    def told(file: Any, *words: Any, **options: Any) -> Any:
        _hear("open", (str(file).removeprefix("file:"),))
        return opening(file, *words, **options)

    return told
