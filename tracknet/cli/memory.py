"""Memory of the process: large blocks that are freed stay with it for the next step."""

from __future__ import annotations

import ctypes
import os
import platform

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
"""Numbers of mallopt(3), from malloc.h of glibc."""


def keep_freed_memory() -> bool:
    """Let glibc keep the memory that is freed, instead of giving it back to the system.

    A training step or a batch of tracking on CPU cores allocates and frees the same hundreds of megabytes
    again and again. By default glibc returns each block above 32 MB to the system at once, which then fills
    it with zeros page by page when it is asked for again: up to half the time of a validation. PyTorch's own
    advice is to preload another allocator; mallopt(3) reaches the same without one.

    Whoever chose settings of the allocator by environment variable (``GLIBC_TUNABLES``, ``MALLOC_*``,
    ``LD_PRELOAD``) keeps them.

    Returns:
        Whether the settings were made: on Linux with glibc only.
    """
    chosen = ("GLIBC_TUNABLES", "LD_PRELOAD")
    if any(name in chosen or name.startswith("MALLOC_") for name in os.environ):
        return False
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # Not M_TOP_PAD: memory asked for ahead is slowly filled, 1.7 KB a frame, and nothing is faster for it.
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
