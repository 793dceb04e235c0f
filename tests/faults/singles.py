"""Faults that are no matter of one moment: two runs at once, clocks that jump, loggers that raise."""

from __future__ import annotations

import csv
import importlib.util
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import DummyLogger

from tests.faults.activities import Training
from tests.faults.children import Child, start
from tests.faults.table import Row
from tracknet.training.checkpoint_format import read_metadata
from tracknet.training.records import run as record
from tracknet.training.records.run import read_run

HOUR = 3600.0


class BrokenLogger(DummyLogger):
    """A logger that fails from a call on.

    Args:
        calls: How many calls it answers.
    """

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise ConnectionError("the server is gone")


TWO_RUNS = (
    "both end with code 0, each in a folder of its own with the weights, rows and record of a run alone"
)
CLOCK = (
    "the run ends with the same weights and the record `finished`; `last` is the checkpoint of the highest "
    "step, though older ones had later dates"
)
LOGGER = "said once; training ends with code 0 and the same weights"


def two_runs(training: Training, scratch: Path, draw: random.Random, row: Row) -> None:
    """Start two runs of one name in one folder, nearly at once."""
    folder = scratch / f"two_{row.tried}"
    training.begin(folder, draw)
    words = ["fit", "--config", "run.yaml"]
    pair = [start(folder, words, scratch / "two_1.txt")]
    time.sleep(draw.choice((0.0, draw.uniform(0, 1))))
    pair.append(start(folder, words, scratch / "two_2.txt"))
    faults = [f"exit code {child.wait()}: {child.said[-300:]}" for child in pair if child.wait()]
    runs = sorted((folder / "runs" / "killed").glob("version_*"))
    faults += [] if len(runs) == 2 else [f"{len(runs)} folders"]
    faults += [fault for one in runs for fault in _faults_of_run(training, one)]
    row.count(faults + training.faults_left(folder))
    shutil.rmtree(folder)


def _faults_of_run(training: Training, run: Path) -> list[str]:
    faults = training.faults_in_the_end(run)
    if (told := read_run(run)).state != "finished" or len(told.record["sessions"]) != 1:
        faults.append(f"run.json says {told.state}")
    with (run / "metrics.csv").open(newline="") as file:
        steps = [line["step"] for line in csv.DictReader(file) if line.get("train/loss_step")]
    if len(steps) != len(set(steps)):
        faults.append("metrics.csv holds steps twice")
    return faults


def _jump(seconds: float, after: float) -> Callable[[], None]:
    """Give what lets the clock of a process jump some time after its start."""

    def prepare() -> None:
        real, begun = time.time, time.monotonic()

        def shifted() -> float:
            return real() + (seconds if time.monotonic() - begun > after else 0.0)

        class Shifted(record.datetime):  # type: ignore[misc, name-defined]
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return cls.fromtimestamp(shifted(), tz)

        time.time = shifted
        record.datetime = Shifted  # type: ignore[attr-defined]

    return prepare


def clock_jumps(training: Training, scratch: Path, draw: random.Random, lasted: float, row: Row) -> None:
    """Let the clock go back or forth an hour while a run trains, and between two sessions of it.

    The files of the sessions before get the dates that they would have; the file system's own clock stays.
    """
    folder = scratch / f"clock_{row.tried}"
    training.begin(folder, draw)
    faults: list[str] = []
    for session in range(3):
        newest = _highest_step(folder)
        jump = draw.choice((-HOUR, HOUR))
        jumping = _jump(jump, draw.uniform(0, lasted))
        child = start(folder, training.words(), scratch / "clock.txt", jumping)
        if session < 2:
            time.sleep(draw.uniform(0.4, 0.95) * lasted)
            child.send(signal.SIGKILL)
            child.wait()
        elif code := child.wait():
            faults.append(f"exit code {code}: {child.said[-300:]}")
        faults += _faults_of_choice(folder, child, newest)
        for path in folder.rglob("*.ckpt"):
            told = path.stat()
            os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns - round(jump * 1e9)))
    faults += training.faults_in_the_end(folder)
    states = {read_run(path.parent).state for path in folder.rglob("run.json")}
    if not states <= {"finished", "killed"} or "finished" not in states:
        faults.append(f"records say {states}")
    row.count(faults)
    shutil.rmtree(folder)


def _highest_step(folder: Path) -> int:
    told = [read_metadata(path) for path in folder.rglob("[!.]*.ckpt")]
    return max((one["step"] for one in told if one), default=0)


def _faults_of_choice(folder: Path, child: Child, expected: int) -> list[str]:
    """Compare the checkpoint that a run says it goes on from with the one of the highest step."""
    named = [line for line in child.said.splitlines() if line.startswith("note: --ckpt_path last: ")]
    if not named or not expected:
        return []
    chosen = read_metadata(folder / named[0].removeprefix("note: --ckpt_path last: "))
    step = chosen["step"] if chosen else 0
    return [] if step == expected else [f"went on from step {step}, there was {expected}"]


def broken_logger(training: Training, scratch: Path, draw: random.Random, row: Row) -> None:
    """Lose one of two loggers at a random call."""
    folder = scratch / f"logger_{row.tried}"
    training.begin(folder, draw)
    config = folder / "run.yaml"
    path = f"{BrokenLogger.__module__}.{BrokenLogger.__qualname__}"
    broken = f"    - class_path: {path}\n      init_args: {{calls: {draw.randrange(6)}}}\n"
    text = config.read_text()
    first = "    class_path: RunLogger\n    init_args: {save_dir: runs, name: killed}\n"
    assert first in text
    both = "    - class_path: RunLogger\n      init_args: {save_dir: runs, name: killed}\n" + broken
    config.write_text(text.replace(first, both))
    child = start(folder, training.words(), scratch / "logger.txt")
    faults = [f"exit code {child.wait()}: {child.said[-300:]}"] if child.wait() else []
    if child.said.count("BrokenLogger is lost, training goes on without it: the server is gone") != 1:
        faults.append("not said once")
    row.count(faults + training.faults_in_the_end(folder))
    shutil.rmtree(folder)


def why_no_wandb() -> str:
    """Say why W&B without its server is not tried."""
    if importlib.util.find_spec("wandb") is None:
        return "wandb is not installed"
    return "it needs an account; the logger that raises stands for it"
