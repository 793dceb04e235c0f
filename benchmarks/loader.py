"""What the loader delivers beside what the network takes, and what a large data set costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.material import Bench, a_batch, a_tracker
from benchmarks.measuring import Row, Target, Took, paired, rate, row, seconds
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.windows import WindowDataset

TITLE = "The loader"
FOLD = 100


def measure(bench: Bench) -> Iterator[Row]:
    """Compare 0 to 2 workers with the compact network, and an index 100 times as long with this one."""
    tracker = a_tracker(bench.size).eval()
    batch = a_batch(tracker, 4, bench.size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        tracker(batch["frames"], batch["background"])
    gflop = counter.get_total_flops() / 1e9 / batch["frames"][:, :, 0, 0, 0].numel()

    def forward() -> None:
        with torch.inference_mode():
            tracker(batch["frames"][:1], batch["background"][:1])

    batches = 3 if bench.quick else 25
    for workers in (0, 1, 2):
        feed = delivery(bench.a_data_module(workers), batches)
        pairs = paired(feed, rate(forward, 1), bench.rounds(5))
        del feed
        note = f"forward of the compact network, {gflop:.1f} GFLOP a frame; a step of training takes less"
        name = f"Loader with {workers} workers / what the network takes"
        yield row(name, "windows/s", pairs, Target("at least", 1.2) if gflop >= 1 else None, note)
    yield from _large(bench)


def delivery(data: RallyDataModule, batches: int) -> Callable[[], Took | float]:
    """Give what takes batches of a training loader and tells the windows a second.

    What workers read ahead while others had their turn does not count, and their CPU time cannot be told.
    """
    feed = _endless(data.train_dataloader())
    next(feed)

    def take() -> None:
        for _ in range(batches):
            next(feed)

    def deliver() -> Took | float:
        for _ in range(2 * data.num_workers):
            next(feed)
        took = rate(take, batches * data.batch_size)()
        return took.clock if data.num_workers else took

    return deliver


def _large(bench: Bench) -> Iterator[Row]:
    clips = bench.data_module.parts["train"]
    sets = {
        times: WindowDataset(clips * times, 8, 8, bench.size, background=True, step=1) for times in (1, FOLD)
    }
    count = 40 if bench.quick else 400

    def read(times: int) -> None:
        loader = DataLoader(sets[times], batch_size=4, sampler=_some(sets[times], count))
        for _ in loader:
            pass

    pairs = paired(seconds(lambda: read(FOLD)), seconds(lambda: read(1)), bench.rounds(5))
    told = f"{len(sets[FOLD]):,} windows / {len(sets[1]):,}; the same files {FOLD} times in the index"
    yield row(
        f"Reading of a set of {FOLD} times the size",
        f"s for {count} windows",
        pairs,
        Target("at most", 1.05),
        told,
    )
    if Path("/proc/self/smaps_rollup").exists():
        grown = [_worker_memory(sets[FOLD], 4 * count) for _ in range(bench.rounds(3))]
        told = "private memory; copies of pages that hold Python objects would swell it"
        yield row("Memory of a worker, end of an epoch / begin", "MB", grown, Target("at most", 1.05), told)


def _worker_memory(windows: WindowDataset, count: int) -> tuple[float, float]:
    """Give the memory of a worker behind many windows, and behind a tenth of them, in MB.

    The least of some batches: one that it is just putting together does not count.
    """
    loader = DataLoader(windows, batch_size=4, sampler=_some(windows, count), num_workers=1)
    batches = iter(loader)
    process = batches._workers[0].pid  # type: ignore[attr-defined]
    early: list[float] = []
    late: list[float] = []
    end = count // 4 - 3  # the last ones are already read, and the worker gone
    for number, _ in enumerate(batches, 1):
        if count // 40 <= number < count // 20:
            early.append(_private(process))
        elif end - count // 40 <= number < end:
            late.append(_private(process))
    return min(late), min(early)


def _private(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1e3


def _some(windows: WindowDataset, count: int) -> RandomSampler:
    return RandomSampler(
        windows, replacement=True, num_samples=count, generator=torch.Generator().manual_seed(0)
    )


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader
