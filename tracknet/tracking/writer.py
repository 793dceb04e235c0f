"""Trajectories of a whole data set, written by ``tracknet predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.data.cached_clip import LabelledClip
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.faults import plural
from tracknet.errors import TrackNetError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.clip_trajectories import ClipTrajectories, filled_rows
from tracknet.tracking.rectification import GapFill
from tracknet.tracking.sightings import CandidateTracker
from tracknet.tracking.trajectory import write_trajectory


class TrajectoryWriter(Callback):
    """Writes a trajectory ``CLIP.csv`` for each clip when ``predict`` ends.

    Lightning's own prediction writer leaves open what is written; here it is one row a frame, in order, as
    ``tracknet track`` writes it, also when several processes share the windows.

    Args:
        folder: Where the files go; default ``predictions`` in the run's folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._trajectories = ClipTrajectories()
        self._fill: GapFill | None = None
        self._max_gap = MAX_GAP

    @property
    def tracker(self) -> CandidateTracker | None:
        """Chooses among the candidates of each frame; None for the decoder."""
        return self._trajectories.tracker

    def choose_with(self, tracker: CandidateTracker | None) -> None:
        """Let a tracker choose among the candidates of each frame.

        Args:
            tracker: The tracker; None leaves it to the decoder, frame by frame.
        """
        self._trajectories = ClipTrajectories(tracker)

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
        self._trajectories.begin(pl_module)

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
        self._trajectories.add(pl_module, batch, outputs, outputs["xy"])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was."""
        self._trajectories.end(pl_module)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files."""
        of_test: list[LabelledClip] = trainer.datamodule.parts["test"]  # type: ignore[attr-defined]
        trajectories = self._trajectories.rows(trainer, pl_module)
        # Asked for in all processes: Lightning tells it from the first to the others.
        run = trainer.log_dir or trainer.default_root_dir
        if not trainer.is_global_zero:
            return
        folder = self.folder or Path(run) / "predictions"
        filled = 0
        for clip, rows in trajectories.items():
            if self._fill is not None:
                rows = filled_rows(rows, self._fill, of_test[clip].source_size, self._max_gap)
            path = folder / f"{of_test[clip].name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            filled += write_trajectory(path, rows, filled=self._fill is not None).filled
        told = "" if self._fill is None else f" ({plural(filled, 'frame')} filled)"
        print(f"\ntrajectories of {plural(len(trajectories), 'clip')}: {folder}{told}")
