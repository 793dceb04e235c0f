"""Quantities as a person reads them."""

from __future__ import annotations


def seconds(value: float) -> str:
    """Write a time.

    Example:
        >>> seconds(0.0123), seconds(2.5), seconds(0.000042)
        ('12.3 ms', '2.50 s', '0.04 ms')
    """
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.1f} ms" if value >= 0.001 else f"{value * 1e3:.2f} ms"


def rate(value: float) -> str:
    """Write how many a second.

    Example:
        >>> rate(65.4), rate(0.031)
        ('65', '0.031')
    """
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def percent(share: float) -> str:
    """Write a share.

    Example:
        >>> percent(0.123), percent(0.001), percent(0.0)
        ('12 %', 'under 1 %', '0 %')
    """
    return f"{share * 100:.0f} %" if share >= 0.01 or not share else "under 1 %"


def operations(value: float) -> str:
    """Write a number of floating-point operations.

    Example:
        >>> operations(2_340_000), operations(7.1e12)
        ('2.34 MFLOP', '7.10 TFLOP')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.2f} {unit}FLOP"
    return f"{value:,.0f} FLOP"


def memory_size(value: float) -> str:
    """Write a number of bytes.

    Example:
        >>> memory_size(3 * 2**30), memory_size(-1024), memory_size(0)
        ('3.00 GiB', '-1.0 KiB', '0 B')
    """
    for size, unit, places in ((2**30, "GiB", 2), (2**20, "MiB", 1), (2**10, "KiB", 1)):
        if abs(value) >= size:
            return f"{value / size:.{places}f} {unit}"
    return f"{value:.0f} B"
