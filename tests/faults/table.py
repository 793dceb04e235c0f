"""The table of what was tried."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import torch

import tracknet

HEADER = ("fault", "during", "tried", "survived", "lost", "what was checked")


@dataclass
class Row:
    """One line.

    Attributes:
        fault: What went wrong.
        during: What ran.
        checked: What held, or was to hold.
        wanted: How often it is to be tried.
        tried: How often.
        lost: For each time that something did not hold, what.
        skipped: Why it was not tried at all.
        earlier: How often it was tried and lost in earlier campaigns that are counted too.
    """

    fault: str
    during: str
    checked: str
    wanted: int = 1
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    skipped: str = ""
    earlier: tuple[int, int] = (0, 0)

    def count(self, faults: Sequence[str]) -> None:
        """Count one time."""
        self.tried += 1
        if faults:
            self.lost.append("; ".join(faults))

    @property
    def numbers(self) -> tuple[int, int, int]:
        """How often it was tried, survived and lost."""
        tried, lost = self.tried + self.earlier[0], len(self.lost) + self.earlier[1]
        return tried, tried - lost, lost

    def told(self) -> tuple[str, ...]:
        """Give the cells."""
        if self.skipped:
            return (self.fault, self.during, "0", "", "", f"not tried: {self.skipped}")
        return (self.fault, self.during, *map(str, self.numbers), self.checked)


def counts_of(table: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Read how often each fault was tried and lost from a table."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {(row[0], row[1]): (int(row[2]), int(row[4] or 0)) for row in rows if row[2].isdigit()}


def as_markdown(rows: Sequence[Row], words: Sequence[str], minutes: float) -> str:
    """Write the table with what it was made with, and what was lost below it."""
    tried, survived, lost = (sum(row.numbers[place] for row in rows) for place in range(3))
    more = " Counts of earlier campaigns are added." if any(row.earlier[0] for row in rows) else ""
    lines = [
        "# Faults",
        "",
        f"{date.today().isoformat()}, `python -m tests.faults {shlex.join(words)}`, "
        f"{minutes:.0f} minutes. tracknet {tracknet.__version__}, PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.system()}.{more}",
        "",
        f"{tried} faults, {survived} survived, {lost} lost. A fault counts as survived when all of the "
        "last column held. The moments are random; a command that was done before its fault does not count.",
        "",
        f"| {' | '.join(HEADER)} |",
        "|---|---|---:|---:|---:|---|",
        *(f"| {' | '.join(row.told())} |" for row in rows if row.numbers[0] or row.skipped),
    ]
    for row in rows:
        if row.lost:
            lines += ["", f"Lost, {row.fault}, {row.during}:", ""]
            lines += [f"- {number} x {what}" for what, number in Counter(row.lost).most_common(10)]
    return "\n".join(lines) + "\n"
