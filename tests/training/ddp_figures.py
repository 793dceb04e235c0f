"""Trains, tests, validates and predicts in as many processes as are asked for; `test_ddp` runs it.

usage: ddp_figures.py PROCESSES ROOT FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

sys.path.insert(0, str(Path(__file__).parents[1]))
from bright_network import BrightNetwork

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.evaluation.distances import BallDistances
from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.rectification import LinearFill
from tracknet.tracking.trajectory_figures import TrajectoryFigures
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.callbacks import HeatmapImages, ProgressLines, Report
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger


class Still(HeatmapTracker):
    """Steps without learning, so that figures are those of the network as given."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def main(processes: int, root: Path, folder: Path) -> None:
    """Fit, test, validate and predict; leave all figures in ``figures.json``."""
    seed_everything(1, verbose=False)
    # So strict that some balls come out as FP1.
    metrics = BallDistances(tolerance=0.1, pck=(0.02, 3.0))
    tracker = Still(BrightNetwork(5, outputs=5), metrics=metrics, input_size=(64, 96))
    data = FlatVideoDataModule(
        root, train=["b"], val=["a", "c", "d"], batch_size=2, frames=5, outputs=5, size=(64, 96)
    )
    flown = TrajectoryWriter(folder / "flown")
    flown.choose_with(FlightTracker())
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=processes,
        strategy=DDPStrategy(process_group_backend="gloo") if processes > 1 else "auto",
        max_epochs=1,
        limit_train_batches=2,
        logger=RunLogger(folder, name="", version="run"),
        callbacks=[
            ModelCheckpoint(monitor="val/f1", mode="max", filename="best"),
            HeatmapImages(windows=1),
            ProgressLines(),
            Report(),
            TrajectoryWriter(),
            flown,
            TrajectoryFigures(FlightTracker(), LinearFill()),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(tracker, datamodule=data)
    figures = {name: value.item() for name, value in trainer.callback_metrics.items() if "val/" in name}
    tracker.eval_mode, tracker.eval_step, data.eval_step = "triangular", 2, 2
    [averaged] = trainer.test(tracker, datamodule=data, verbose=False)
    tracker.eval_mode, tracker.eval_step, data.eval_step = "single", None, None
    [tested] = trainer.test(tracker, datamodule=data, verbose=False)
    [validated] = trainer.validate(tracker, datamodule=data, verbose=False)
    trainer.predict(tracker, datamodule=data, return_predictions=False)
    windows = len(data.val_dataloader().dataset)
    (folder / f"figures-{trainer.global_rank}.json").write_text(
        json.dumps(
            {
                "windows": windows,
                "processes": trainer.world_size,
                "val": figures,
                "test": tested,
                "averaged": averaged,
                "validated": validated,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
