"""Compare the speed of two networks: how fast they train, by `tracknet profile`, and what bounds them.

Usage: python compare_speed.py ROOT wasb monotrack [options of tracknet fit ...]

ROOT holds rallies; `wasb` and `monotrack` are any two of `tracknet config list model` whose windows have as
many frames (`--model.network.frames 3` makes it so). Writes a profile of each (profile.html explains it) and
speed.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from tracknet.cli.main import main as tracknet
from tracknet.errors import TrackNetError
from tracknet.training.profiling.results import read_profile


def main(root: str, models: tuple[str, str], options: list[str], folder: Path = Path("speed")) -> Path:
    """Profile both, print the figures side by side and draw them."""
    for model in models:
        words = ["+callbacks=minimal", f"+model={model}", f"--data.root={root}"]
        code = tracknet(["profile", "configs/base.yaml", f"--output={folder / model}", *words, *options])
        if code:
            raise TrackNetError(f"the profile of {model} failed with exit code {code}")
    tracknet(["profile", "compare", *(str(folder / model) for model in models)])
    profiles = [read_profile(folder / model) for model in models]
    figure = Figure(figsize=(6, 2.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(models, [profile.training_rate for profile in profiles], color="tab:blue")
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set_xlabel("windows a second in training")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "speed.png", dpi=80)
    return folder / "speed.png"


if __name__ == "__main__":
    print(main(sys.argv[1], (sys.argv[2], sys.argv[3]), sys.argv[4:]))
