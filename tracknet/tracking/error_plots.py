"""Plots of what a tracker got wrong: over the threshold, by distance, speed, visibility and clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tracknet.evaluation.errors import FrameResult, speeds, threshold_curve
from tracknet.evaluation.metrics import KINDS, BallMetrics

VISIBILITY = ("no ball", "visible", "partly hidden", "hidden")
"""What the codes of the labels mean."""

MOST_CLIPS = 20
"""Clips that are drawn: the worst."""

_LONGEST_NAME = 40


def draw_errors(
    found: Sequence[FrameResult],
    results: Sequence[FrameResult],
    metrics: BallMetrics,
    threshold: float,
    names: Sequence[str],
) -> Figure:
    """Draw the errors over the threshold, and by distance, speed, visibility and clip.

    Args:
        found: All frames that count, in order, as they were found: what a threshold makes of them.
        results: The same frames with gaps filled, where that is asked for: all else is drawn of these.
        metrics: The metric, for its conventions and its name.
        threshold: The threshold in use.
        names: Names of the clips.

    Returns:
        The figure.
    """
    curve = threshold_curve(found, metrics)
    filled = sum(result.filled for result in results)
    more = f"; gaps filled: {filled} frames, but not in the two plots on top" if filled else ""
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
    _draw_by_speed(fast, results)
    _draw_by_visibility(hidden, results)
    _draw_by_clip(clip, results, names, 2 if metrics.recall == "visible" else 1)
    for axis in (pr, f1, far, fast, hidden, clip):
        axis.grid(alpha=0.3)
    return figure


def _draw_by_speed(axis: Any, results: Sequence[FrameResult]) -> None:
    speed = speeds(results)
    edges = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)
    groups = {
        f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} up": [
            r for r, v in zip(results, speed, strict=True) if low <= v < high
        ]
        for low, high in pairwise(edges)
    }
    _draw_shares(axis, groups)
    axis.set(xlabel="speed of the ball, input px a frame, and frames")


def _draw_by_visibility(axis: Any, results: Sequence[FrameResult]) -> None:
    groups = {
        name: [r for r in results if r.visibility == code] for code, name in enumerate(VISIBILITY) if code
    }
    _draw_shares(axis, {name: inside for name, inside in groups.items() if inside})
    axis.set(xlabel="the ball as labelled, and frames")


def _draw_shares(axis: Any, groups: Mapping[str, Sequence[FrameResult]]) -> None:
    """Draw what became of the balls of each group, one bar a group."""
    labels = [f"{name}\n{len(inside)}" for name, inside in groups.items()]
    shares = [
        [sum(r.kind == kind for r in inside) / max(len(inside), 1) for kind in ("tp", "fp1", "fn")]
        for inside in groups.values()
    ]
    bottom = np.zeros(len(labels))
    colours = {"found": "#2a9d50", "wrong place": "#e07b39", "missed": "#8a8a8a"}
    for (name, colour), heights in zip(colours.items(), np.array(shares).reshape(-1, 3).T, strict=True):
        axis.bar(labels, heights, bottom=bottom, color=colour, label=name)
        bottom += heights
    axis.set(ylabel="share", ylim=(0, 1.02))
    axis.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)


def _draw_by_clip(axis: Any, results: Sequence[FrameResult], names: Sequence[str], weight: int) -> None:
    """Draw the F1 of the clips, the worst on top; with many clips the worst ones only.

    A ball in the wrong place is one error of precision, and one of recall too where the metric says so.
    """
    counts: dict[int, dict[str, int]] = {}
    for result in results:
        kinds = counts.setdefault(result.clip, dict.fromkeys(KINDS, 0))
        kinds[result.kind] += 1
    scores = {
        clip: 2 * n["tp"] / max(2 * n["tp"] + weight * n["fp1"] + n["fp2"] + n["fn"], 1)
        for clip, n in counts.items()
    }
    worst = sorted(scores, key=lambda clip: scores[clip])[:MOST_CLIPS][::-1]
    axis.barh(range(len(worst)), [scores[clip] for clip in worst], color="#3b75af")
    # As they are written: a name with two $ is no formula.
    axis.set_yticks(range(len(worst)), [_shortened(names[clip]) for clip in worst], parse_math=False)
    shown = "clips" if len(worst) == len(scores) else f"the worst {len(worst)} of {len(scores)} clips"
    axis.set(xlim=(0, 1), xlabel=f"F1 of {shown}")
    axis.tick_params(axis="y", labelsize=7)


def _shortened(name: str) -> str:
    words = " ".join(name.split())
    return words if len(words) <= _LONGEST_NAME else f"... {words[-_LONGEST_NAME:]}"
