"""The picture that shows why no ball is found."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tracknet.training.callbacks.monitoring.evidence import SHIFTS, Evidence, Finding

_LABEL, _FOUND = "tab:green", "tab:purple"


def draw_diagnosis(
    evidence: Evidence,
    findings: Sequence[Finding],
    losses: Sequence[float],
    example: tuple[Tensor, Tensor, int],
) -> Figure:
    """Draw the evidence.

    Args:
        evidence: What heatmaps and labels say.
        findings: What was concluded.
        losses: Training losses in the order of the steps.
        example: A frame, uint8 ``[3, H, W]``, its heatmap in 0..1, ``[h, w]``, and its row of the evidence.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(15, 9), layout="constrained")
    axes = figure.subplots(2, 3)
    causes = ", ".join(finding.cause.replace("_", " ") for finding in findings) or "no cause found"
    words = [textwrap.fill(f"- {finding.words}", 170, subsequent_indent="  ") for finding in findings]
    title = "\n".join([f"No ball is found: {causes}", *words])
    figure.suptitle(title, fontsize=10, ha="left", x=0.01)
    _example(axes[0, 0], axes[0, 1], evidence, example)
    _offsets(axes[0, 2], evidence)
    _shifts(axes[1, 0], evidence)
    _heights(axes[1, 1], evidence)
    _losses(axes[1, 2], losses)
    return figure


def _example(left: Axes, right: Axes, evidence: Evidence, example: tuple[Tensor, Tensor, int]) -> None:
    frame, heatmap, row = example
    height, width = frame.shape[-2:]
    left.imshow(frame.permute(1, 2, 0).numpy())
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    shown = right.imshow(heatmap.numpy(), cmap="inferno", extent=extent, vmin=0)
    left.figure.colorbar(shown, ax=right, shrink=0.6)
    for axis in (left, right):
        if evidence.visible[row]:
            axis.plot(*evidence.xy[row], "o", mfc="none", mec="lime", ms=14, mew=2, label="label")
        axis.plot(*evidence.found[row], "x", color="magenta", ms=10, mew=2, label="highest of the heatmap")
        axis.set_xlim(-0.5, width - 0.5)
        axis.set_ylim(height - 0.5, -0.5)
    left.legend(fontsize=8, loc="upper right")
    left.set_title(f"clip {int(evidence.clip[row])}, frame {int(evidence.frame[row])}", fontsize=10)
    right.set_title(f"its heatmap, {float(evidence.height[row]):.2g} at the highest", fontsize=10)


def _offsets(axis: Axes, evidence: Evidence) -> None:
    off = (evidence.found - evidence.xy)[evidence.visible].numpy()
    axis.axhline(0, color="0.8", lw=1)
    axis.axvline(0, color="0.8", lw=1)
    axis.plot(off[:, 0], off[:, 1], ".", color=_FOUND, alpha=0.6)
    axis.plot(0, 0, "o", mfc="none", mec=_LABEL, ms=14, mew=2)
    reach = max(5.0, float(np.quantile(np.abs(off), 0.95)) * 1.3) if off.size else 5.0
    axis.set(xlim=(-reach, reach), ylim=(reach, -reach), xlabel="px to the right", ylabel="px below")
    axis.set_title("where the peaks lie, seen from the label", fontsize=10)


def _shifts(axis: Axes, evidence: Evidence) -> None:
    shares = evidence.shift_shares()
    colours = [_LABEL if frames == 0 else _FOUND for frames in SHIFTS]
    axis.bar(list(SHIFTS), shares, color=colours)
    axis.set(ylim=(0, 1), xticks=SHIFTS, xlabel="label of frame t + ...", ylabel="share of balls met")
    axis.set_title("heatmaps of frame t against labels of other frames", fontsize=10)


def _heights(axis: Axes, evidence: Evidence) -> None:
    values = torch.linspace(0, 1, 201).tolist()
    recall = [evidence.recall_at(value) for value in values]
    alarms = [evidence.alarms_at(value) for value in values]
    axis.plot(values, recall, color=_LABEL, label="balls found")
    axis.plot(values, alarms, color=_FOUND, ls="--", label="other frames with a ball found")
    axis.axvline(evidence.threshold, color="0.3", ls=":", label=f"threshold {evidence.threshold:g}")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.05), xlabel="threshold", ylabel="share")
    axis.legend(fontsize=8)
    axis.set_title("what other thresholds would find", fontsize=10)


def _losses(axis: Axes, losses: Sequence[float]) -> None:
    numbers = np.asarray(losses, np.float64)
    axis.plot(np.arange(len(numbers)), numbers, color="tab:blue", lw=1)
    finite = numbers[np.isfinite(numbers)]
    if finite.size and finite.max() > 20 * max(float(np.median(finite)), 1e-12) and finite.min() > 0:
        axis.set_yscale("log")
    axis.set(xlabel="training step seen", ylabel="training loss")
    axis.set_title("training loss", fontsize=10)
