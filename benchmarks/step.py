"""A training step through the Trainer beside a plain loop with the same network and tensors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import torch
from lightning.pytorch import Callback

from benchmarks.material import (
    Batch,
    Bench,
    Loop,
    PlainTracker,
    Steps,
    a_batch,
    a_tracker,
    a_trainer,
    standard_callbacks,
    stream,
)
from benchmarks.measuring import Row, Target, paired, row
from tracknet.models.network import stack_frames

TITLE = "A training step"
LOGGED = 20
"""Steps between two logged ones, as in `configs/base.yaml`; that many are timed together."""


def measure(bench: Bench) -> Iterator[Row]:
    """Compare steps of the compact network: all against plain, callbacks against none."""
    tracker = a_tracker(bench.crop)
    batch = a_batch(tracker, 4, bench.crop)
    together = 2 if bench.quick else LOGGED
    loops = {
        "all": Steps(
            by_trainer(deepcopy(tracker), standard_callbacks(), bench.folder / "all", together), batch
        ),
        "none": Steps(by_trainer(deepcopy(tracker), [], bench.folder / "none", together), batch),
        "plain": Steps(plain(deepcopy(tracker)), batch),
    }

    def block(name: str) -> tuple[float, float]:
        started, worked = time.perf_counter(), time.process_time()
        for _ in range(together):
            loops[name].step()
        return (time.perf_counter() - started) / together, (time.process_time() - worked) / together

    height, width = bench.crop
    told = f"compact network, 4 windows of {height}x{width}; {together} steps a round, one of them logged"
    for ours, reference, name in (
        ("all", "plain", "Trainer, module and standard callbacks / plain loop"),
        ("all", "none", "Standard callbacks / none"),
        ("none", "plain", "Trainer and module / plain loop"),
    ):
        both = paired(lambda n=ours: block(n), lambda n=reference: block(n), bench.rounds(7))  # type: ignore[misc]
        for unit, which in (("s a step", 0), ("CPU s a step", 1)):
            pairs = [(mine[which], other[which]) for mine, other in both]
            yield row(f"{name}, {unit}", unit, pairs, Target("at most", 1.02), told)
    for loop in loops.values():
        loop.close()


def by_trainer(tracker: PlainTracker, callbacks: list[Callback], folder: Path, logged: int) -> Loop:
    """Give a loop that is the Trainer's; every so many steps are logged."""
    trainer = a_trainer(folder, callbacks, max_epochs=1, log_every_n_steps=logged)
    return lambda batches: trainer.fit(tracker, stream(batches))


def plain(tracker: PlainTracker) -> Loop:
    """Give a loop as one writes it by hand."""

    def loop(batches: Iterator[Batch]) -> None:
        tracker.train()
        optimizer = tracker.configure_optimizers()
        for batch in batches:
            x = stack_frames(batch["frames"], batch["background"], tracker.network.background)
            logits = tracker.network(x)
            sizes = [(images.shape[-2], images.shape[-1]) for images in (x, logits)]
            target = tracker.target(batch["xy"], batch["visible"], *sizes)
            loss = tracker.loss(logits, target, batch["labelled"].float())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tracker.parameters(), 1.0)
            optimizer.step()

    return loop
