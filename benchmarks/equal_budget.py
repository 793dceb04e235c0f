"""F1 of every network after the same CPU time of training, by one recipe.

    python -m benchmarks.equal_budget [--data badminton --val 00009 00017] [--minutes 6] [--networks WASB]
        [--out benchmarks/results/equal_budget.md --title Badminton]

A network's CPU time for a step is measured first; it then trains as many steps as fit into the budget, with
`tracknet fit` and the recipe of `configs/experiment/compact_cpu.yaml`, and is judged once, with the averaged
weights of the end, at its threshold and at the best one: after so few steps confidences are still low.
Without ``--data``, rallies are generated. Ctrl-C leaves the rows that are done.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.networks import NETWORKS
from tracknet.data.generate import generate_rallies
from tracknet.models import HeatmapNetwork
from tracknet.training.records.machine import cpu_name
from tracknet.training.settings import computes_bf16

BATCH = 4
CROP = (160, 256)
SIZE = [288, 512]
RATES = {"CompactTrackNet": 0.003, "TrackNetV5": 0.0001}
"""Learning rates of the networks' own presets; the others have that of `configs/base.yaml`, 0.001."""

EPOCH = 200
"""Steps of an epoch at most; rallies of the smallest data have more windows."""


@dataclass(frozen=True)
class Trained:
    """A row of the table; CPU times in seconds, of all threads."""

    name: str
    rate: float
    step_cpu: float
    steps: int
    frames: int
    fit_cpu: float
    figures: dict[str, float]


def cpu_of_a_step(network: HeatmapNetwork, precision: str, times: int = 3) -> float:
    """Measure forward, backward and update of a batch of crops; the fastest of some.

    Args:
        network: The network.
        precision: That of Lightning.
        times: Steps that are timed, after one that is not.

    Returns:
        CPU seconds of all threads.
    """
    network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters())
    frames, background = torch.rand(BATCH, network.frames, 3, *CROP), torch.rand(BATCH, 3, *CROP)
    x = network.stack(frames, background)
    took = []
    for _ in range(times + 1):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            loss = network(x).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        took.append(time.process_time() - began)
    return min(took[1:])


