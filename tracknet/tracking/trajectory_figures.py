"""How good the trajectories of a test set are, beside what was found frame by frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tracknet.data.faults import plural
from tracknet.data.geometry import resize_xy
from tracknet.errors import TrackNetError
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
    """What the label of a frame says and what was found in it, in input pixels; and the source's size."""

    xy: tuple[float, float]
    visible: bool
    labelled: bool
    found: tuple[float, float]
    seen: bool
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
        rows: The trajectories, positions in pixels of the source, by clip; for `ErrorAnalysis`.
    """

    def __init__(
        self,
        tracker: CandidateTracker | None = None,
        method: GapFill | None = None,
        max_gap: PositiveInt = MAX_GAP,
    ) -> None:
        self.method = method
        self.max_gap = max_gap
        self.rows: dict[int, list[TrajectoryRow]] = {}
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
        self.rows = {}

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
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        found, confidence = outputs["xy"].cpu(), outputs["confidence"].cpu()
        sources = batch["source_size"].tolist()
        in_source = [
            resize_xy(xy.double(), size, tuple(source)) for xy, source in zip(found, sources, strict=True)
        ]
        self._trajectories.add(pl_module, batch, outputs, torch.stack(in_source))
        last = slice(-confidence.shape[1], None)
        counted = batch["counted"][:, last].cpu()

        def of_counted(values: Tensor) -> list[Any]:
            kept: list[Any] = values.cpu()[counted].tolist()
            return kept

        for clip, frame, xy, visible, labelled, best, seen, source in zip(
            of_counted(batch["clip"][:, None].expand_as(counted)),
            of_counted(batch["frame"][:, last]),
            of_counted(batch["xy"][:, last]),
            of_counted(batch["visible"][:, last]),
            of_counted(batch["labelled"][:, last]),
            of_counted(found),
            of_counted(confidence >= threshold),
            of_counted(batch["source_size"][:, None].expand(*counted.shape, 2)),
            strict=True,
        ):
            self._labels[clip][frame] = _Label(xy, visible, labelled, best, seen, tuple(source))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was."""
        self._trajectories.end(pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, fill, judge and log."""
        self.rows = self._trajectories.rows(trainer, pl_module)
        judge = _Judge(pl_module, frames_of_all_processes(trainer, self._labels))
        self._labels.clear()
        told = [] if self.tracker is None else [("tracked", judge.figures(self.rows), "")]
        if self.method is not None:
            self.rows = {
                clip: filled_rows(rows, self.method, judge.source_size(clip), self.max_gap)
                for clip, rows in self.rows.items()
            }
            filled = sum(row.filled for rows in self.rows.values() for row in rows)
            pl_module.log("test/rectified_filled", float(filled), sync_dist=True)
            told.append(("rectified", judge.figures(self.rows), f"{plural(filled, 'frame')} filled; "))
        before = judge.found()
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
        self._metrics: BallMetrics = deepcopy(module.test_metrics).cpu()  # type: ignore[assignment]
        # Every process holds all frames; adding up over them would count each several times.
        self._metrics.sync_on_compute = False
        self.label = self._metrics.label

    def source_size(self, clip: int) -> tuple[int, int]:
        """Give height and width of the source of a clip."""
        return next(iter(self._labels[clip].values())).source_size

    def found(self) -> dict[str, float]:
        """Give the figures of what was found frame by frame."""
        self._metrics.reset()
        for clip, labels in sorted(self._labels.items()):
            judged = [label for _, label in sorted(labels.items())]
            self._update(clip, judged, [one.found for one in judged], [one.seen for one in judged])
        return self._computed()

    def figures(self, rows: Mapping[int, Sequence[TrajectoryRow]]) -> dict[str, float]:
        """Give the figures of trajectories."""
        self._metrics.reset()
        for clip, of_clip in sorted(rows.items()):
            xy = torch.tensor([(row.x, row.y) for row in of_clip], dtype=torch.float64)
            in_input = resize_xy(xy, self.source_size(clip), self._size)
            judged = [self._labels[clip][row.frame] for row in of_clip]
            self._update(clip, judged, in_input.tolist(), [row.visible for row in of_clip])
        return self._computed()

    def _update(
        self, clip: int, labels: Sequence[_Label], xy: Sequence[Any], visible: Sequence[bool]
    ) -> None:
        self._metrics.update(
            torch.tensor([xy]),
            torch.tensor([visible]),
            torch.tensor([[label.xy for label in labels]]),
            torch.tensor([[label.visible for label in labels]]),
            torch.tensor([[label.labelled for label in labels]]),
            self._size,
            torch.tensor([self.source_size(clip)]),
        )

    def _computed(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._metrics.compute().items()}
