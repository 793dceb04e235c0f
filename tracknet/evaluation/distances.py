"""Distances of the positions found, whatever their confidence: mean distance and PCK."""

from __future__ import annotations

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor

from tracknet.evaluation.metrics import BallMetrics, PresetName, Recall, Space

_UNIT = 2.0**-20


class BallDistances(BallMetrics):
    """The figures of `BallMetrics`, and how far off positions are, as single-frame networks are judged.

    Over all frames with a ball, in pixels of the network's input, and whether or not the confidence reaches
    the decoder's threshold: ``l2`` is the mean distance, ``pck@R`` the share of frames within R pixels
    (percentage of correct keypoints, here in 0..1). Without a ball anywhere ``l2`` is NaN and ``pck@R`` 0.

    Args:
        preset: As in `BallMetrics`.
        tolerance: As in `BallMetrics`.
        space: As in `BallMetrics`; ``l2`` and ``pck@R`` have pixels of their own.
        strict: As in `BallMetrics`.
        recall: As in `BallMetrics`.
        groups: As in `BallMetrics`.
        pck: The radii R in pixels; a distance equal to one is within it.
        pixels: Height and width of the picture in whose pixels ``l2`` and ``pck@R`` are, such as those of a
            heatmap; default the input.

    Example:
        >>> metric = BallDistances(pck=(3.0,))
        >>> xy, target = torch.tensor([[[3.0, 4.0], [7.0, 3.0]]]), torch.tensor([[[0.0, 0.0], [7.0, 0.0]]])
        >>> yes, no = torch.tensor([[True, True]]), torch.tensor([[False, False]])
        >>> metric.update(xy, no, target, yes, yes, (288, 512), torch.tensor([[720, 1280]]))
        >>> found = metric.compute()
        >>> found["l2"], found["pck@3"], found["recall"]
        (tensor(4.), tensor(0.5000), tensor(0.))
    """

    distance: Tensor
    within: Tensor
    visible: Tensor

    def __init__(
        self,
        preset: PresetName = "tracknetv2",
        tolerance: PositiveFloat | None = None,
        space: Space | None = None,
        strict: bool | None = None,
        recall: Recall | None = None,
        groups: PositiveInt = 1,
        pck: tuple[PositiveFloat, ...] = (3.0,),
        pixels: tuple[PositiveInt, PositiveInt] | None = None,
    ) -> None:
        super().__init__(preset, tolerance, space, strict, recall, groups)
        self.pck: tuple[float, ...] = tuple(float(radius) for radius in pck)
        self.pixels = None if pixels is None else (int(pixels[0]), int(pixels[1]))
        # Integers, as there: the same sums in any order and in any number of processes.
        for name, count in (("distance", 1), ("within", len(self.pck)), ("visible", 1)):
            self.add_state(name, torch.zeros(count, dtype=torch.int64), dist_reduce_fx="sum")

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
        """Count the frames of a batch of windows; arguments as in `BallMetrics.update`."""
        super().update(xy, detected, target_xy, target_visible, counted, input_size, source_size, group)
        height, width = self.pixels or input_size
        scale = xy.new_tensor([width / input_size[1], height / input_size[0]])
        distances = ((xy - target_xy) * scale)[target_visible & counted].norm(dim=-1)
        radii = distances.new_tensor(self.pck)
        self.distance = self.distance + (distances / _UNIT).round().long().sum()
        self.within = self.within + (distances[:, None] <= radii).sum(dim=0)
        self.visible = self.visible + len(distances)

    def compute(self) -> dict[str, Tensor]:
        """Give the figures of `BallMetrics.compute`, ``l2`` in pixels and a ``pck@R`` for each radius."""
        shares = (self.within / self.visible).nan_to_num(0.0).unbind()
        found = {"l2": (self.distance / self.visible * _UNIT).squeeze()}
        found |= dict(zip(_pck_names(self.pck), shares, strict=True))
        return super().compute() | found


def distance_names(metrics: Namespace | None) -> list[str]:
    """Give the figures that a chosen metric adds to those of `BallMetrics`.

    Args:
        metrics: The choice in a configuration: ``class_path`` and ``init_args``.

    Returns:
        Names as in `BallDistances.compute`, none for another class.
    """
    if metrics is None or not str(metrics.get("class_path")).endswith(BallDistances.__name__):
        return []
    return ["l2", *_pck_names(metrics.get("init_args.pck") or ())]


def _pck_names(radii: tuple[float, ...]) -> list[str]:
    return [f"pck@{radius:g}" for radius in radii]