def recipe(name: str, rate: float, data: dict[str, Any], steps: int, precision: str) -> dict[str, Any]:
    """Write the configuration of a training.

    Args:
        name: Class of the network.
        rate: Learning rate.
        data: The DataModule.
        steps: Steps of the training, about.
        precision: That of Lightning.

    Returns:
        A configuration as `tracknet fit` takes it.
    """
    epochs = -(-steps // EPOCH)
    last = {"filename": "last", "enable_version_counter": False}
    average = {"decay": 0.99, "update_every_n_steps": 1}
    return {
        "extends": "experiment/compact_cpu",
        "trainer": {
            "max_epochs": epochs,
            "limit_train_batches": -(-steps // epochs),
            "limit_val_batches": 0,
            "num_sanity_val_steps": 0,
            "precision": precision,
            "logger": {"init_args": {"save_dir": "runs", "name": name}},
            "callbacks!": [
                {"class_path": "ModelCheckpoint", "init_args": last},
                {"class_path": "EMAWeightAveraging", "init_args": average},
                {"class_path": "ProgressLines"},
            ],
        },
        "model": {"init_args": {"network!": {"class_path": name}, "input_size": SIZE}},
        "data": data,
        "optimizer": {"init_args": {"lr": rate}},
    }


def train(name: str, folder: Path, config: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """Train and judge a network through the command line.

    Args:
        name: Class of the network.
        folder: Where its configuration and its run go.
        config: What `recipe` gives.

    Returns:
        CPU seconds of the training, and the figures by name: those of `tracknet test`, the highest F1 and the
        threshold that gives it.
    """
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    before = _children()
    _tracknet(folder, "fit", f"--config={file}")
    took = _children() - before
    newest = max((folder / "runs" / name).rglob("last.ckpt"), key=os.path.getmtime)
    told = _tracknet(folder, "test", f"--ckpt_path={newest}", "--trainer.callbacks+=ErrorAnalysis")
    highest = re.search(r"highest F1 ([\d.]+), at the threshold ([\d.]+)", told)
    figures = dict(
        zip(("highest", "threshold"), map(float, highest.groups() if highest else (0, 0)), strict=True)
    )
    for path in sorted((folder / "runs" / name).rglob("metrics.csv"), key=os.path.getmtime):
        with path.open(newline="") as rows:
            for row in csv.DictReader(rows):
                figures |= {key: float(text) for key, text in row.items() if key.startswith("test/") and text}
    return took, figures


def table(rows: Sequence[Trained]) -> str:
    """Draw the rows as Markdown, the best first."""
    head = "| network | F1 | precision | recall | accuracy | highest F1, at threshold | steps | frames seen "
    lines = [
        f"{head}| CPU s a step | learning rate | CPU min, all |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda one: -one.figures["highest"]):
        found = [f"{row.figures[f'test/{key}']:.3f}" for key in ("f1", "precision", "recall", "accuracy")]
        found.append(f"{row.figures['highest']:.3f}, {row.figures['threshold']:.2f}")
        seen = f"{row.steps:,} | {row.frames:,} | {row.step_cpu:.2f} | {row.rate:g} | {row.fit_cpu / 60:.1f}"
        lines.append(f"| {' | '.join([row.name, *found])} | {seen} |")
    return "\n".join(lines) + "\n"


def _tracknet(folder: Path, *words: str) -> str:
    """Run a command, show what it prints and give it."""
    command = [sys.executable, "-m", "tracknet", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return "".join(lines)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of rallies; without, some are generated")
    parser.add_argument("--val", nargs="+", default=[], metavar="CLIP", help="clips to judge by")
    parser.add_argument("--minutes", type=float, default=6, help="CPU minutes of each network's training")
    parser.add_argument("--networks", nargs="+", default=[cls.__name__ for cls, _ in NETWORKS])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--work", type=Path, help="keep the runs, and what is measured, in this folder")
    parser.add_argument("--title", default="Generated badminton, two unseen courts")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table; default: print it")
    return parser.parse_args()


def main() -> None:
    """Measure what is asked for, and write the table after each network."""
    given = _arguments()
    known = {cls.__name__: cls for cls, _ in NETWORKS}
    precision = "bf16-mixed" if computes_bf16() else "32-true"
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.work or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        root = given.data or folder / "rallies"
        if given.data is None and not root.is_dir():
            generate_rallies(root, train=12, val=2, test=0, frames=120, progress=False)
        init = {"root": str(root.resolve()), "batch_size": BATCH, "faults": "mask"}
        init |= {"val": given.val} if given.val else {}
        data = {"class_path": "FlatVideoDataModule", "init_args": init}
        rows = []
        for name in given.networks:
            network: HeatmapNetwork = known[name]()  # type: ignore[call-arg]
            step = cpu_of_a_step(network, precision)
            rate, steps = RATES.get(name, 0.001), max(1, round(60 * given.minutes / step))
            config = {"seed_everything": given.seed} | recipe(name, rate, data, steps, precision)
            took, figures = train(name, folder, config)
            rows.append(Trained(name, rate, step, steps, steps * BATCH * network.frames, took, figures))
            (folder / f"{name}.json").write_text(json.dumps({"took": took, "step": step, **figures}))
            told = (
                f"# F1 after the same CPU time of training\n\n{given.title}, {given.minutes:g} CPU minutes "
                f"of steps for each network by the recipe of `compact_cpu.yaml`: {precision}, "
                f"{torch.get_num_threads()} thread(s) of PyTorch {torch.__version__} on {cpu_name()}, "
                f"batches of {BATCH} windows of {CROP[0]}x{CROP[1]}, judged at {SIZE[0]}x{SIZE[1]}, "
                "single windows. CPU min, all: with start, cache and reading.\n\n"
                f"{table(rows)}\nMade by `python -m benchmarks.equal_budget --minutes {given.minutes:g}`.\n"
            )
            if given.out:
                given.out.write_text(told)
            print(told, flush=True)


if __name__ == "__main__":
    main()
