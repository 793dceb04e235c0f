"""Callbacks that record what a run has come to."""

from __future__ import annotations

import csv
import json
from math import isnan
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.figure import Figure

from tracknet.data.datamodules import RallyDataModule
from tracknet.data.whole_file import whole_file
from tracknet.evaluation.frame_pictures import WORDS
from tracknet.evaluation.metrics import KINDS, BallMetrics
from tracknet.training.lightning_module import HeatmapTracker

FIGURES = ("f1", "precision", "recall", "accuracy", "rmse")


class Report(Callback):
    """Leaves plots and tables that a person can read in the run's folder.

    After training, also when it was stopped: ``curves.png``, the loss and the validation figures over the
    steps. After ``test``: ``test.json`` (all figures with the metric's preset), ``test_clips.csv`` (one row a
    clip) and ``test.png``. Lightning's loggers keep the numbers but draw and judge nothing.
    """

    def __init__(self) -> None:
        self._by_clip: BallMetrics | None = None
        self._folder: str | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask where the run lies, in all processes: Lightning tells it from the first to the others.

        Where one of them fails, the others do not listen any more.
        """
        self._folder = trainer.log_dir

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the curves."""
        self._draw(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what there is of the curves when training is stopped or fails."""
        if trainer.state.fn == TrainerFn.FITTING and trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self._folder
        if folder is None or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        table = Path(folder) / "metrics.csv"
        if not table.is_file():
            return
        label = pl_module.val_metrics.label if isinstance(pl_module, HeatmapTracker) else ""
        figure = draw_curves(table, label)
        if figure is not None:
            with whole_file(table.with_name("curves.png")) as part:
                figure.savefig(part, dpi=120)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge clip by clip beside the figures of the whole set."""
        data = getattr(trainer, "datamodule", None)
        self._by_clip = None
        if isinstance(pl_module, HeatmapTracker) and isinstance(data, RallyDataModule):
            judge = pl_module.test_metrics
            self._by_clip = BallMetrics(
                judge.preset,
                judge.tolerance,
                judge.space,
                judge.strict,
                judge.recall,
                groups=len(data.clip_names("test")),
            ).to(pl_module.device)
            self._by_clip.note = judge.note

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add one batch."""
        if self._by_clip is None or not isinstance(pl_module, HeatmapTracker):
            return
        last = slice(-pl_module.outputs, None)
        self._by_clip.update(
            outputs["xy"],
            outputs["confidence"] >= pl_module.threshold,
            batch["xy"][:, last],
            batch["visible"][:, last],
            (batch["counted"] & batch["labelled"])[:, last],
            pl_module.input_size,
            batch["source_size"],
            batch["clip"],
        )

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the tables and the picture."""
        if self._by_clip is None:
            return
        total = {name: value.item() for name, value in self._by_clip.compute().items()}
        with self._by_clip.sync_context():
            clips = self._by_clip.per_group()
        label = self._by_clip.label
        self._by_clip = None
        run = trainer.log_dir
        if not trainer.is_global_zero or run is None:
            return
        names = trainer.datamodule.clip_names("test")  # type: ignore[attr-defined]
        folder = Path(run)
        logged = {
            name.removeprefix("test/"): value.item() for name, value in trainer.callback_metrics.items()
        }
        further = {name: value for name, value in logged.items() if name not in total and name != "loss"}
        figures = {name: None if isnan(value) else value for name, value in {**total, **further}.items()}
        report = {"metric": label, "clips": len(names), **figures}
        with whole_file(folder / "test.json") as part:
            part.write_text(json.dumps(report, indent=2) + "\n")
        with whole_file(folder / "test_clips.csv") as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", *FIGURES, *KINDS])
            for name, row in zip(names, clips, strict=True):
                found = ["" if isnan(row[f]) else f"{row[f]:.4f}" for f in FIGURES]
                writer.writerow([name, *found, *(int(row[c]) for c in KINDS)])
        with whole_file(folder / "test.png") as part:
            draw_clips(names, clips, label).savefig(part, dpi=120)
        print(f"\ntest figures ({label}):")
        told = {name: "none" if isnan(total[name]) else f"{total[name]:.4f}" for name in FIGURES}
        print("  " + "  ".join(f"{name} {one}" for name, one in told.items()))
        print("  " + "  ".join(f"{name} {total[name]}" for name in KINDS))
        print(f"  by clip: {folder / 'test_clips.csv'}, {folder / 'test.png'}")


def draw_curves(table: Path, label: str) -> Figure | None:
    """Draw the loss and the validation figures of a ``metrics.csv`` over the steps.

    Args:
        table: The file, as Lightning's CSV logger writes it.
        label: Name of the metric's preset, for the title.

    Returns:
        The figure, or None where the file holds no validation.
    """
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def curve(name: str) -> tuple[list[float], list[float]]:
        points = [(float(r["step"]), float(r[name])) for r in rows if r.get(name)]
        return [p[0] for p in points], [p[1] for p in points]

    if not curve("val/f1")[0]:
        return None
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, score = figure.subplots(1, 2)
    for name in ("train/loss_step", "train/loss_epoch", "val/loss"):
        loss.plot(*curve(name), label=name, alpha=0.4 if name.endswith("step") else 1.0)
    loss.set_yscale("log")
    loss.set_title("loss")
    for name in ("val/f1", "val/precision", "val/recall", "val/accuracy"):
        score.plot(*curve(name), marker=".", label=name)
    best = max(curve("val/f1")[1])
    score.set_ylim(0, 1)
    score.set_title(f"validation, best F1 {best:.4f} ({label})", fontsize=10)
    for axis in (loss, score):
        axis.set_xlabel("optimizer steps")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def draw_clips(names: list[str], clips: list[dict[str, float]], label: str) -> Figure:
    """Draw what became of every frame, clip by clip.

    Args:
        names: Names of the clips.
        clips: Figures of each clip, as `BallMetrics.per_group` gives them.
        label: Name of the metric's preset, for the title.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(names)), layout="constrained")
    axis = figure.subplots()
    left = [0.0] * len(names)
    colours = {"tp": "#2a9d50", "tn": "#9ecfae", "fp1": "#e07b39", "fp2": "#b5432a", "fn": "#8a8a8a"}
    for name, colour in colours.items():
        widths = [clip[name] for clip in clips]
        axis.barh(names, widths, left=left, color=colour, label=f"{name}: {WORDS[name]}")
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, clip in enumerate(clips):
        axis.text(left[place], place, f" F1 {clip['f1']:.3f}", va="center", fontsize=8)
    axis.set_xlim(0, max(left, default=1.0) * 1.12 or 1.0)
    axis.invert_yaxis()
    axis.set_xlabel("frames")
    axis.set_title(f"test, clip by clip ({label})", fontsize=10)
    axis.legend(fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.6 / (2 + len(names))))
    return figure
