"""A callback of your own: after each epoch, track a video that nobody has labelled, and see how it goes.

Usage: PYTHONPATH=examples tracknet fit --config examples/own_callback.yaml --data.root ROOT
           --trainer.callbacks.video match.mp4

Each epoch leaves the trajectory in the folder of the run, tracked/epoch_N.csv, which `draw_trajectory.py`
draws, and the share of frames in which a ball was found in the loggers, as tracked/visible.
"""

from __future__ import annotations

from pathlib import Path

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only

from tracknet.data.video import open_source
from tracknet.tracking.tracker import track
from tracknet.tracking.trajectory import write_trajectory
from tracknet.training.lightning_module import HeatmapTracker


class TrackAfterEpoch(Callback):
    """Tracks a video with the weights of the moment; Lightning's own prediction needs a labelled data set.

    Args:
        video: Video file, or folder of images.
        every_n_epochs: Epochs from one time to the next.
    """

    def __init__(self, video: Path, every_n_epochs: PositiveInt = 1) -> None:
        self.video = video
        self.every_n_epochs = every_n_epochs

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: HeatmapTracker) -> None:  # type: ignore[override]
        """Track it: the network is in evaluation mode here, and gradients are off."""
        if trainer.sanity_checking or trainer.current_epoch % self.every_n_epochs:
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "tracked"
        folder.mkdir(parents=True, exist_ok=True)
        rows = track(open_source(self.video), pl_module, device=pl_module.device, progress=False)
        done = write_trajectory(folder / f"epoch_{trainer.current_epoch}.csv", rows)
        for logger in trainer.loggers:
            logger.log_metrics({"tracked/visible": done.visible / done.frames}, trainer.global_step)
