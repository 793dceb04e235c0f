"""What is read from torch's profiler: operators, and memory over time."""

from __future__ import annotations

import json
from pathlib import Path

from torch.profiler import profile

from tracknet.training.profiling.results import Operator

OPERATORS = 20
"""Operators that are kept."""

POINTS = 1000
"""Points of a memory line that are kept, the highest of each stretch."""


def top_operators(profiler: profile) -> list[Operator]:
    """Give the operators that take most time, on the host and on the device together.

    Args:
        profiler: A profiler that has recorded.

    Returns:
        At most `OPERATORS` of them; marks of the profiler itself are left out.
    """
    found = [
        Operator(
            name=one.key,
            calls=one.count,
            host_seconds=one.self_cpu_time_total / 1e6,
            device_seconds=one.self_device_time_total / 1e6,
            allocated=one.self_device_memory_usage or one.self_cpu_memory_usage,
        )
        for one in profiler.key_averages()
        if not one.key.startswith(("ProfilerStep", "[memory]"))
    ]
    return sorted(found, key=lambda one: one.host_seconds + one.device_seconds, reverse=True)[:OPERATORS]


def memory_lines(trace: Path) -> dict[str, list[tuple[float, int]]]:
    """Read from a Chrome trace how much memory was allocated when.

    torch's own `export_memory_timeline` is about to be removed; its substitute knows CUDA only.

    Args:
        trace: The trace, recorded with ``profile_memory``.

    Returns:
        For each device, such as ``host``: seconds from the start and bytes, in order.
    """
    events = [one for one in json.loads(trace.read_text())["traceEvents"] if one.get("name") == "[memory]"]
    lines: dict[str, list[tuple[float, int]]] = {}
    start = min((one["ts"] for one in events), default=0.0)
    for one in sorted(events, key=lambda event: event["ts"]):
        told = one["args"]
        name = "host" if told["Device Type"] == 0 else f"device {told['Device Id']}"
        lines.setdefault(name, []).append(((one["ts"] - start) / 1e6, int(told["Total Allocated"])))
    return {name: _thinned(line) for name, line in lines.items()}


def _thinned(line: list[tuple[float, int]]) -> list[tuple[float, int]]:
    stretch = -(-len(line) // POINTS)
    return [max(line[at : at + stretch], key=lambda point: point[1]) for at in range(0, len(line), stretch)]
