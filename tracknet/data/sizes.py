"""Sizes on a disk and ages, as people write them."""

from __future__ import annotations

import re

from tracknet.errors import UsageError

_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {f"{name}i": 1024**power for power, name in enumerate("kmgt", 1)}
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0}


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


def days_of(text: str, key: str = "--older_than") -> float:
    """Read an age such as ``30d``, ``12h`` or ``2w``, in days; a number alone means days.

    Args:
        text: The age.
        key: Where it was set, for the message.

    Raises:
        UsageError: It is none.

    Example:
        >>> days_of("2w"), days_of("12h")
        (14.0, 0.5)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw]?)", text.strip().lower())
    if found is None:
        raise UsageError(f"{key} {text}: expected an age such as 30d, 12h or 2w")
    return float(found[1]) * _DAYS[found[2] or "d"]
