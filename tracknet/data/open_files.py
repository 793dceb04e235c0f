"""How many files a process may have open at once."""

from __future__ import annotations

import resource
from contextlib import suppress

_OTHERS = 512
"""Files that a training has open beside its data: libraries, logs, pipes to other processes."""


def allow_open_files(number: int) -> None:
    """Let this process, and those it starts, have more files open, as far as the system lets it.

    Each clip that a training reads stays open. Many systems allow 1,024 files unless a process asks for more.

    Args:
        number: Files of the data set.
    """
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _OTHERS
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
