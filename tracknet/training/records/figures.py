"""The curves of a run, from its ``metrics.csv`` or TensorBoard's event files, and drawings over runs."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracknet.errors import UsageError, nearest
from tracknet.training.records.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = list[tuple[float, float]]
"""Pairs of step and value."""


def read_curves(folder: Path) -> dict[str, Curve]:
    """Read all figures that a run has logged, by name; what cannot be read is left out.

    Args:
        folder: The run's.
    """
    table = folder / "metrics.csv"
    return _from_table(table) if table.is_file() else _from_events(folder)


def curve_of(curves: dict[str, Curve], name: str) -> Curve | None:
    """Find a figure by its name, with Lightning's endings for values of an epoch or a step if need be.

    Args:
        curves: All curves of a run.
        name: Such as ``train/loss``.
    """
    return next((curves[one] for one in (name, f"{name}_epoch", f"{name}_step") if one in curves), None)


def draw(runs: Sequence[Run], metrics: Sequence[str]) -> Figure:
    """Draw figures over the steps, one panel a figure and one line a run.

    Args:
        runs: The runs.
        metrics: Names of figures, such as ``val/f1``.

    Returns:
        The picture.

    Raises:
        UsageError: No run has logged one of the figures.
    """
    from matplotlib.figure import Figure

    read = [read_curves(run.folder) for run in runs]
    known = sorted({name for curves in read for name in curves})
    figure = Figure(figsize=(5.5 * len(metrics) + 1, 4.2), layout="constrained")
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axis, name in zip(axes, metrics, strict=True):
        found = [curve_of(curves, name) for curves in read]
        if not any(found):
            raise UsageError(f"--metrics: no run has logged {name!r}{nearest(name, known)}")
        for run, curve in zip(runs, found, strict=True):
            if curve:
                marker = "." if len(curve) < 60 else None
                axis.plot(*zip(*curve, strict=True), label=run.name, marker=marker, linewidth=1.2)
        if "loss" in name and all(value > 0 for curve in found if curve for _, value in curve):
            axis.set_yscale("log")
        axis.set_title(name)
        axis.set_xlabel("optimizer steps")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


def _from_table(table: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            step = _number(row.get("step"))
            for name, written in row.items():
                value = _number(written)
                if name not in (None, "step", "epoch") and step is not None and value is not None:
                    curves.setdefault(name, []).append((step, value))
    return curves


def _from_events(folder: Path) -> dict[str, Curve]:
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: [(float(one.step), float(one.value)) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def _number(written: object) -> float | None:
    try:
        value = float(str(written))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
