"""One way to measure: ours and a reference in turns, and a row that says how they compare."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

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


class Took(NamedTuple):
    """What some work took.

    Attributes:
        clock: Its figure by the clock.
        cpu: The same figure in CPU time, over all threads and the processes that have ended: what other
            work on the machine hardly changes. Work that runs side by side adds up.
    """

    clock: float
    cpu: float


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
        rounds: Their number; 0 where nothing could be measured.
        cpu: The same median in CPU time, where that can be told.
        target: What the ratio should be; None where nothing is demanded.
        note: What else is to be known.
    """

    name: str
    unit: str
    ours: float
    reference: float
    ratio: float
    spread: tuple[float, float]
    rounds: int
    cpu: float | None = None
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is hit, in words; where clock and CPU time differ in that, by which of them."""
        if self.target is None:
            return ""
        words = ("MISS", "hit")
        clock = words[self.target.holds(self.ratio)]
        cpu = clock if self.cpu is None else words[self.target.holds(self.cpu)]
        return clock if clock == cpu else f"{clock} by the clock, {cpu} in CPU time"


def row(
    name: str,
    unit: str,
    pairs: Sequence[tuple[Took | float, Took | float]],
    target: Target | None = None,
    note: str = "",
) -> Row:
    """Make a row of what the rounds gave, ours first."""
    took = [(_clock(ours), _clock(reference)) for ours, reference in pairs]
    cpu = [a.cpu / b.cpu for a, b in pairs if isinstance(a, Took) and isinstance(b, Took) and b.cpu]
    ratios = [ours / reference for ours, reference in took]
    ours, reference = (statistics.median(pair[side] for pair in took) for side in (0, 1))
    spread = (min(ratios), max(ratios))
    median = statistics.median(cpu) if cpu else None
    ratio = statistics.median(ratios)
    return Row(name, unit, ours, reference, ratio, spread, len(pairs), median, target, note)


def unmeasured(name: str, unit: str, why: str) -> Row:
    """Make the row of what cannot be measured here."""
    return Row(name, unit, 0.0, 0.0, 0.0, (0.0, 0.0), 0, note=f"not measured: {why}")


def _clock(figure: Took | float) -> float:
    return figure.clock if isinstance(figure, Took) else figure


def in_turns(works: Sequence[Callable[[], Figure]], rounds: int, warm: int = 1) -> list[list[Figure]]:
    """Let all run in turns, so that a busy moment of the machine hits all.

    Args:
        works: Each does its work once and gives its figure.
        rounds: Times that each counts; the order is turned round each time.
        warm: Rounds before these that do not count.

    Returns:
        The figures of each round, in the order of `works`.
    """
    found = []
    for number in range(warm + rounds):
        order = range(len(works)) if number % 2 == 0 else reversed(range(len(works)))
        figures = {which: works[which]() for which in order}
        if number >= warm:
            found.append([figures[which] for which in range(len(works))])
    return found


def paired(
    ours: Callable[[], Figure], reference: Callable[[], Figure], rounds: int, warm: int = 1
) -> list[tuple[Figure, Figure]]:
    """Let ours and the reference run in turns, see `in_turns`; ours is first in each round."""
    return [(first, second) for first, second in in_turns([ours, reference], rounds, warm)]


def seconds(work: Callable[[], object], times: int = 1) -> Callable[[], Took]:
    """Give what does the work so many times and tells the seconds that one took."""

    def timed() -> Took:
        started, worked = time.perf_counter(), _cpu()
        for _ in range(times):
            work()
        return Took((time.perf_counter() - started) / times, (_cpu() - worked) / times)

    return timed


def rate(work: Callable[[], object], amount: float) -> Callable[[], Took]:
    """Give what does the work and tells how much of it was done a second."""
    timed = seconds(work)

    def rated() -> Took:
        took = timed()
        return Took(amount / took.clock, amount / max(took.cpu, 1e-9))

    return rated


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
