"""The table of record: what was measured on which machine, kept as JSON and written as Markdown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row, Target
from tracknet.data.whole_file import whole_file
from tracknet.errors import UsageError
from tracknet.training.records.machine import hardware

FORMAT = 1
LIBRARIES = ("torch", "lightning", "av", "numpy", "jsonargparse")


@dataclass
class Part:
    """What one part gave.

    Attributes:
        title: What it measures.
        when: Day and minute, UTC.
        load: Mean number of processes that wanted a core just before; other work shows here.
        quick: Whether it was only tried out.
        rows: The comparisons.
        failure: Why there are no more of them.
    """

    title: str
    when: str
    load: float
    quick: bool
    rows: list[Row]
    failure: str = ""


@dataclass
class Record:
    """All parts measured on one kind of machine."""

    machine: dict[str, Any]
    parts: dict[str, Part] = field(default_factory=dict)


def this_machine(threads: int) -> dict[str, Any]:
    """Say what is measured on: processor, cores, memory, GPUs, versions and threads."""
    found = hardware()
    versions = {name: metadata.version(name) for name in LIBRARIES}
    kept = ("cpu", "cores_allowed", "memory", "gpus", "system", "python")
    return {name: found[name] for name in kept} | {"threads": threads, "libraries": versions}


def kind(machine: Mapping[str, Any]) -> str:
    """Name the kind of machine, as in a file name: ``2x-amd-epyc``."""
    cards = "".join(f"-{card['name']}" for card in machine["gpus"][:1])
    words = f"{machine['cores_allowed']}x {machine['cpu']}{cards}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def refuse_unlike(
    earlier: Record, path: Path, machine: Mapping[str, Any], parts: Sequence[str], quick: bool
) -> None:
    """Refuse an earlier record that says nothing about what is going to be measured.

    Args:
        earlier: The earlier record.
        path: Its file.
        machine: What is measured on now.
        parts: Parts that are going to be measured.
        quick: Whether they are only tried out.

    Raises:
        UsageError: It is of another kind of machine or number of threads, or has none of the parts, as full
            or as quick.
    """
    then, here = (f"{kind(one)} with {one['threads']} threads" for one in (earlier.machine, machine))
    if then != here:
        raise UsageError(f"{path}: is of {then}, and this is {here}; ratios of unlike machines say nothing")
    if not any(name in earlier.parts and earlier.parts[name].quick == quick for name in parts):
        held = ", ".join(f"{name} ({_how(part.quick)})" for name, part in earlier.parts.items())
        wanted = f"{', '.join(parts)} ({_how(quick)})"
        raise UsageError(f"{path}: nothing to compare with: it holds {held or 'no part'}, wanted is {wanted}")


def _how(quick: bool) -> str:
    return "tried out with --quick" if quick else "in full"


def now() -> tuple[str, float]:
    """Give the minute, and the load of the machine."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]


def save(record: Record, path: Path) -> None:
    with whole_file(path) as part:
        part.write_text(json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Record:
    """Read a record.

    Raises:
        UsageError: There is none, or it is of another format.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a record of benchmarks: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path}: not a record of benchmarks of format {FORMAT}")
    parts = {name: Part(**part | {"rows": _rows(part["rows"])}) for name, part in found["parts"].items()}
    return Record(found["machine"], parts)


def _rows(found: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(**one | {"spread": tuple(one["spread"]), "target": one["target"] and Target(**one["target"])})
        for one in found
    ]


def markdown(record: Record, earlier: Record | None = None) -> str:
    """Write the tables; beside each ratio what it was then, where that was as full or as quick."""
    machine = record.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    gpus = ", ".join(card["name"] for card in machine["gpus"]) or "none"
    memory = f"{machine['memory'] / 2**30:.0f} GiB" if machine["memory"] else "unknown"
    rows = [one for part in record.parts.values() for one in part.rows if one.target]
    missed = [one for one in rows if one.verdict != "hit"]
    lines = [
        "# Speed and memory",
        "",
        f"{machine['cpu']}, {machine['cores_allowed']} cores, {memory} memory, GPU: {gpus}; "
        f"{machine['threads']} threads of PyTorch; Python {machine['python']}, {libraries}.",
        "",
        "`python -m benchmarks` measures ours and the reference in turns in one run; figures are medians, "
        "the ratio is ours / reference, the median over the rounds with the smallest and the largest behind "
        "it. On a busy machine ratios tell more than figures, and CPU time (of all threads) more than the "
        "clock; the load is that just before each part.",
        "",
        f"{len(rows) - len(missed)} of {len(rows)} targets are hit by the clock and in CPU time."
        + "".join(f" {one.name}: {one.ratio:.3g}, {one.target}, {one.verdict}." for one in missed),
    ]
    for name, part in record.parts.items():
        told = _told(name, part, machine)
        then = None if earlier is None else earlier.parts.get(name)
        if then is not None and then.quick == part.quick:
            told += f" Then: {then.when} UTC, load {then.load:.1f}."
        elif then is not None:
            told += f" Not compared with that of {then.when} UTC, which is {_how(then.quick)}."
            then = None
        before = {} if then is None else _ratios(then)
        lines += ["", f"## {part.title}", "", told, "", *_table(part, before)]
        if part.failure:
            lines += ["", f"Not all of it: {part.failure}"]
    return "\n".join(lines) + "\n"


def _ratios(part: Part) -> dict[str, float]:
    return {one.name: one.ratio for one in part.rows if one.rounds}


def _told(name: str, part: Part, machine: Mapping[str, Any]) -> str:
    busy = part.load > 0.5
    told = f"`{name}`, {part.when} UTC, load {part.load:.1f} on {machine['cores_allowed']} cores"
    told += " (other work ran beside it)" if busy else ""
    return told + (", tried out only (`--quick`)." if part.quick else ".")


def _table(part: Part, before: Mapping[str, float]) -> list[str]:
    columns = ["what", "ours", "reference", "unit", "rounds", "ratio", "in CPU time", "target", "", "note"]
    columns += ["then", "now / then"] if before else []
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for one in part.rows:
        if not one.rounds:
            cells = [one.name, "", "", one.unit, "0", "", "", "", "", one.note, *([""] * 2 if before else [])]
            lines.append(f"| {' | '.join(cells)} |")
            continue
        low, high = one.spread
        cells = [one.name, f"{one.ours:.4g}", f"{one.reference:.4g}", one.unit]
        cells += [str(one.rounds)]
        cells += [f"{one.ratio:.3f} ({low:.3f}-{high:.3f})" if low < high else f"{one.ratio:.3f}"]
        cells += ["" if one.cpu is None else f"{one.cpu:.3f}", str(one.target or ""), one.verdict, one.note]
        if before:
            then = before.get(one.name)
            cells += ["new", ""] if then is None else [f"{then:.3f}", f"{one.ratio / then:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
