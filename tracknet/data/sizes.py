"""Sizes on a disk, as people write them."""

from __future__ import annotations

import re

from tracknet.errors import UsageError

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {f"{name}i": 1024**power for power, name in enumerate("kmgt", 1)}


def bytes_of(text: str, option: str) -> int:
    """Read a size such as ``5GB``, ``500MB`` or ``2GiB``, in bytes.

    Args:
        text: The size.
        option: What it was given to, for the message.

    Raises:
        UsageError: It is none.

    Example:
        >>> bytes_of("1.5GB", "--max_size"), bytes_of("2KiB", "--max_size")
        (1500000000, 2048)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?)b?", text.strip().lower())
    if found is None:
        raise UsageError(f"{option} {text}: expected a size such as 5GB or 500MB")
    return int(float(found[1]) * _BYTES[found[2]])


def told_bytes(number: int) -> str:
    """Tell a size in megabytes or gigabytes.

    Example:
        >>> told_bytes(1_234_000), told_bytes(1_234_000_000)
        ('1.2 MB', '1.2 GB')
    """
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
