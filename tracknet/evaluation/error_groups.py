"""The frames of a test by how well the ball is seen, how fast it is, and clip; figures of each group."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch

from tracknet.evaluation.errors import FrameResult, speeds
from tracknet.evaluation.metrics import KINDS, BallMetrics, precision_recall_f1

VISIBILITY = ("no ball", "visible", "partly hidden", "hidden")
"""What the codes of the labels mean."""

SPEEDS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)
"""Bounds of the classes of speed, in pixels of the network's input a frame."""


GroupedBy = Literal["visibility", "speed", "clip"]


class GroupFigures(NamedTuple):
    """Figures of a group; NaN where there is nothing to divide by, or no ball was found.

    Attributes:
        frames: Frames.
        filled: Those of them whose position was filled.
        tp: See `tracknet.evaluation.metrics`, as the four that follow.
        fp1: Frames with a ball that was found elsewhere.
        fp2: Frames without a ball in which one was found.
        tn: Frames without a ball in which none was found.
        fn: Frames with a ball that was not found.
        precision: In the convention of the metric, as the two that follow.
        recall: Share of the balls that was found.
        f1: Harmonic mean of both.
        median_distance: Median distance of the balls found, right or wrong, in pixels of the metric's space.
        p90_distance: Distance within which nine of ten of them are.
    """

    frames: int
    filled: int
    tp: int
    fp1: int
    fp2: int
    tn: int
    fn: int
    precision: float
    recall: float
    f1: float
    median_distance: float
    p90_distance: float


class Group(NamedTuple):
    """Some of the frames of a test.

    Attributes:
        by: What is the same in them.
        name: Which of these, such as ``partly hidden``, ``2 to 4`` or the name of a clip.
        places: Their places among all frames, rising.
        figures: Their figures.
    """

    by: GroupedBy
    name: str
    places: list[int]
    figures: GroupFigures


def error_groups(results: Sequence[FrameResult], names: Sequence[str], metrics: BallMetrics) -> list[Group]:
    """Sort the frames into groups by visibility, by speed and by clip, and judge each group.

    Args:
        results: Frames in order.
        names: Names of the clips.
        metrics: Whose conventions count.

    Returns:
        The groups that have frames. A frame is in one by visibility, in one by clip, and in one by speed
        where the ball is labelled in it and in the frame before.
    """
    visibility = np.array([one.visibility for one in results])
    clip = np.array([one.clip for one in results])
    speed = speeds(results)
    inside: list[tuple[GroupedBy, str, np.ndarray]] = []
    inside += [("visibility", name, visibility == code) for code, name in enumerate(VISIBILITY)]
    for low, high in pairwise(SPEEDS):
        name = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} up"
        inside.append(("speed", name, (low <= speed) & (speed < high)))
    inside += [("clip", name, clip == number) for number, name in enumerate(names)]
    sorted_in = [(by, name, np.flatnonzero(which).tolist()) for by, name, which in inside]
    return [
        Group(by, name, places, group_figures([results[k] for k in places], metrics))
        for by, name, places in sorted_in
        if places
    ]


def group_figures(results: Sequence[FrameResult], metrics: BallMetrics) -> GroupFigures:
    """Count and judge the frames of a group.

    Args:
        results: Its frames.
        metrics: Whose conventions count.

    Returns:
        The figures.

    Example:
        >>> near = FrameResult(0, 0, "tp", 1.0, 0.9, 0, 0, 0, 0)
        >>> far, lost = near._replace(kind="fp1", distance=9.0), near._replace(kind="fn")
        >>> figures = group_figures([near, far, lost], BallMetrics())
        >>> print(figures.precision, figures.recall, figures.f1, figures.median_distance)
        0.5 0.5 0.5 5.0
    """
    tp, fp1, fp2, tn, fn = (sum(one.kind == kind for one in results) for kind in KINDS)
    counts = torch.tensor((tp, fp1, fp2, fn), dtype=torch.float64)
    precision, recall, f1 = (one.item() for one in precision_recall_f1(counts, metrics.recall))
    distances = [one.distance for one in results if one.kind in ("tp", "fp1")]
    median, p90 = np.quantile(distances, (0.5, 0.9)).tolist() if distances else (np.nan, np.nan)
    filled = sum(one.filled for one in results)
    return GroupFigures(len(results), filled, tp, fp1, fp2, tn, fn, precision, recall, f1, median, p90)
