"""How long each command takes to start and to parse, beside what cannot be avoided.

Every command is a process of its own. The floor of a light command is a bare interpreter; that of the
commands that read types is a LightningCLI with a small module of one's own, which prints its configuration.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.material import Bench
from benchmarks.measuring import Row, Target, paired, row, seconds

TITLE = "Start-up and parsing"
INTERPRETER = ("-c", "pass")
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
    "tracknet runs list": ("runs", "list"),
    "tracknet data --help": ("data", "--help"),
    "tracknet checkpoint --help": ("checkpoint", "--help"),
    "tracknet export --help": ("export", "--help"),
    "tracknet profile --help": ("profile", "--help"),
    "tracknet demo --help": ("demo", "--help"),
}
"""Shown name -> words of a command whose floor is the interpreter."""

TYPED = {
    **{
        f"tracknet {command} --print_config": (
            command,
            "+model=compact",
            "--data",
            "FlatVideoDataModule",
            "--data.root",
            ".",
            "--print_config",
        )
        for command in ("fit", "validate", "test", "predict")
    },
    "tracknet config explain": ("config", "explain", "+experiment=compact_cpu"),
    "tracknet config check": ("config", "check", "+experiment=compact_cpu"),
    "tracknet list networks": ("list", "networks"),
    "tracknet track --help": ("track", "--help"),
    "tracknet sweep --help": ("sweep", "--help"),
}
"""Shown name -> words of a command whose floor is a bare LightningCLI."""


MOST = {"tracknet fit --print_config": 1.1}
"""Stricter targets. That of the light commands stands for half a second: some 15 bare interpreters."""


def measure(bench: Bench) -> Iterator[Row]:
    """Time each command beside its floor."""
    bare = bench.folder / "bare_cli.py"
    bare.write_text(BARE_CLI)
    (bench.folder / "runs").mkdir(exist_ok=True)
    typed = (str(bare), "fit", "--print_config")
    for commands, floor, most in ((LIGHT, INTERPRETER, 15.0), (TYPED, typed, 1.5)):
        for name, words in list(commands.items())[: 1 if bench.quick else None]:
            pairs = paired(
                seconds(lambda w=words: _run(("-m", "tracknet", *w), bench.folder)),  # type: ignore[misc]
                seconds(lambda f=floor: _run(f, bench.folder)),  # type: ignore[misc]
                bench.rounds(5),
            )
            shown = "bare interpreter" if floor is INTERPRETER else "bare LightningCLI"
            yield row(f"`{name}` / {shown}", "s", pairs, Target("at most", MOST.get(name, most)))


def _run(words: tuple[str, ...], folder: Path) -> None:
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: code {done.returncode}\n{done.stderr[-2000:]}")
