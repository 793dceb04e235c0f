"""Trains in two processes, whole and in parts; `test_micro_batching` runs it as a script.

usage: ddp_micro_batches.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch.strategies import DDPStrategy

sys.path.insert(0, str(Path(__file__).parent))
from test_micro_batching import a_network, fit

from tracknet.training.callbacks import AdaptiveMicroBatch


def main(folder: Path) -> None:
    """Leave the gradients of both runs, and the sizes of the parts, of each process."""
    options = {"count": 8, "devices": 2, "accumulate_grad_batches": 2, "use_distributed_sampler": True}
    _, _, whole = fit(a_network(), strategy=DDPStrategy(process_group_backend="gloo"), **options)
    rank = torch.distributed.get_rank()
    network = a_network(limit=2 if rank == 0 else 99, backward=True)
    strategy = DDPStrategy(process_group_backend="gloo")
    _, _, parts = fit(network, AdaptiveMicroBatch(), strategy=strategy, **options)
    told = {"whole": whole.gradients, "parts": parts.gradients, "seen": network.seen}
    torch.save(told, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
