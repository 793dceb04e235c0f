"""Peak memory and time of training steps, by the size of their parts, memory format and precision.

Each figure is that of a process of its own, so that its peak of memory is its own (Linux). On a GPU it is the
peak of what PyTorch holds there.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from benchmarks.material import Bench, a_batch, a_tracker, a_trainer, device, finished
from benchmarks.measuring import Row, Target, paired, row, unmeasured
from tracknet.cli.memory import keep_freed_memory
from tracknet.training.callbacks import ActivationCheckpointing, AdaptiveMicroBatch

TITLE = "Memory of a training step"
WINDOWS = 8
SMALLER = (4, 2)
Figures = tuple[float, float]
"""MB above what was there before, and the seconds of the fastest step but the first."""


class Way(NamedTuple):
    """How a step is done.

    Attributes:
        windows: Windows of the batch.
        part: Windows that go through the network at once; None for all.
        channels_last: Whether the colours of a pixel lie side by side, as we do.
        again: Whether activations are computed again in the backward pass.
        mixed: Whether bfloat16 is mixed in.
    """

    windows: int = WINDOWS
    part: int | None = None
    channels_last: bool = True
    again: bool = False
    mixed: bool = False


def measure(bench: Bench) -> Iterator[Row]:
    """Compare a batch in parts, smaller batches and other ways with a whole one of 8 windows; 4 and 2 too."""
    told = f"compact network, {WINDOWS} windows of {bench.crop[0]}x{bench.crop[1]}, {device().type}"
    for part in (4, 2, 1):
        pairs = _pairs(bench, Way(part=part), Way())
        yield row(f"Memory in parts of {part} / whole", "MB", _of(pairs, 0), Target("at most", 1), told)
        yield row(
            f"Time in parts of {part} / whole", "s a step", _of(pairs, 1), None, "the gradients are the same"
        )
    for windows in SMALLER:
        pairs = _pairs(bench, Way(windows), Way())
        yield row(
            f"Memory of a batch of {windows} / of {WINDOWS}", "MB", _of(pairs, 0), None, "without parts"
        )
    pairs = _pairs(bench, Way(again=True), Way())
    yield row("Memory, activations again / kept", "MB", _of(pairs, 0), Target("at most", 1), told)
    yield row("Time, activations again / kept", "s a step", _of(pairs, 1), None, "ActivationCheckpointing")
    pairs = _pairs(bench, Way(), Way(channels_last=False))
    yield row("Memory, channels_last / contiguous", "MB", _of(pairs, 0), None, "channels_last is what we do")
    yield row("Time, channels_last / contiguous", "s a step", _of(pairs, 1), Target("at most", 1), told)
    names = "Memory, bf16-mixed / float32", "Time, bf16-mixed / float32"
    if device().type == "cuda":
        pairs = _pairs(bench, Way(mixed=True), Way())
        yield row(names[0], "MB", _of(pairs, 0), Target("at most", 1), told)
        yield row(names[1], "s a step", _of(pairs, 1), None, told)
    else:
        yield unmeasured(names[0], "MB", "no GPU")
        yield unmeasured(names[1], "s a step", "no GPU")
    for windows in SMALLER:
        yield from _smaller(bench, Way(windows))


def _smaller(bench: Bench, whole: Way) -> Iterator[Row]:
    """Compare each way with another one for a smaller batch."""
    ways = {
        "in parts of 1 / whole": (whole._replace(part=1), whole),
        "activations again / kept": (whole._replace(again=True), whole),
        "channels_last / contiguous": (whole, whole._replace(channels_last=False)),
    }
    for name, (ours, reference) in ways.items():
        pairs = _pairs(bench, ours, reference)
        yield row(f"Memory of a batch of {whole.windows}, {name}", "MB", _of(pairs, 0))


def _pairs(bench: Bench, ours: Way, reference: Way) -> list[tuple[Figures, Figures]]:
    return paired(
        lambda: _in_child(bench, ours), lambda: _in_child(bench, reference), bench.rounds(3), warm=0
    )


def _of(pairs: list[tuple[Figures, Figures]], which: int) -> list[tuple[float, float]]:
    return [(ours[which], reference[which]) for ours, reference in pairs]


def _in_child(bench: Bench, way: Way) -> Figures:
    # Forked from a process that has imported this and no more: imports are neither repeated nor counted, and
    # no thread of PyTorch is lost, which a child would wait for.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(tell, bench, way, torch.get_num_threads()))
    process.start()
    tell.close()
    try:
        result: Figures = told.recv()
    except EOFError:
        raise RuntimeError("the process of a training step ended without a word") from None
    finally:
        process.join()
    return result


def _train(tell: Connection, bench: Bench, way: Way, threads: int) -> None:
    """Train in this process and tell what it took."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    tracker = a_tracker(bench.crop)
    if not way.channels_last:
        tracker.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        tracker.network.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
    steps = 2 if bench.quick or bench.most == 1 else 4
    clock = _Clock()
    callbacks: list[Callback] = [clock] if way.part is None else [clock, AdaptiveMicroBatch(way.part)]
    callbacks += [ActivationCheckpointing()] if way.again else []
    precision = "bf16-mixed" if way.mixed else "32-true"
    trainer = a_trainer(bench.folder / "memory", callbacks, max_steps=steps, precision=precision)
    batches = [a_batch(tracker, way.windows, bench.crop)] * steps
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    trainer.fit(tracker, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if device().type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    tell.send((peak / 1e6, min(clock.seconds[1:])))


class _Clock(Callback):
    """Takes the time of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._start = 0.0

    def on_train_batch_start(self, *_: object) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        finished()
        self.seconds.append(time.perf_counter() - self._start)
