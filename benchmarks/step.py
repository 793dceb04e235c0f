"""A training step through the Trainer beside a plain loop with the same network and tensors."""

from __future__ import annotations

import statistics
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
    device,
    standard_callbacks,
    stream,
)
from benchmarks.measuring import Row, Target, Took, in_turns, row, seconds

TITLE = "A training step"
WINDOWS = 4
TINY = (32, 32)
LOGGED = 20
"""Steps between two logged ones, as in `configs/base.yaml`; that many are timed together."""


def measure(bench: Bench) -> Iterator[Row]:
    """Compare steps of the compact network: all against plain, callbacks against none.

    What is ours in a step hangs on the number of layers and callbacks, not on the size of the pictures. So it
    is taken on tiny crops, where it is not lost in the noise, and added to a plain step on crops of the usual
    size. As a check, all against plain on these crops is timed too, unless the rounds are limited: it takes
    minutes.
    """
    together = 2 if bench.quick else LOGGED
    tiny = _Loops(bench, TINY, together)
    usual = Steps(plain(a_tracker(bench.crop)), a_batch(a_tracker(bench.crop), WINDOWS, bench.crop))
    timed = [seconds(one.step, together) for one in (tiny.all, tiny.none, tiny.plain)]
    rounds = in_turns([*timed, seconds(usual.step, 2)], bench.rounds(9))
    tiny.close()
    usual.close()
    height, width = bench.crop
    step = f"a step on {WINDOWS} windows of {height}x{width}, {device().type}"
    for name, ours, reference in (
        ("Trainer, module and standard callbacks / plain loop", 0, 2),
        ("Standard callbacks / none", 0, 1),
        ("Trainer and module / plain loop", 1, 2),
    ):
        pairs = [(_plus(one[3], one[ours], one[reference]), one[3]) for one in rounds]
        extra = statistics.median(one[ours].cpu - one[reference].cpu for one in rounds)
        told = f"{extra * 1e3:.1f} ms of CPU time beside {step}; mean of {together} steps, one of them logged"
        yield row(name, "s a step", pairs, Target("at most", 1.02), told)
    if bench.most is None and not bench.quick:
        loops = _Loops(bench, bench.crop, together)
        direct = in_turns([seconds(one.step, together) for one in (loops.all, loops.plain)], bench.rounds(7))
        pairs = [(ours, bare) for ours, bare in direct]
        yield row("All / plain loop, timed as a whole", "s a step", pairs, Target("at most", 1.02), step)
        loops.close()


def _plus(step: Took, ours: Took, reference: Took) -> Took:
    return Took(step.clock + ours.clock - reference.clock, step.cpu + ours.cpu - reference.cpu)


class _Loops:
    """Three loops with the same network and batch: all of ours, without callbacks, by hand."""

    def __init__(self, bench: Bench, size: tuple[int, int], logged: int) -> None:
        tracker = a_tracker(size)
        batch = a_batch(tracker, WINDOWS, size)
        folder = bench.folder / f"steps_{size[0]}"
        ours = by_trainer(deepcopy(tracker), standard_callbacks(), folder / "all", logged)
        self.all = Steps(ours, batch)
        self.none = Steps(by_trainer(deepcopy(tracker), [], folder / "none", logged), batch)
        self.plain = Steps(plain(deepcopy(tracker)), batch)

    def close(self) -> None:
        for one in (self.all, self.none, self.plain):
            one.close()


def by_trainer(tracker: PlainTracker, callbacks: list[Callback], folder: Path, logged: int) -> Loop:
    """Give a loop that is the Trainer's; every so many steps are logged."""
    trainer = a_trainer(folder, callbacks, max_epochs=1, log_every_n_steps=logged)
    return lambda batches: trainer.fit(tracker, stream(batches))


def plain(tracker: PlainTracker) -> Loop:
    """Give a loop as one writes it by hand."""

    def loop(batches: Iterator[Batch]) -> None:
        tracker.to(device()).train()
        optimizer = tracker.configure_optimizers()
        for given in batches:
            batch = {name: value.to(device()) for name, value in given.items()}
            x = tracker.network.stack(batch["frames"], batch["background"])
            logits = tracker.network(x)
            sizes = [(images.shape[-2], images.shape[-1]) for images in (x, logits)]
            target = tracker.target(batch["xy"], batch["visible"], *sizes)
            loss = tracker.loss(logits, target, batch["labelled"].float())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tracker.parameters(), 1.0)
            optimizer.step()

    return loop
