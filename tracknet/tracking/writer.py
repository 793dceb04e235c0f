"""Trajectories of a whole data set, written by ``tracknet predict``."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.data.datamodules import RallyDataModule
from tracknet.data.faults import plural
from tracknet.errors import TrackNetError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.processes import frames_of_all_processes
from tracknet.tracking.rectification import GapFill, fill_known
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
        self._fill: GapFill | None = None
        self._max_gap = MAX_GAP

    def fill_with(self, method: GapFill, max_gap: PositiveInt = MAX_GAP) -> None:
        """Fill the gaps of what is written, and mark the rows in a column ``Filled``.

        Args:
            method: How a gap is filled.
            max_gap: Longest gap that is filled, in frames.
        """
        self._fill, self._max_gap = method, max_gap

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
        of_test = trainer.datamodule.parts["test"]  # type: ignore[attr-defined]
        filled = 0
        for clip, found in sorted(clips.items()):
            rows = [found[frame] for frame in sorted(found)]
            if self._fill is not None:
                rows = _filled(rows, self._fill, of_test[clip].source_size, self._max_gap)
            path = folder / f"{of_test[clip].name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            filled += write_trajectory(path, rows, filled=self._fill is not None).filled
        told = "" if self._fill is None else f" ({plural(filled, 'frame')} filled)"
        print(f"\ntrajectories of {plural(len(clips), 'clip')}: {folder}{told}")


def _filled(
    rows: list[TrajectoryRow], method: GapFill, size: tuple[int, int], max_gap: int
) -> list[TrajectoryRow]:
    """Fill the gaps of a clip."""
    xy, visible = np.array([(row.x, row.y) for row in rows]), np.array([row.visible for row in rows])
    positions, filled = fill_known([row.frame for row in rows], xy, visible, method, size, max_gap)
    return [
        row._replace(visible=True, x=x, y=y, filled=True) if new else row
        for row, (x, y), new in zip(rows, positions.tolist(), filled, strict=True)
    ]
