"""How good the trajectories of a test set are, beside what was found frame by frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tracknet.data.faults import plural
from tracknet.data.geometry import resize_xy
from tracknet.errors import TrackNetError
from tracknet.evaluation.errors import Place
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.evaluation.metrics import BallMetrics
from tracknet.tracking.clip_trajectories import ClipTrajectories, filled_rows
from tracknet.tracking.processes import frames_of_all_processes
from tracknet.tracking.rectification import GapFill
from tracknet.tracking.sightings import CandidateTracker
from tracknet.tracking.trajectory import TrajectoryRow

SHOWN = ("f1", "precision", "recall", "accuracy")
"""Figures that are logged again, as ``test/tracked_f1`` and so on."""


class _Label(NamedTuple):
    """What the label of a frame says, in input pixels; and the source's size."""

    xy: tuple[float, float]
    visible: bool
    labelled: bool
    source_size: tuple[int, int]


class TrajectoryFigures(Callback):
    """Judges in ``test`` the trajectories that ``tracknet track`` would write, and logs their figures, too.

    The figures of the test, such as ``test/f1``, are of what the decoder finds frame by frame. Those of what
    a tracker chooses are logged as ``test/tracked_f1``, ``_precision``, ``_recall`` and ``_accuracy``; those
    with gaps filled as ``test/rectified_f1`` and so on, and the number of frames filled as
    ``test/rectified_filled``. All are judged by the metrics of the model.

    Args:
        tracker: Chooses among the candidates of each frame; default the decoder's choice.
        method: How gaps are filled; default not at all.
        max_gap: Longest gap that is filled, in frames.

    Attributes:
        places: What the trajectories say, by clip and frame; for `ErrorAnalysis`.
    """

    def __init__(
        self,
        tracker: CandidateTracker | None = None,
        method: GapFill | None = None,
        max_gap: PositiveInt = MAX_GAP,
    ) -> None:
        self.method = method
        self.max_gap = max_gap
        self.places: dict[tuple[int, int], Place] = {}
        self._trajectories = ClipTrajectories(tracker)
        self._labels: dict[int, dict[int, _Label]] = defaultdict(dict)

    @property
    def tracker(self) -> CandidateTracker | None:
        """Chooses among the candidates of each frame."""
        return self._trajectories.tracker

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, whatever an interrupted run has left."""
        if not isinstance(getattr(pl_module, "test_metrics", None), BallMetrics):
            raise TrackNetError("--tracker and --rectifier are for trajectories; this is no tracker")
        self._trajectories.begin(pl_module)
        self._labels.clear()
        self.places = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the frames that this batch speaks for."""
        size: tuple[int, int] = pl_module.input_size  # type: ignore[assignment]
        found = outputs["xy"].cpu()
        sources = batch["source_size"].tolist()
        in_source = [
            resize_xy(xy.double(), size, tuple(source)) for xy, source in zip(found, sources, strict=True)
        ]
        self._trajectories.add(pl_module, batch, outputs, torch.stack(in_source))
        last = slice(-found.shape[1], None)
        counted = batch["counted"][:, last].cpu()

        def of_counted(values: Tensor) -> list[Any]:
            kept: list[Any] = values.cpu()[counted].tolist()
            return kept

        for clip, frame, xy, visible, labelled, source in zip(
            of_counted(batch["clip"][:, None].expand_as(counted)),
            of_counted(batch["frame"][:, last]),
            of_counted(batch["xy"][:, last]),
            of_counted(batch["visible"][:, last]),
            of_counted(batch["labelled"][:, last]),
            of_counted(batch["source_size"][:, None].expand(*counted.shape, 2)),
            strict=True,
        ):
            self._labels[clip][frame] = _Label(xy, visible, labelled, tuple(source))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was."""
        self._trajectories.end(pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, fill, judge and log."""
        rows = self._trajectories.rows(trainer, pl_module)
        judge = _Judge(pl_module, frames_of_all_processes(trainer, self._labels))
        self._labels.clear()
        self.places = judge.places(rows)
        told = [] if self.tracker is None else [("tracked", judge.figures(self.places), "")]
        if self.method is not None:
            rows = {
                clip: filled_rows(of_clip, self.method, judge.source_size(clip), self.max_gap)
                for clip, of_clip in rows.items()
            }
            self.places = judge.places(rows)
            filled = sum(place.filled for place in self.places.values())
            pl_module.log("test/rectified_filled", float(filled), sync_dist=True)
            told.append(("rectified", judge.figures(self.places), f"{plural(filled, 'frame')} filled; "))
        before = judge.before
        for word, after, first in told:
            for name in SHOWN:
                pl_module.log(f"test/{word}_{name}", after[name], sync_dist=True)
            changes = ", ".join(f"{name} {before[name]:.4f} -> {after[name]:.4f}" for name in SHOWN)
            if trainer.is_global_zero:
                print(f"\n{word}: {first}{changes} ({judge.label})", end="")
            before = after
        if told and trainer.is_global_zero:
            print()


class _Judge:
    """Judges trajectories of a test set by the metrics of its model."""

    def __init__(self, module: LightningModule, labels: Mapping[int, Mapping[int, _Label]]) -> None:
        self._size: tuple[int, int] = module.input_size  # type: ignore[assignment]
        self._labels = labels
        metrics: BallMetrics = module.test_metrics  # type: ignore[assignment]
        self.label = metrics.label
        self.before = _floats(metrics)
        self._metrics = deepcopy(metrics).cpu()
        # Every process holds all frames; adding up over them would count each several times.
        self._metrics.sync_on_compute = False

    def source_size(self, clip: int) -> tuple[int, int]:
        """Give height and width of the source of a clip."""
        return next(iter(self._labels[clip].values())).source_size

    def places(self, rows: Mapping[int, Sequence[TrajectoryRow]]) -> dict[tuple[int, int], Place]:
        """Say by clip and frame, in input pixels, what trajectories say."""
        places = {}
        for clip, of_clip in rows.items():
            xy = np.array([(row.x, row.y) for row in of_clip], np.float64)
            moved = resize_xy(xy, self.source_size(clip), self._size).tolist()
            for row, (x, y) in zip(of_clip, moved, strict=True):
                places[clip, row.frame] = Place(x, y, row.visible, row.confidence, row.filled)
        return places

    def figures(self, places: Mapping[tuple[int, int], Place]) -> dict[str, float]:
        """Give the figures of trajectories."""
        self._metrics.reset()
        for clip, labels in self._labels.items():
            told = [places[clip, frame] for frame in labels]
            judged = list(labels.values())
            self._metrics.update(
                torch.tensor([[(place.x, place.y) for place in told]]),
                torch.tensor([[place.visible for place in told]]),
                torch.tensor([[label.xy for label in judged]]),
                torch.tensor([[label.visible for label in judged]]),
                torch.tensor([[label.labelled for label in judged]]),
                self._size,
                torch.tensor([self.source_size(clip)]),
            )
        return _floats(self._metrics)


def _floats(metrics: BallMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.compute().items()}
