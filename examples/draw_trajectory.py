"""Draw a trajectory that `tracknet track` wrote: its way over the picture, x and y over time, and an overlay.

Usage: python draw_trajectory.py match.mp4 match_ball.csv drawn.png [overlay.mp4]
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tracknet.data.video import open_source
from tracknet.tracking.overlay import render_overlay
from tracknet.tracking.trajectory import TrajectoryRow, read_trajectory


def draw(video: Path, rows: list[TrajectoryRow], picture: Path) -> None:
    """Draw the way of the ball over a frame, coloured by time, beside its coordinates over time."""
    source = open_source(video)
    seconds = np.array([row.frame for row in rows]) / source.info.fps
    xy = np.array([(row.x, row.y) if row.visible else (np.nan, np.nan) for row in rows])
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    over, along = figure.subplots(1, 2, width_ratios=(1.5, 1))
    over.imshow(next(islice(source.frames(), len(rows) // 2, None)), alpha=0.75)
    dots = over.scatter(*xy.T, c=seconds, s=9, cmap="plasma")
    over.set_axis_off()
    figure.colorbar(dots, ax=over, label="seconds", shrink=0.8)
    for values, name in zip(xy.T, ("x", "y"), strict=True):
        along.plot(seconds, values, ".-", ms=3, lw=0.8, label=name)
    along.set(xlabel="seconds", ylabel="pixels")
    along.legend(frameon=False)
    along.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=80)


def main(video: Path, table: Path, picture: Path, overlay: Path | None) -> None:
    """Draw the picture, and the overlay where one is wanted."""
    rows = read_trajectory(table)
    draw(video, rows, picture)
    if overlay is not None:
        render_overlay(open_source(video), rows, overlay, trail=20, progress=False)


if __name__ == "__main__":
    video, table, picture, *overlay = (Path(word) for word in sys.argv[1:])
    main(video, table, picture, overlay[0] if overlay else None)
