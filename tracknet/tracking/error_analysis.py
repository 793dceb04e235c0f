"""What a tracker got wrong in ``tracknet test``: table, plots, and the worst moments as pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer

from tracknet.data.cached_clip import LabelledClip
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.video_writer import VideoWriter
from tracknet.data.whole_file import whole_file
from tracknet.evaluation.error_groups import Group, GroupFigures, error_groups
from tracknet.evaluation.errors import (
    FrameResult,
    Stretch,
    frame_results,
    on_trajectory,
    speeds,
    threshold_curve,
    worst_stretches,
)
from tracknet.evaluation.frame_pictures import SCALE, drawn_frame
from tracknet.evaluation.metrics import BallMetrics
from tracknet.tracking.error_pictures import contact_sheet
from tracknet.tracking.error_plots import draw_errors, draw_groups
from tracknet.tracking.processes import of_all_processes
from tracknet.tracking.trajectory_figures import TrajectoryFigures

COLUMNS = (
    "clip",
    "frame",
    "type",
    "distance",
    "confidence",
    "x",
    "y",
    "label_x",
    "label_y",
    "speed",
    "visibility",
    "filled",
)
"""Columns of ``test_frames.csv``; positions, distance and speed in pixels, see `ErrorAnalysis`."""

GROUP_COLUMNS = ("by", "group", *GroupFigures._fields)
"""Columns of ``test_groups.csv``, see `GroupFigures`."""

_LONGEST_NAME = 40  # characters of a clip in the name of a video; file systems allow 255 bytes in all


class ErrorAnalysis(Callback):
    """Shows after ``tracknet test`` where and when a tracker is wrong.

    Into the run's folder go ``test_frames.csv`` (one row a frame: type, distance in the metric's space,
    confidence, found and labelled position and speed in pixels of the network's input, visibility as
    labelled, 1 where the position was filled), ``test_errors.png`` (precision over recall, F1 over the
    threshold, distances, recall by speed and by visibility, F1 by clip), ``test_groups.csv`` and
    ``test_groups.png`` (figures, precision over recall and distances by visibility, speed and clip) and
    ``worst/``: the stretches with the most errors as short videos, the worst first, and a contact sheet of
    single errors. Lightning and torchmetrics keep figures, not frames.

    Beside `TrajectoryFigures` all of it is of the trajectories that a tracker chooses, gaps filled where that
    is asked for, but for what is drawn over the threshold, which is of single frames; rings at filled
    positions are dashed.

    Args:
        worst: Number of stretches; 0 for none.
        frames: Frames of a stretch.
    """

    def __init__(self, worst: NonNegativeInt = 6, frames: PositiveInt = 48) -> None:
        self.worst = worst
        self.frames = frames
        self._results: list[FrameResult] = []
        self._metrics: BallMetrics | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew; only a tracker on rallies can be looked at."""
        self._results = []
        metrics = getattr(pl_module, "test_metrics", None)
        rallies = isinstance(getattr(trainer, "datamodule", None), RallyDataModule)
        self._metrics = metrics if isinstance(metrics, BallMetrics) and rallies else None

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what became of each frame that counts."""
        if self._metrics is None:
            return
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        self._results += frame_results(
            batch, outputs["xy"], outputs["confidence"], threshold, self._metrics, batch["labelled"]
        )

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write table, plots, videos and the contact sheet."""
        if self._metrics is None:
            return
        metrics, results = self._metrics, self._results
        self._metrics, self._results = None, []
        results = [result for part in of_all_processes(trainer, results) for result in part]
        # Asked for in all processes: Lightning tells it from the first to the others.
        run = trainer.log_dir
        if not trainer.is_global_zero or run is None or not results:
            return
        found = sorted(results)
        folder = Path(run)
        clips: list[LabelledClip] = trainer.datamodule.parts["test"]  # type: ignore[attr-defined]
        results, told = _on_trajectories(trainer, pl_module, found, metrics, clips)
        names = [clip.name for clip in clips]
        write_results(folder / "test_frames.csv", results, names)
        groups = error_groups(results, names, metrics)
        write_groups(folder / "test_groups.csv", groups)
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        with whole_file(folder / "test_errors.png") as part:
            draw_errors(found, results, metrics, threshold, groups, told).savefig(part, dpi=120)
        with whole_file(folder / "test_groups.png") as part:
            draw_groups(found, results, metrics, groups, told).savefig(part, dpi=120)
        curve = threshold_curve(found, metrics)
        at, f1 = curve.best
        single, after = (" of single frames", f" ({told})") if told else ("", "")
        print(f"  AP {curve.average_precision:.4f}; highest F1 {f1:.4f}, at the threshold {at:.3f}{single}")
        print(f"  frame by frame{after}: {folder / 'test_frames.csv'}, {folder / 'test_errors.png'}")
        print(f"  by visibility, speed and clip: {folder / 'test_groups.csv'}, {folder / 'test_groups.png'}")
        stretches = worst_stretches(results, self.frames, self.worst)
        if stretches:
            write_worst(folder / "worst", stretches, results, clips)
            print(f"  worst moments: {folder / 'worst'}")


