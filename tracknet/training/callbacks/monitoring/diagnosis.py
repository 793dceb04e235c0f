"""Works out why no ball is found."""

from __future__ import annotations

from collections import deque
from math import isfinite
from statistics import median
from typing import Any

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from tracknet.data.faults import plural
from tracknet.data.whole_file import whole_file
from tracknet.training.callbacks.monitoring.diagnosis_picture import draw_diagnosis
from tracknet.training.callbacks.monitoring.evidence import (
    Evidence,
    Finding,
    place_findings,
    threshold_finding,
)
from tracknet.training.callbacks.monitoring.telling import run_folder, tell, validation_windows
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.logged_media import render
from tracknet.training.loggers import log_image

_RUN = 8
_LOOKED_AT = 2
_KEPT = 100


class NoDetectionsDiagnosis(Callback):
    """When no ball is found validation after validation, says why, and leaves ``RUN/diagnosis.png``.

    Looked for are: training targets without a ball; a loss that has exploded or a learning rate of nothing;
    a threshold above the peaks (with what lower ones would find); labels that are shifted in time; labels
    that are off by a constant, have x and y swapped, or the wrong scale. The words are printed once a run and
    the picture goes to every logger that takes pictures, as ``diagnosis``. Until no ball has been found
    ``validations - 1`` times, it costs nothing but a look at the first two batches of an epoch. Lightning
    knows nothing of balls.

    Args:
        validations: Validations in a row without a true positive after which to say why.
        windows: Validation windows that are looked at, in runs of eight that follow each other.
    """

    def __init__(self, validations: PositiveInt = 3, windows: PositiveInt = 64) -> None:
        self.validations: int = validations
        self.windows: int = windows
        self.findings: list[Finding] = []
        self._without = 0
        self._done = False
        self._targets = dict.fromkeys(("labelled", "visible", "inside", "drawn"), 0)
        self._first: list[Tensor] = []
        self._last: deque[Tensor] = deque(maxlen=_KEPT)
        self._rate = 0.0
        self._seen: tuple[Evidence, tuple[Tensor, Tensor, int]] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss and the learning rate, and look at the targets of the first batches."""
        if self._done or not isinstance(pl_module, HeatmapTracker):
            return
        if isinstance(outputs, dict) and "loss" in outputs:
            (self._first if len(self._first) < _KEPT else self._last).append(outputs["loss"].detach())
        rates = [group["lr"] for one in trainer.optimizers for group in one.param_groups]
        self._rate = max([self._rate, *map(float, rates)])
        if batch_idx < _LOOKED_AT:
            self._count_targets(pl_module, batch)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at windows before the first batch, when averaged weights are in place, if it may be needed."""
        if batch_idx or dataloader_idx or self._done or trainer.sanity_checking:
            return
        needed = self._without >= self.validations - 1 and trainer.is_global_zero
        if needed and isinstance(pl_module, HeatmapTracker):
            self._seen = self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count validations without a true positive; say why after the last one."""
        figures = trainer.callback_metrics
        if trainer.sanity_checking or self._done or "val/tp" not in figures:
            return
        self._without = self._without + 1 if float(figures["val/tp"]) == 0 else 0
        if self._without < self.validations:
            self._seen = None
            return
        self._done = True
        folder = run_folder(trainer)
        if self._seen is None or not trainer.is_global_zero:
            return
        evidence, example = self._seen
        losses = [float(one) for one in (*self._first, *self._last)]
        balls = float(figures.get("val/fn", 0)) + float(figures.get("val/fp1", 0))
        self.findings = self._conclude(evidence, losses, balls > 0)
        picture = render(draw_diagnosis(evidence, self.findings, losses, example))
        path = folder / "diagnosis.png"
        with whole_file(path) as part:
            Image.fromarray(picture).save(part)
        log_image(trainer, "diagnosis", picture, trainer.global_step)
        words = [finding.words for finding in self.findings] or [self._no_cause(evidence, losses, pl_module)]
        start = f"no ball has been found in {plural(self._without, 'validation')}: "
        tell(trainer, start + "; also, ".join(words) + f" (picture: {path})")
        self._seen, self._first = None, []
        self._last.clear()

    def _count_targets(self, module: HeatmapTracker, batch: dict[str, Tensor]) -> None:
        parts = (batch[key][:, -module.outputs :] for key in ("xy", "visible", "labelled"))
        xy, visible, labelled = parts
        size = (batch["frames"].shape[-2], batch["frames"].shape[-1])
        seen = visible & labelled
        limit = xy.new_tensor([size[1], size[0]]) - 0.5
        inside = seen & ((xy >= -0.5) & (xy <= limit)).all(dim=-1)
        drawn = module.target(xy, seen, size, size).flatten(2).amax(dim=-1) > 0
        counts = torch.stack([one.sum() for one in (labelled, seen, inside, drawn & seen)]).tolist()
        for name, count in zip(self._targets, counts, strict=True):
            self._targets[name] += int(count)

    def _look(
        self, trainer: Trainer, module: HeatmapTracker
    ) -> tuple[Evidence, tuple[Tensor, Tensor, int]] | None:
        dataset = validation_windows(trainer)
        if dataset is None:
            return None
        runs = max(1, self.windows // _RUN)
        starts = np.linspace(0, max(0, len(dataset) - _RUN), runs).round().astype(int)
        rows: dict[tuple[int, int], dict[str, Tensor]] = {}
        example: tuple[Tensor, Tensor, int] | None = None
        taken = -1
        for start in dict.fromkeys(starts.tolist()):
            samples = [dataset[place] for place in range(start, min(start + _RUN, len(dataset)))]
            batch = {key: torch.stack([one[key] for one in samples]) for key in samples[0]}
            moved = trainer.strategy.batch_to_device(batch)
            frames, background = moved["frames"], moved.get("background")
            with torch.inference_mode(), trainer.precision_plugin.forward_context():
                heatmaps = module.heatmaps(frames, background)
                found = module.decoder(heatmaps.flatten(0, 1), module.input_size)
            count, outputs = heatmaps.shape[:2]
            # Tensors of inference mode cannot be used everywhere: copies are plain ones.
            xy = found.xy.cpu().clone().reshape(count, outputs, 2)
            height = found.confidence.cpu().clone().reshape(count, outputs)
            heat = heatmaps.cpu().clone()
            for row, place in batch["labelled"][:, -outputs:].nonzero().tolist():
                at = batch["frame"].shape[1] - outputs + place
                key = (int(batch["clip"][row]), int(batch["frame"][row, at]))
                if key in rows:
                    continue
                seen = batch["visible"][row, at]
                # The first ball of the run in the middle, or of one before it.
                if example is None or (bool(seen) and taken < start <= starts[runs // 2]):
                    example = (batch["frames"][row, at], heat[row, place], len(rows))
                    taken = start if bool(seen) else -1
                rows[key] = {
                    "found": xy[row, place],
                    "height": height[row, place],
                    "xy": batch["xy"][row, at],
                    "visible": seen,
                    "source_size": batch["source_size"][row],
                }
        if example is None:
            return None
        names = ("found", "height", "xy", "visible", "source_size")
        columns = {name: torch.stack([row[name] for row in rows.values()]) for name in names}
        keys = torch.tensor(list(rows))
        evidence = Evidence(
            keys[:, 0],
            keys[:, 1],
            **columns,
            input_size=module.input_size,
            metric=module.val_metrics,
            threshold=module.threshold,
        )
        return evidence, example

    def _conclude(self, evidence: Evidence, losses: list[float], balls: bool) -> list[Finding]:
        if not balls:
            return [Finding("targets", "the validation clips have no labelled ball at all; choose others")]
        findings = [self._target_finding(), self._loss_finding(losses), threshold_finding(evidence)]
        return [finding for finding in findings if finding is not None] or place_findings(evidence)

    def _target_finding(self) -> Finding | None:
        labelled, visible, inside, drawn = self._targets.values()
        looked = f"of the {labelled:,} labelled frames of the training batches looked at"
        words = ""
        if not visible:
            words = f"the training targets are empty: {looked} none has a ball; look at the visibility column"
        elif inside < visible / 2:
            words = (
                f"the training targets are empty: {looked} {visible:,} have a ball, but only {inside:,} "
                "inside the picture; were the labels made at another size of the video?"
            )
        elif drawn < visible / 2:
            words = (
                f"the training targets are empty: {looked} {visible:,} have a ball, but "
                f"model.init_args.target draws only {drawn:,}"
            )
        return Finding("targets", words) if words else None

    def _loss_finding(self, losses: list[float]) -> Finding | None:
        if self._rate == 0:
            return Finding(
                "learning_rate", "the learning rate is 0, nothing is learnt; set optimizer.init_args.lr"
            )
        if not losses:
            return None
        tail = losses[-max(1, len(losses) // 10) :]
        begun, now = losses[0], median(tail)
        if not all(map(isfinite, tail)) or now > 3 * max(begun, min(losses)):
            return Finding(
                "loss",
                f"the loss has exploded, {begun:.3g} to {now:.3g}: the learning rate of {self._rate:.3g} is "
                "too high; divide it by ten (optimizer.init_args.lr) and clip gradients "
                "(trainer.gradient_clip_val)",
            )
        return None

    def _no_cause(self, evidence: Evidence, losses: list[float], module: LightningModule) -> str:
        told = "no cause found: targets, threshold, time and place of the labels are in order"
        if len(losses) < 2:
            return told
        quarter = max(1, len(losses) // 4)
        begun, now = median(losses[:quarter]), median(losses[-quarter:])
        if now > 0.99 * begun:
            return (
                f"{told}; the loss does not move ({begun:.3g} to {now:.3g}) at a learning rate of "
                f"{self._rate:.3g}; try ten times more, or less where it jumps"
            )
        peak = float(evidence.height[evidence.visible].median())
        by_ball = getattr(getattr(module, "loss", None), "reduction", None) == "ball"
        return (
            f"{told}; the loss is falling ({begun:.3g} to {now:.3g}) and the peaks are {peak:.2g} high; "
            f"train longer{'' if by_ball else ', or take a loss that weighs the ball more (reduction: ball)'}"
        )
