"""Locks between processes that end with their holder, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE = 0.1


@contextmanager
def locked(path: Path, wait: bool = True, check: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold a lock, between processes and between threads.

    Args:
        path: A file that stands for the lock; its folder is made. It is removed with the lock.
        wait: Wait for the one who holds it.
        check: Called before each try; ends the waiting by what it raises.

    Yields:
        False when another holds the lock and ``wait`` is off.

    Raises:
        OSError: The file cannot be made.

    Example:
        >>> with locked(folder / "a.lock") as mine, locked(folder / "a.lock", wait=False) as again:
        ...     mine, again
        (True, False)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = None
    while lock is None:
        if check is not None:
            check()
        try:
            lock = _try_lock(path)
        except BlockingIOError:
            if not wait:
                break
            time.sleep(_PAUSE)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)
            os.close(lock)


def _try_lock(path: Path) -> int | None:
    """Make and lock a file.

    Returns its descriptor, or None when its holder has just removed it; raises BlockingIOError while another
    holds it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), path.stat()):
            return lock
    except FileNotFoundError:
        pass
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None