def _on_trajectories(
    trainer: Trainer,
    pl_module: LightningModule,
    found: Sequence[FrameResult],
    metrics: BallMetrics,
    clips: Sequence[LabelledClip],
) -> tuple[list[FrameResult], str]:
    """Judge the frames by the trajectories of `TrajectoryFigures`, done with its epoch; say what they are."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    figures = next((one for one in callbacks if isinstance(one, TrajectoryFigures)), None)
    if figures is None:
        return list(found), ""
    size: tuple[int, int] = pl_module.input_size  # type: ignore[assignment]
    sources = [clip.source_size for clip in clips]
    filled = sum(place.filled for place in figures.places.values())
    told = ["tracked"] * (figures.tracker is not None) + [f"{filled} filled"] * (figures.method is not None)
    return on_trajectory(found, figures.places, metrics, size, sources), ", ".join(told)


def write_results(path: Path, results: Sequence[FrameResult], names: Sequence[str]) -> None:
    """Write one row a frame.

    Args:
        path: The CSV, columns `COLUMNS`; empty where there is no labelled ball.
        results: Frames in order.
        names: Names of the clips.
    """
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for result, speed in zip(results, speeds(results), strict=True):
            numbers = (*result[3:9], float(speed))
            shown = ["" if np.isnan(number) else f"{number:.3f}" for number in numbers]
            row = [names[result.clip], result.frame, result.kind, *shown, result.visibility]
            writer.writerow([*row, int(result.filled)])


def write_groups(path: Path, groups: Sequence[Group]) -> None:
    """Write one row a group.

    Args:
        path: The CSV, columns `GROUP_COLUMNS`; empty where there is nothing to divide by.
        groups: The groups.
    """
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(GROUP_COLUMNS)
        for group in groups:
            counts, numbers = group.figures[:7], group.figures[7:]
            shown = ["" if np.isnan(number) else f"{number:.4f}" for number in numbers]
            writer.writerow([group.by, group.name, *counts, *shown])


def write_worst(
    folder: Path,
    stretches: Sequence[Stretch],
    results: Sequence[FrameResult],
    clips: Sequence[LabelledClip],
) -> None:
    """Write the worst stretches as videos, and a contact sheet of their errors.

    The pictures are what the network sees, twice as large; those of an earlier test are replaced.

    Args:
        folder: Where they go.
        stretches: The worst first.
        results: All frames.
        clips: The clips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("[0-9][0-9]_*.mp4"), folder / "contact_sheet.png"]:
        old.unlink(missing_ok=True)
    by_frame = {(result.clip, result.frame): result for result in results}
    for place, stretch in enumerate(stretches, start=1):
        clip = clips[stretch.clip]
        pixels = clip.cached.frames
        name = clip.name.replace("/", "_")[:_LONGEST_NAME]
        path = folder / f"{place:02d}_{name}_{stretch.start}-{stretch.end - 1}.mp4"
        size = (pixels.shape[2] * SCALE, pixels.shape[3] * SCALE)
        with VideoWriter(path, size, min(clip.fps, 10.0)) as video:
            for number in clip.cached.between(stretch.start, stretch.end):
                frame = pixels[clip.cached.row(number)]
                video.write(drawn_frame(frame, by_frame.get((stretch.clip, number))))
    with whole_file(folder / "contact_sheet.png") as part:
        contact_sheet(stretches, by_frame, clips).save(part)
