"""Plots of what a tracker got wrong: over the threshold, by distance, visibility, speed and clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from tracknet.evaluation.error_groups import VISIBILITY, Group
from tracknet.evaluation.errors import FrameResult, threshold_curve
from tracknet.evaluation.metrics import BallMetrics

MOST_CLIPS = 20
"""Clips whose F1 is drawn: the worst."""

MOST_LINES = 6
"""Clips that have lines of their own: the worst."""

_LONGEST_NAME = 40
_NEAREST, _FARTHEST = 0.05, 1000.0  # distances between which lines are drawn, in pixels


def draw_errors(
    found: Sequence[FrameResult],
    results: Sequence[FrameResult],
    metrics: BallMetrics,
    threshold: float,
    groups: Sequence[Group],
    told: str = "",
) -> Figure:
    """Draw the errors over the threshold, and by distance, speed, visibility and clip.

    Args:
        found: All frames that count, in order, as they were found: what a threshold makes of them.
        results: The same frames as judged by their trajectories, where there are any: all else is of these.
        metrics: The metric, for its conventions and its name.
        threshold: The threshold in use.
        groups: Their groups, see `error_groups`.
        told: What the trajectories are, in a word or two; empty without any.

    Returns:
        The figure.
    """
    curve = threshold_curve(found, metrics)
    more = f"; {told}, but for the two plots on top" if told else ""
    figure = Figure(figsize=(12, 12), layout="constrained")
    figure.suptitle(f"errors of the test ({metrics.label}{more})", fontsize=10)
    (pr, f1), (far, fast), (hidden, clip) = figure.subplots(3, 2)
    pr.plot(curve.recall, curve.precision)
    pr.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall of all balls", ylabel="precision")
    pr.set_title(f"AP {curve.average_precision:.3f}", fontsize=10)
    f1.plot(curve.threshold, curve.f1)
    f1.axvline(threshold, color="grey", linestyle=":", label=f"in use: {threshold:g}")
    at, best = curve.best
    f1.plot([at], [best], "o", label=f"best: {best:.3f} at {at:.2f}")
    f1.set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold", ylabel="F1")
    f1.legend(fontsize=8)
    distances = np.array([r.distance for r in results if r.kind in ("tp", "fp1")])
    farthest = max(500.0, distances.max(initial=0.0))
    far.hist(distances.clip(0.01, farthest), bins=np.geomspace(0.01, farthest, 60).tolist())
    far.axvline(metrics.tolerance, color="grey", linestyle=":", label=f"tolerance {metrics.tolerance:g} px")
    far.set(xscale="log", xlabel="distance of found balls, px", ylabel="frames")
    far.legend(fontsize=8)
    _draw_shares(fast, [group for group in groups if group.by == "speed"])
    fast.set(xlabel="speed of the ball, input px a frame, and frames")
    _draw_shares(hidden, [one for one in groups if one.by == "visibility" and one.name != VISIBILITY[0]])
    hidden.set(xlabel="the ball as labelled, and frames")
    _draw_by_clip(clip, _worst(groups, MOST_CLIPS), sum(group.by == "clip" for group in groups))
    for axis in (pr, f1, far, fast, hidden, clip):
        axis.grid(alpha=0.3)
    return figure


def draw_groups(
    found: Sequence[FrameResult],
    results: Sequence[FrameResult],
    metrics: BallMetrics,
    groups: Sequence[Group],
    told: str = "",
) -> Figure:
    """Draw precision over recall, and how far off balls are found, a line for each group.

    Groups without a ball have no lines; of the clips the worst are drawn. A ball that is not found is within
    no distance: a line ends at the share found, and at the tolerance it is at the recall of all balls.

    Args:
        found: All frames that count, in order, as they were found: precision over recall is of these.
        results: The same frames as judged by their trajectories, where there are any: distances are of these.
        metrics: The metric, for its conventions and its name.
        groups: Their groups, see `error_groups`.
        told: What the trajectories are, in a word or two; empty without any.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(12, 13), layout="constrained")
    more = f"; {told}, but not on the left" if told else ""
    figure.suptitle(f"by visibility, speed and clip ({metrics.label}{more})", fontsize=10)
    clips = [group for group in groups if group.by == "clip"]
    worst = _worst(groups, MOST_LINES)
    ball = "precision, of frames with such a ball"
    shown = {
        "visibility": ("the ball as labelled", ball, groups, "tab10"),
        "speed": ("speed, input px a frame", ball, groups, "viridis_r"),
        "clip": (
            "clips" if len(worst) == len(clips) else f"the worst {len(worst)} of {len(clips)} clips",
            "precision",
            worst,
            "tab10",
        ),
    }
    for (pr, far), (by, (title, precision, of, palette)) in zip(
        figure.subplots(3, 2), shown.items(), strict=True
    ):
        lines = [group for group in of if group.by == by and _balls(group)]
        colours = colormaps[palette].resampled(len(lines)) if by == "speed" else colormaps[palette]
        for place, group in enumerate(lines):
            curve = threshold_curve([found[k] for k in group.places], metrics)
            line = f"AP {curve.average_precision:.3f}, {_balls(group)} balls: {_shortened(group.name)}"
            pr.plot(curve.recall, curve.precision, color=colours(place), label=line)
            distances = [results[k].distance for k in group.places if results[k].kind in ("tp", "fp1")]
            edges = [_NEAREST, *np.sort(distances).clip(_NEAREST), _FARTHEST]
            shares = np.arange(len(edges)).clip(max=len(distances)) / _balls(group)
            far.step(edges, shares, where="post", color=colours(place))
        pr.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall of all balls", ylabel=precision)
        if lines:
            legend = pr.legend(fontsize=7, title=title, title_fontsize=8, loc="lower left")
            for text in legend.get_texts():
                text.set_parse_math(False)
        far.axvline(metrics.tolerance, color="grey", linestyle=":")
        far.set(xscale="log", xlim=(_NEAREST, _FARTHEST), ylim=(0, 1.02))
        far.set(xlabel="distance, px; dotted: the tolerance", ylabel="share of balls found within")
        for axis in (pr, far):
            axis.grid(alpha=0.3)
    return figure


