"""One way to measure: ours and a reference in turns, and a row that says how they compare."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Better = Literal["at least", "at most"]
Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Target:
    """What a ratio should be."""

    better: Better
    value: float

    def holds(self, ratio: float) -> bool:
        return ratio >= self.value if self.better == "at least" else ratio <= self.value

    def __str__(self) -> str:
        return f"{self.better} {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One comparison: medians over the rounds, and the ratio ours / reference of the rounds.

    Attributes:
        name: What is compared, and with what.
        unit: Unit of both figures.
        ours: Median of ours.
        reference: Median of the reference.
        ratio: Median of the ratios of the rounds.
        spread: The smallest and the largest of them.
        target: What the ratio should be; None where nothing is demanded.
        note: What else is to be known.
    """

    name: str
    unit: str
    ours: float
    reference: float
    ratio: float
    spread: tuple[float, float]
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "hit" if self.target.holds(self.ratio) else "MISS"


def row(
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    target: Target | None = None,
    note: str = "",
) -> Row:
    """Make a row of what the rounds gave, ours first."""
    ratios = [ours / reference for ours, reference in pairs]
    ours, reference = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    spread = (min(ratios), max(ratios))
    return Row(name, unit, ours, reference, statistics.median(ratios), spread, target, note)


def paired(
    ours: Callable[[], Figure], reference: Callable[[], Figure], rounds: int, warm: int = 1
) -> list[tuple[Figure, Figure]]:
    """Let both run in turns, so that a busy moment of the machine hits both.

    Args:
        ours: Does the work once and gives its figure.
        reference: The same of what it is compared with.
        rounds: Times that each counts; which of them goes first alternates.
        warm: Rounds before these that do not count.

    Returns:
        The figures of each round, ours first.
    """
    pairs = []
    for number in range(warm + rounds):
        if number % 2:
            second = reference()
            first = ours()
        else:
            first = ours()
            second = reference()
        if number >= warm:
            pairs.append((first, second))
    return pairs


def seconds(work: Callable[[], object]) -> Callable[[], float]:
    """Give what does the work and tells the seconds that it took."""

    def timed() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return timed


def rate(work: Callable[[], object], amount: float) -> Callable[[], float]:
    """Give what does the work and tells how much of it was done a second."""
    timed = seconds(work)
    return lambda: amount / timed()
