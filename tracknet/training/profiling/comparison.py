"""Two profiles side by side."""

from __future__ import annotations

from collections.abc import Callable

from tracknet.training.profiling.phases import PHASES
from tracknet.training.profiling.results import Profiled
from tracknet.training.profiling.words import memory_size, operations, percent, rate, seconds


def compare(a: Profiled, b: Profiled) -> str:
    """Make a table of what differs in speed, and of settings that differ.

    Args:
        a: The first profile.
        b: The second, whose change from the first is told.

    Returns:
        The table, the two verdicts below.
    """
    rows = [("", "A", "B", "B to A")]

    def add(name: str, first: float | None, second: float | None, told: Callable[[float], str]) -> None:
        if first is not None or second is not None:
            shown = ["-" if value is None else told(value) for value in (first, second)]
            rows.append((name, shown[0], shown[1], _change(first, second)))

    add("training, windows/s", a.training_rate, b.training_rate, rate)
    add("loader alone, windows/s", a.loader_rate, b.loader_rate, rate)
    add("network alone, windows/s", a.network_rate, b.network_rate, rate)
    add("step", a.step, b.step, seconds)
    for name, told in PHASES.items():
        add(f"  {told}", a.phases[name], b.phases[name], seconds)
    add("validation", a.validation_seconds, b.validation_seconds, seconds)
    add("operations of a batch", a.flops, b.flops, operations)
    add("share of the peak", a.utilisation, b.utilisation, percent)
    for name in dict.fromkeys((*a.memory, *b.memory)):
        add(f"{name}, peak", a.memory.get(name), b.memory.get(name), memory_size)
    for name in ("network", "device", "precision", "windows", "num_workers", "cores", "threads", "torch"):
        first, second = getattr(a, name), getattr(b, name)
        if first != second:
            rows.append((name, str(first), str(second), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  " + "  ".join(f"{row[n]:>{widths[n]}}" for n in (1, 2, 3)) for row in rows
    ]
    lines = [one.rstrip() for one in lines]
    return "\n".join([*lines, "", f"A: {a.run}: {a.verdict}", f"B: {b.run}: {b.verdict}"])


def _change(first: float | None, second: float | None) -> str:
    if not first or second is None:
        return ""
    change = second / first
    return f"x{change:.2f}" if change >= 2 or change <= 0.5 else f"{(change - 1) * 100:+.0f} %"
