"""Trajectories of a whole data set, written by ``tracknet predict``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import TrackNetError
from tracknet.tracking.processes import frames_of_all_processes
from tracknet.tracking.trajectory import TrajectoryRow, write_trajectory


class TrajectoryWriter(Callback):
    """Writes a trajectory ``CLIP.csv`` for each clip when ``predict`` ends.

    Lightning's own prediction writer leaves open what is written; here it is one row a frame, in order, as
    ``tracknet track`` writes it, also when several processes share the windows.

    Args:
        folder: Where the files go; default ``predictions`` in the run's folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._rows: dict[int, dict[int, TrajectoryRow]] = defaultdict(dict)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, whatever an interrupted run has left."""
        if not isinstance(getattr(trainer, "datamodule", None), RallyDataModule):
            raise TrackNetError("TrajectoryWriter needs a RallyDataModule, which names the clips")
        self._rows.clear()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the frames that this batch speaks for."""
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        for row, clip in enumerate(outputs["clip"].tolist()):
            for frame, xy, confidence, counted in zip(
                outputs["frame"][row].tolist(),
                outputs["xy"][row].tolist(),
                outputs["confidence"][row].tolist(),
                outputs["counted"][row].tolist(),
                strict=True,
            ):
                if counted:
                    found = TrajectoryRow(frame, confidence >= threshold, xy[0], xy[1], confidence)
                    self._rows[clip][frame] = found

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        clips = frames_of_all_processes(trainer, self._rows)
        self._rows.clear()
        # Asked for in all processes: Lightning tells it from the first to the others.
        run = trainer.log_dir or trainer.default_root_dir
        if not trainer.is_global_zero:
            return
        folder = self.folder or Path(run) / "predictions"
        names = trainer.datamodule.clip_names("test")  # type: ignore[attr-defined]
        for clip, rows in sorted(clips.items()):
            path = folder / f"{names[clip]}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_trajectory(path, [rows[frame] for frame in sorted(rows)])
        print(f"\ntrajectories of {len(clips)} clips: {folder}")
