"""Train on a folder of rallies from Python, without the command line.

Usage: python examples/train_from_python.py ROOT [EPOCHS]

ROOT holds NAME.mp4 beside NAME.csv; `tracknet data generate ROOT` makes one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from tracknet.data.augmentation import Augmentation
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import ProgressLines
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import WBCELoss


class Tracker(HeatmapTracker):
    """A tracker with an optimizer of its own; the command line would take it from ``--optimizer``."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Give the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def main(root: Path, epochs: int, size: tuple[int, int] = (288, 512)) -> str:
    """Train and say where the best checkpoint lies."""
    seed_everything(42, workers=True)
    network = CompactTrackNet(frames=8)
    tracker = Tracker(network, loss=WBCELoss("ball"), decoder=PeakDecoder(0.4), input_size=size)
    data = FlatVideoDataModule(
        root,
        crop=RandomCrop((size[0] // 2, size[1] // 2)),
        augmentation=Augmentation(),
        # The command line links these four to the model.
        frames=tracker.frames,
        outputs=tracker.outputs,
        size=tracker.input_size,
        background=tracker.needs_background,
    )
    best = ModelCheckpoint(monitor="val/f1", mode="max", filename="best")
    trainer = Trainer(max_epochs=epochs, callbacks=[best, ProgressLines()], default_root_dir="runs")
    trainer.fit(tracker, data)
    return best.best_model_path


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
