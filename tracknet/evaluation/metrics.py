"""Figures of a tracker: counts, accuracy, precision, recall, F1 and RMSE, as the papers define them.

Each frame that counts is one of

- TP: there is a ball, and it is found within the tolerance;
- FP1: there is a ball, and it is found elsewhere;
- FP2: there is no ball, and one is found;
- TN: there is no ball, and none is found;
- FN: there is a ball, and none is found.

The papers disagree on tolerance, pixel space, strictness and recall, so that figures are comparable only
under the same preset: every figure is to be printed with `BallMetrics.label`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor
from torchmetrics import Metric

PresetName = Literal["tracknetv1", "tracknetv2", "wasb", "v5"]
Space = tuple[PositiveInt, PositiveInt] | Literal["source"]
Recall = Literal["detected", "visible"]

KINDS = ("tp", "fp1", "fp2", "tn", "fn")
"""What a frame can be, in this order."""

FIGURES = ("accuracy", "precision", "recall", "f1", "rmse")
"""What is computed of the counts."""

_ERROR_UNIT = 2.0**-20


@dataclass(frozen=True)
class Preset:
    """Conventions of a paper.

    Attributes:
        tolerance: Largest distance of a TP, in pixels of the space.
        space: Height and width at which distances are measured, or ``source``.
        strict: Whether a distance equal to the tolerance is too far.
        recall: See `BallMetrics`.
    """

    tolerance: float
    space: Space
    strict: bool
    recall: Recall


PRESETS: dict[PresetName, Preset] = {
    "tracknetv1": Preset(5.0, (720, 1280), strict=False, recall="visible"),
    "tracknetv2": Preset(4.0, (288, 512), strict=False, recall="detected"),
    "wasb": Preset(4.0, "source", strict=True, recall="detected"),
    "v5": Preset(4.0, "source", strict=False, recall="detected"),
}
"""Those of TrackNet (Huang et al., 2019), TrackNetV2 to V4, WASB (Tarashima et al., 2023) and TrackNetV5."""


class BallMetrics(Metric):
    """Counts hits and misses of the ball, and gives the figures of the papers.

    accuracy = (TP + TN) / all, precision = TP / (TP + FP1 + FP2), recall = TP / (TP + FN) or
    TP / (TP + FP1 + FN), F1 = 2 precision recall / (precision + recall), RMSE = root of the mean squared
    distance of the TPs, in pixels of the space (WASB's own RMSE takes in FP1). Without anything to divide by,
    a figure is 0, but RMSE is NaN: 0 px would be perfect.

    ========== ========= ======== ======== =========
    preset     tolerance space    distance recall
    ========== ========= ======== ======== =========
    tracknetv1 5 px      720x1280 d <= 5   visible
    tracknetv2 4 px      288x512  d <= 4   detected
    wasb       4 px      source   d < 4    detected
    v5         4 px      source   d <= 4   detected
    ========== ========= ======== ======== =========

    Args:
        preset: Conventions of which paper.
        tolerance: Largest distance of a TP, in pixels of the space; None takes that of the preset.
        space: Height and width at which distances are measured, or ``source`` for the size of each video;
            None takes that of the preset.
        strict: Whether a distance equal to the tolerance is too far; None takes that of the preset.
        recall: ``detected`` leaves FP1 out of the recall (TrackNetV2 and later), ``visible`` divides by all
            frames with a ball (TrackNet); None takes that of the preset.
        groups: Into how many groups (such as clips) frames are counted, for `per_group`.

    Example:
        >>> metric = BallMetrics()
        >>> xy = torch.tensor([[[10.0, 10.0], [10.0, 10.0], [10.0, 10.0]]])
        >>> target = torch.tensor([[[13.0, 10.0], [10.0, 15.0], [0.0, 0.0]]])
        >>> detected = torch.tensor([[True, True, False]])
        >>> visible = torch.tensor([[True, True, False]])
        >>> counted = torch.ones(1, 3, dtype=torch.bool)
        >>> metric.update(xy, detected, target, visible, counted, (288, 512), torch.tensor([[720, 1280]]))
        >>> found = metric.compute()
        >>> print(metric.label, *(f"{name} {found[name]:.3f}" for name in ("precision", "recall", "rmse")))
        tracknetv2: d <= 4 px at 288x512 precision 0.500 recall 1.000 rmse 3.000
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor
    squared_error: Tensor

    def __init__(
        self,
        preset: PresetName = "tracknetv2",
        tolerance: PositiveFloat | None = None,
        space: Space | None = None,
        strict: bool | None = None,
        recall: Recall | None = None,
        groups: PositiveInt = 1,
    ) -> None:
        super().__init__()
        base = PRESETS[preset]
        self.preset: PresetName = preset
        self.tolerance: float = base.tolerance if tolerance is None else float(tolerance)
        space = base.space if space is None else space
        self.space: Space = "source" if space == "source" else (int(space[0]), int(space[1]))
        self.strict: bool = base.strict if strict is None else strict
        self.recall: Recall = base.recall if recall is None else recall
        self.groups: int = groups
        self.note: str = ""
        # Integers add up to the same in any order and in any number of processes, and on every device.
        self.add_state("counts", torch.zeros(groups, len(KINDS), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("squared_error", torch.zeros(groups, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def label(self) -> str:
        """The conventions in words, such as ``tracknetv2: d <= 4 px at 288x512``."""
        mine = Preset(self.tolerance, self.space, self.strict, self.recall)
        size = "source size" if self.space == "source" else f"{self.space[0]}x{self.space[1]}"
        words = f"d {'<' if self.strict else '<='} {self.tolerance:g} px at {size}"
        if self.note:
            words += f", {self.note}"
        if mine == PRESETS[self.preset]:
            return f"{self.preset}: {words}"
        return f"changed {self.preset}: {words}, recall of {self.recall} balls"

    def update(
        self,
        xy: Tensor,
        detected: Tensor,
        target_xy: Tensor,
        target_visible: Tensor,
        counted: Tensor,
        input_size: tuple[int, int],
        source_size: Tensor,
        group: Tensor | None = None,
    ) -> None:
        """Count the frames of a batch of windows.

        Args:
            xy: Positions found, in input pixels, ``[B, L, 2]``.
            detected: Whether a ball is found, bool ``[B, L]``.
            target_xy: Labelled positions, in input pixels, ``[B, L, 2]``; anything where no ball is visible.
            target_visible: Whether a ball is labelled, bool ``[B, L]``.
            counted: Which frames count, bool ``[B, L]``.
            input_size: Height and width of the network's input.
            source_size: Height and width of each window's video, int64 ``[B, 2]``.
            group: Group of each window, int64 ``[B]`` in 0..groups - 1; None for the first.
        """
        square = self.square_distances(xy, target_xy, input_size, source_size)
        kinds = self.kinds(square, detected, target_visible)
        found = (kinds & counted[..., None]).sum(dim=1)
        hit = kinds[..., 0]
        error = (
            torch.where(hit & counted, square / _ERROR_UNIT, torch.zeros_like(square))
            .round()
            .long()
            .sum(dim=1)
        )
        if group is None:
            group = torch.zeros(len(xy), dtype=torch.int64, device=xy.device)
        # Not in place: a reset under inference mode leaves tensors that cannot be changed outside of it.
        self.counts = self.counts.index_add(0, group, found)
        self.squared_error = self.squared_error.index_add(0, group, error)

    def square_distances(
        self, xy: Tensor, target_xy: Tensor, input_size: tuple[int, int], source_size: Tensor
    ) -> Tensor:
        """Give squared distances in pixels of the metric's space, ``[B, L]``; arguments as in `update`."""
        if self.space == "source":
            height, width = source_size[:, 0], source_size[:, 1]
        else:
            height, width = (source_size.new_full((len(xy),), length) for length in self.space)
        scale = torch.stack([width / input_size[1], height / input_size[0]], dim=1)
        return ((xy - target_xy) * scale[:, None]).square().sum(dim=-1)

    def kinds(self, square_distances: Tensor, detected: Tensor, target_visible: Tensor) -> Tensor:
        """Say of each frame which of TP, FP1, FP2, TN and FN it is.

        Args:
            square_distances: As `square_distances` gives them, ``[B, L]``.
            detected: Whether a ball is found, bool ``[B, L]``.
            target_visible: Whether a ball is labelled, bool ``[B, L]``.

        Returns:
            Bool ``[B, L, 5]``, one of the five true.
        """
        limit = self.tolerance**2
        near = square_distances < limit if self.strict else square_distances <= limit
        kinds = [
            detected & target_visible & near,
            detected & target_visible & ~near,
            detected & ~target_visible,
            ~detected & ~target_visible,
            ~detected & target_visible,
        ]
        return torch.stack(kinds, dim=-1)

    def compute(self) -> dict[str, Tensor]:
        """Give the figures over all groups.

        Returns:
            ``tp``, ``fp1``, ``fp2``, ``tn``, ``fn`` (int64) and ``accuracy``, ``precision``, ``recall``,
            ``f1``, ``rmse`` (float32), scalars.
        """
        return self._figures(self.counts.sum(dim=0), self.squared_error.sum())

    def per_group(self) -> list[dict[str, float]]:
        """Give the figures of each group, named as in `compute`; of this process only."""
        return [
            {name: value.item() for name, value in self._figures(counts, error).items()}
            for counts, error in zip(self.counts, self.squared_error, strict=True)
        ]

    def _figures(self, counts: Tensor, error: Tensor) -> dict[str, Tensor]:
        tp, fp1, fp2, tn, fn = counts
        judged = precision_recall_f1(torch.stack((tp, fp1, fp2, fn)), self.recall)
        shares = [one.nan_to_num(0.0) for one in ((tp + tn) / counts.sum(), *judged)]
        figures = (*shares, (error / tp * _ERROR_UNIT).sqrt())
        return dict(zip((*KINDS, *FIGURES), (*counts, *figures), strict=True))


def precision_recall_f1(counts: Tensor, recall: Recall) -> tuple[Tensor, Tensor, Tensor]:
    """Make precision, recall and F1 of counts; NaN where there is nothing to divide by.

    Args:
        counts: How many frames are TP, FP1, FP2 and FN, ``[..., 4]``.
        recall: See `BallMetrics`.

    Returns:
        Precision, recall and F1, each ``[...]``.
    """
    tp, fp1, fp2, fn = counts.unbind(-1)
    detections = tp + fp1 + fp2
    balls = tp + fn if recall == "detected" else tp + fp1 + fn
    return tp / detections, tp / balls, 2 * tp / (detections + balls)
