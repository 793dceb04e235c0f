"""Validation and the decoding of positions beside the network alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from benchmarks.material import Batch, Bench, a_batch, a_tracker
from benchmarks.measuring import Row, Target, Took, paired, rate, row, seconds
from tracknet.evaluation.decoding import ComponentDecoder, PeakDecoder

TITLE = "Validation and decoding"
CHILD = """
import json, sys
keep, size, batches = json.loads(sys.argv[1])
if keep:
    from tracknet.cli.memory import keep_freed_memory
    keep_freed_memory()
from benchmarks.decoding import validations
print(json.dumps(validations(tuple(size), batches)))
"""


def measure(bench: Bench) -> Iterator[Row]:
    """Compare decoders and a whole validation with the forward of the compact network."""
    tracker = a_tracker(bench.size).eval()
    batch = a_batch(tracker, 2, bench.size)
    x = tracker.network.stack(batch["frames"], batch["background"])
    frames = batch["frames"].shape[0] * batch["frames"].shape[1]

    def forward(times: int = 1) -> None:
        with torch.inference_mode():
            for _ in range(times):
                tracker.network(x)

    with torch.inference_mode():
        # A trained network: one peak a frame, and noise well below it.
        noise = 0.05 * torch.rand_like(tracker.network(x))
        heatmaps = noise + 0.9 * tracker.target(batch["xy"], batch["visible"], bench.size, noise.shape[-2:])
    heatmaps = heatmaps.clamp(0, 1).flatten(0, 1)
    rounds = bench.rounds(9)
    for decoder in (PeakDecoder(), ComponentDecoder()):

        def decode(decoder: PeakDecoder | ComponentDecoder = decoder) -> None:
            decoder(heatmaps, bench.size)

        pairs = paired(rate(decode, frames), rate(forward, frames), rounds)
        name = f"{type(decoder).__name__} / forward of the compact network"
        yield row(
            name, "frames/s", pairs, Target("at least", 20), "20: a twentieth of the time of the network"
        )

    batches = 2 if bench.quick else 16  # 256 frames, a rally
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        barebones=False,
    )
    loader: DataLoader[Batch] = DataLoader([batch] * batches, batch_size=None)  # type: ignore[arg-type]
    pairs = paired(
        rate(lambda: trainer.validate(tracker, loader, verbose=False), frames * batches),
        rate(lambda: forward(batches), frames * batches),
        bench.rounds(5),
        warm=0,
    )
    told = "batches that are ready; loss, targets, decoding, metrics and start of the loop are ours"
    yield row("validate / forward on ready tensors", "frames/s", pairs, Target("at least", 0.9), told)
    if sys.platform == "linux":
        yield _allocator(bench)


def _allocator(bench: Bench) -> Row:
    """Validate in processes of their own, with the memory settings of the command and without."""

    def child(keep: bool) -> Took:
        words = json.dumps([keep, bench.size, 2 if bench.quick else 6])
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, words],
            env=clean | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return Took(*json.loads(done.stdout.splitlines()[-1]))

    pairs = paired(lambda: child(True), lambda: child(False), bench.rounds(3), warm=0)
    told = "`tracknet.cli.memory`; compact network, processes of their own, after a warm batch"
    return row(
        "validate with kept memory / with glibc's defaults", "s a batch", pairs, Target("at most", 1), told
    )


def validations(size: tuple[int, int], batches: int) -> Took:
    """Tell the seconds of a batch of validation in this process, once it is warm."""
    tracker = a_tracker(size).eval()
    batch = a_batch(tracker, 4, size)

    def validate() -> None:
        with torch.inference_mode():
            tracker.validation_step(batch, 0)

    validate()
    return seconds(validate, batches)()
