"""How long each command takes to start and to parse, beside what cannot be avoided.

    python -m benchmarks.startup [--rounds 7]

Every command is a process of its own. A round runs each command and its floor one after the other, so that a
busy machine slows both; the ratio is the median over the rounds. The floor of a light command is a bare
interpreter; that of the commands that read types is a LightningCLI with a small module of one's own, asked to
print its configuration.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

BARE_INTERPRETER = ("-c", "pass")
BARE_CLI = """\
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI


class Demo(LightningModule):
    def __init__(self, width: int = 8, lr: float = 0.001) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)


class DemoData(LightningDataModule):
    def __init__(self, batch_size: int = 4) -> None:
        super().__init__()


LightningCLI(Demo, DemoData)
"""
LIGHT = {
    "tracknet --version": ("--version",),
    "tracknet --help": ("--help",),
    "tracknet config list": ("config", "list"),
    "tracknet config diff": ("config", "diff", "configs/model/compact.yaml", "configs/model/wasb.yaml"),
}
"""Shown name -> words of a command whose floor is the interpreter."""

TYPED = {
    "tracknet fit --print_config": (
        "fit",
        "+model=compact",
        "--data",
        "FlatVideoDataModule",
        "--data.root",
        ".",
    ),
    "tracknet config explain": ("config", "explain", "+experiment=compact_cpu"),
    "tracknet config check": ("config", "check", "+experiment=compact_cpu"),
}
"""Shown name -> words of a command whose floor is a bare LightningCLI."""


def main(argv: Sequence[str] | None = None) -> None:
    """Time the commands and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="times that each command runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "startup.md")
    options = parser.parse_args(argv)
    rounds = options.rounds
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare_cli.py"
        bare.write_text(BARE_CLI)
        rows = [measure(name, words, BARE_INTERPRETER, folder, rounds) for name, words in LIGHT.items()]
        floor = (str(bare), "fit", "--print_config")
        for name, words in TYPED.items():
            words = (*words, "--print_config") if words[0] == "fit" else words
            rows.append(measure(name, words, floor, folder, rounds))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        "# Start-up and parsing\n\nMedians over "
        f"{rounds} rounds on {os.cpu_count()} cores, each command beside its floor: a bare "
        "interpreter, or a LightningCLI with a small module that prints its configuration.\n\n"
        "| command | seconds | floor | seconds of the floor | ratio |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def measure(name: str, words: Sequence[str], floor: Sequence[str], folder: str, rounds: int) -> str:
    """Time one command beside its floor.

    Args:
        name: Shown.
        words: Words after ``tracknet``.
        floor: Words after the interpreter.
        folder: Where the commands run.
        rounds: Times that each runs, after one that warms the disk.

    Returns:
        A row of the table.
    """
    times = []
    for round_number in range(rounds + 1):
        pair = seconds(("-m", "tracknet", *words), folder), seconds(floor, folder)
        if round_number:
            times.append(pair)
    own, least = (statistics.median(pair[side] for pair in times) for side in (0, 1))
    ratio = statistics.median(a / b for a, b in times)
    shown = "bare LightningCLI" if floor is not BARE_INTERPRETER else "interpreter"
    row = f"| `{name}` | {own:.2f} | {shown} | {least:.2f} | {ratio:.2f} |"
    print(row, flush=True)
    return row


def seconds(words: Sequence[str], folder: str) -> float:
    """Run the interpreter once and give the seconds until it ends."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: code {done.returncode}\n{done.stderr[-2000:]}")
    return took


if __name__ == "__main__":
    main()
