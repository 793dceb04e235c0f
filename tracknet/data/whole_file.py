"""Files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracknet.errors import TrackNetError

_MORE_ROOM = "make room on that disk, or choose a folder on another one"
_OTHER_FOLDER = "choose a folder that you may write to, or change its permissions"
_REMEDIES = {
    errno.ENOSPC: _MORE_ROOM,
    errno.EDQUOT: _MORE_ROOM,
    errno.EFBIG: _MORE_ROOM,
    errno.EROFS: _OTHER_FOLDER,
    errno.EACCES: _OTHER_FOLDER,
    errno.EPERM: _OTHER_FOLDER,
}

_HERE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room on that disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change the permissions of that one"),
}
"""What can be done besides taking another folder."""


def why_refused(error: OSError, elsewhere: str | None = None) -> str:
    """Say why the disk refused something, and what can be done where that is known.

    Args:
        error: What was raised.
        elsewhere: How another folder is chosen, where that is known: a remedy for whatever reason.

    Example:
        >>> why_refused(OSError(28, "No space left on device"))
        'No space left on device; make room on that disk, or choose a folder on another one'
    """
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    if elsewhere is not None:
        here = _HERE.get(error.errno or 0)
        remedy = f"{here}, or {elsewhere}" if here else elsewhere
    return f"{reason}; {remedy}" if remedy else reason


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a hidden place beside a file, which takes the place of the file when all went well.

    Args:
        path: The file to write; its folder is made.

    Yields:
        Where to write. What is there is moved to `path` when the block ends, and removed when it fails. The
        ending of the name is that of `path`.

    Raises:
        TrackNetError: The disk does not allow it.

    Example:
        >>> with whole_file(folder / "new" / "a.txt") as part:
        ...     _ = part.write_text("ball")
        >>> (folder / "new" / "a.txt").read_text()
        'ball'
    """
    part = hidden_part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be written: {why_refused(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def hidden_part(path: Path) -> Path:
    """Give the place where this process writes a file before it takes its name; see `remove_leftovers`.

    Args:
        path: The file.
    """
    return path.with_name(f".{os.getpid()}.{path.name}")


def sync_folder(folder: Path) -> None:
    """Bring new names in a folder to the disk.

    Args:
        folder: The folder.
    """
    with suppress(OSError):  # not every file system opens folders
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote a file have left beside it.

    Args:
        path: The file; to be written on this computer only, as processes of others count as killed.
    """
    for part in path.parent.glob(f".*.{glob.escape(path.name)}"):
        owner = part.name[1:].partition(".")[0]
        if part.name != f".{owner}.{path.name}":
            continue
        if owner.isdigit() and int(owner) != os.getpid() and not _lives(int(owner)):
            with suppress(OSError):
                part.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
