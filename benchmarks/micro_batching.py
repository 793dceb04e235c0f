"""Memory and time of a training step by the size of its parts, as a Markdown table.

    python -m benchmarks.micro_batching [--steps 3] [--threads N] > benchmarks/results/micro_batching.md

Each row is a process of its own, so that its peak of memory is its own (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader

from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import AdaptiveMicroBatch
from tracknet.training.lightning_module import HeatmapTracker

WINDOWS = 8
SIZE = (96, 160)


class Clock(Callback):
    """Takes the time of each step, on the clock and on the CPU."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self._start = (0.0, 0.0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps.append((time.perf_counter() - self._start[0], time.process_time() - self._start[1]))


class Tracker(HeatmapTracker):
    """Trained by plain descent."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def a_batch(frames: int) -> dict[str, torch.Tensor]:
    shape = (WINDOWS, frames)
    return {
        "frames": torch.randint(0, 256, (*shape, 3, *SIZE), dtype=torch.uint8),
        "background": torch.randint(0, 256, (WINDOWS, 3, *SIZE), dtype=torch.uint8),
        "xy": torch.rand(*shape, 2) * torch.tensor([SIZE[1] - 1.0, SIZE[0] - 1.0]),
        "visible": torch.ones(shape, dtype=torch.bool),
        "labelled": torch.ones(shape, dtype=torch.bool),
    }


def train(told: Connection, size: int | None, steps: int) -> None:
    """Train in this process and tell what it took. With a size of None there is no callback."""
    seed_everything(0, verbose=False)
    tracker = Tracker(CompactTrackNet(), input_size=SIZE)
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock] if size is None else [clock, AdaptiveMicroBatch(size)],
    )
    data: DataLoader[Any] = DataLoader([a_batch(tracker.frames)] * steps, batch_size=None)  # type: ignore[arg-type]
    before = resident()
    trainer.fit(tracker, data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told.send({"memory": peak - before, "steps": clock.steps})


def resident() -> int:
    """Give the resident set of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(size: int | None, steps: int) -> dict[str, Any]:
    # Forked, so that the imports are neither repeated nor counted.
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=train, args=(tell, size, steps))
    process.start()
    tell.close()
    result: dict[str, Any] = told.recv()
    process.join()
    return result


def row(name: str, told: dict[str, Any]) -> str:
    seconds, cpu_seconds = (min(step[which] for step in told["steps"][1:]) for which in (0, 1))
    return f"| {name} | {told['memory'] / 1e6:,.0f} | {seconds:.2f} | {cpu_seconds:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="steps of each; the first does not count")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--machine", default="", help="the machine in words; default what can be seen")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    seen = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    print("# Micro-batching\n")
    print(
        f"One training step of CompactTrackNet, {WINDOWS} windows of {SIZE[0]}x{SIZE[1]}, float32, PyTorch "
        f"{torch.__version__} with {args.threads} thread(s),\non {args.machine or seen}.\nMemory: peak of "
        "the resident set above what it was before training. Seconds: the fastest\n"
        f"of {args.steps - 1} step(s) after one that does not count; on a busy machine the CPU seconds, "
        "over all threads, tell more.\n"
    )
    print("| windows at once | memory (MB) | seconds a step | CPU seconds a step |\n|---|---|---|---|")
    print(row(f"{WINDOWS}, without the callback", measure(None, args.steps)), flush=True)
    for size in (WINDOWS, WINDOWS // 2, WINDOWS // 4, 1):
        print(row(str(size), measure(size, args.steps)), flush=True)


if __name__ == "__main__":
    main()