def _draw_shares(axis: Any, groups: Sequence[Group]) -> None:
    """Draw what became of the balls of each group, one bar a group."""
    labels = [f"{group.name}\n{group.figures.frames}" for group in groups]
    counts = [(group.figures.tp, group.figures.fp1, group.figures.fn) for group in groups]
    shares = [
        [count / group.figures.frames for count in found] for group, found in zip(groups, counts, strict=True)
    ]
    bottom = np.zeros(len(labels))
    colours = {"found": "#2a9d50", "wrong place": "#e07b39", "missed": "#8a8a8a"}
    for (name, colour), heights in zip(colours.items(), np.array(shares).reshape(-1, 3).T, strict=True):
        axis.bar(labels, heights, bottom=bottom, color=colour, label=name)
        bottom += heights
    axis.set(ylabel="share", ylim=(0, 1.02))
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)


def _draw_by_clip(axis: Any, worst: Sequence[Group], clips: int) -> None:
    """Draw the F1 of clips, the worst on top."""
    upwards = worst[::-1]
    axis.barh(range(len(upwards)), [_f1(group) for group in upwards], color="#3b75af")
    # As they are written: a name with two $ is no formula.
    axis.set_yticks(range(len(upwards)), [_shortened(group.name) for group in upwards], parse_math=False)
    shown = "clips" if len(worst) == clips else f"the worst {len(worst)} of {clips} clips"
    axis.set(xlim=(0, 1), xlabel=f"F1 of {shown}")
    axis.tick_params(axis="y", labelsize=7)


def _worst(groups: Sequence[Group], most: int) -> list[Group]:
    """Give the clips of the lowest F1, the worst first."""
    return sorted((group for group in groups if group.by == "clip"), key=_f1)[:most]


def _f1(group: Group) -> float:
    return float(np.nan_to_num(group.figures.f1))


def _balls(group: Group) -> int:
    return group.figures.tp + group.figures.fp1 + group.figures.fn


def _shortened(name: str) -> str:
    words = " ".join(name.split())
    return words if len(words) <= _LONGEST_NAME else f"... {words[-_LONGEST_NAME:]}"
