"""How far a long job has come: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from tracknet.data.faults import plural

LOG_INTERVAL = 10.0  # seconds between two lines in a log


class Progress(ABC):
    """A job under way; may be told of its progress from several threads."""

    @abstractmethod
    def advance(self, n: int = 1) -> None:
        """Tell that ``n`` more units are done."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Print a line without disturbing the bar."""


@contextmanager
def track_progress(total: int | None, unit: str, description: str, shown: bool = True) -> Iterator[Progress]:
    """Show the progress of a job on standard error while the block runs.

    On a terminal this is a bar with the rate and the time left. Elsewhere it is a plain line every 10 seconds
    and one at the end, so that logs stay readable.

    Args:
        total: Number of units to come; None when it is not known.
        unit: What is counted, in a plural that ends in s: ``"frames"``.
        description: What the job is, in few words.
        shown: False keeps silent, for callers that have a switch.

    Yields:
        What is to be told of each step: ``progress.advance(n)``.

    Example:
        >>> with track_progress(100, "frames", "tracking") as progress:
        ...     progress.advance(100)
    """
    console = Console(stderr=True)
    if not shown:
        yield _Silence()
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}" + (f"/{total}" if total else "")),
            _Rate(unit),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=console) as bar:
            yield _Bar(bar, bar.add_task(description, total=total))
    else:
        log = _Log(total, unit, description)
        yield log
        log.finish()


class _Silence(Progress):
    def advance(self, n: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Bar(Progress):
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, n: int = 1) -> None:
        self._bar.advance(self._task, n)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)


class _Log(Progress):
    def __init__(self, total: int | None, unit: str, description: str) -> None:
        self._total, self._unit, self._description = total, unit, description
        self._started = self._printed = time.monotonic()
        self._done = 0
        self._begun: tuple[float, int] | None = None  # time and units of the first report
        self._lock = threading.Lock()

    def advance(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            began, done = self._begun = self._begun or (now, self._done)
            if now - self._printed < LOG_INTERVAL:
                return
            self._printed = now
            line = self._counted(self._done)
            if self._total is not None:
                line = f"{self._done:,} of {self._counted(self._total)}"
            # Up to the first report a job may have been getting ready, which says nothing of its speed.
            if rate := (self._done - done) / max(now - began, 1e-6):
                line += f", {rate:.0f} {self._unit}/s"
                if self._total is not None:
                    line += f", {_clock((self._total - self._done) / rate)} left"
            self.note(line)

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        rate = self._done / max(seconds, 1e-6)
        self.note(f"{self._counted(self._done)} in {_clock(seconds)} ({rate:.0f} {self._unit}/s)")

    def _counted(self, number: int) -> str:
        return plural(number, self._unit.removesuffix("s"))

    def note(self, text: str) -> None:
        print(f"{self._description}: {text}", file=sys.stderr, flush=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show the speed of the last seconds, or the mean of a finished job."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} {self._unit}/s")


def _clock(seconds: float) -> str:
    """Show a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
