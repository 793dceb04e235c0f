"""Which way of filling gaps is best: a table over gap lengths on held-out rallies.

    python -m benchmarks.rectification --data ROOT [--found FOLDER] [--residual FILE] [--exact FILE]
        [--published FILE] [--output FILE]

ROOT holds the folders ``badminton``, ``tennis`` and ``shuttlecock_trajectories`` of label files. The networks
are trained on what is not held out, by ``tracknet fit --config configs/experiment/rectifier.yaml`` (some
minutes each), unless checkpoints are given. The six validation rallies of badminton choose the checkpoint;
match 2 of the shuttlecock trajectories and game 4 of tennis are not looked at before the table is made.
FOLDER holds trajectories of these six as ``tracknet predict`` writes them: their gaps are filled, too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from tracknet.cli.train import main as train
from tracknet.data.splits import select
from tracknet.data.trajectories import gap_windows
from tracknet.data.trajectory_labels import LabelledTrajectory, read_trajectories
from tracknet.data.video import open_source
from tracknet.evaluation.gaps import find_gaps
from tracknet.tracking.rectification import (
    AccelerationFill,
    CubicFill,
    GapFill,
    LearnedFill,
    LinearFill,
    fill_gaps,
)
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.rectifier import SPACE, TOLERANCE, load_rectifier

VAL = [f"badminton/{name}" for name in ("00009", "00017", "00031", "00040", "00046", "00049")]
TEST = ["shuttlecock_trajectories/match2", "tennis/game4"]
SETS = {
    "Badminton, match 2 of the shuttlecock trajectories (7 rallies of a match held out)": TEST[:1],
    "Tennis, game 4 (4 clips of a game held out)": TEST[1:],
    "Badminton, 6 validation rallies (they chose the checkpoint)": VAL,
}
GAPS = range(3, 16)
OF_A_TRACKER = {"1 and 2": range(1, 3), "3 to 5": range(3, 6), "6 to 15": range(6, 16)}
WINDOW = 40
PUBLISHED = {
    "model.network": "InpaintNet",
    "model.loss": "mse",
    "data.window": 16,
    "data.longest_gap": 14,
    "data.scattered": 0.5,
    "data.batch_size": 32,
    "data.augmentation": "null",
    "data.noise": "null",
    "optimizer.lr": 0.001,
}
"""As TrackNetV3 trains InpaintNet, where it differs from the configuration."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train where needed, fill every gap by every method, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of label files")
    parser.add_argument("--found", type=Path, help="trajectories of the validation rallies, NAME.csv")
    parser.add_argument("--residual", type=Path, help="checkpoint with a ResidualInpaintNet")
    parser.add_argument("--exact", type=Path, help="checkpoint with one trained without noise")
    parser.add_argument("--published", type=Path, help="checkpoint with an InpaintNet")
    parser.add_argument("--time", default="00:00:07:00", help="training time of each network, DD:HH:MM:SS")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where trainings go")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "rectification.md")
    options = parser.parse_args(argv)
    if options.residual is None:
        options.residual = _train(options, "residual", [])
    if options.exact is None:
        options.exact = _train(options, "exact", ["--data.noise=null"])
    if options.published is None:
        options.published = _train(
            options, "published", [f"--{key}={value}" for key, value in PUBLISHED.items()]
        )
    methods: dict[str, GapFill] = {
        "linear": LinearFill(),
        "acceleration": AccelerationFill(),
        "cubic": CubicFill(),
        "InpaintNet": LearnedFill(load_rectifier(options.published)),
        "residual, no noise": LearnedFill(load_rectifier(options.exact)),
        "residual": LearnedFill(load_rectifier(options.residual)),
    }
    rallies = read_trajectories(options.data)
    lines = [
        "# Filling gaps of 3 to 15 frames",
        "",
        "Gaps are cut out of labelled flights, side by side, with a ball before, in and after each; every",
        "third of them is filled. Each cell: median / mean error in px at 288x512, frames within 4 px.",
        "Labels, not detections: a tracker's own errors come on top, and its gaps are where the ball is",
        "hard to see, near rackets and in front of players; the last table is about those. Bold is the",
        "smallest mean.",
        "",
        f"- residual: `ResidualInpaintNet`, {_training(options.residual)}; it learned to",
        "  fill gaps beside which a tracker errs (`DetectorNoise`).",
        f"- residual, no noise: the same, {_training(options.exact)}; beside its gaps were labels.",
        f"- InpaintNet: {_training(options.published)}. That is short: TrackNetV3 trained it for far longer,",
        "  on more rallies; this does not reproduce its figures.",
        "",
    ]
    for title, names in SETS.items():
        chosen = {clip.name for clip in select([one.clip for one in rallies], names)}
        held = [one for one in rallies if one.clip.name in chosen]
        lines += [f"## {title}", "", *_table(held, methods), ""]
    if options.found:
        lines += _of_a_tracker(options.found, [one for one in rallies if one.clip.name in VAL], methods)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _train(options: argparse.Namespace, name: str, changes: list[str]) -> Path:
    run = options.runs / name
    words = ["--config", "configs/experiment/rectifier.yaml", "--data.root", str(options.data)]
    words += ["--data.val", f"[{','.join(VAL)}]", "--data.test", f"[{','.join(TEST)}]"]
    words += ["--trainer.max_time", options.time, "--trainer.logger.init_args.save_dir", str(options.runs)]
    train(["fit", *words, "--trainer.logger.init_args.name", name, *changes])
    newest: Path = max(run.glob("version_*"), key=lambda path: int(path.name.rpartition("_")[2]))
    return newest / "checkpoints" / "best.ckpt"


def _training(checkpoint: Path) -> str:
    weights = sum(weight.numel() for weight in load_rectifier(checkpoint).parameters())
    return f"{weights:,} parameters, {read_checkpoint(checkpoint).get('global_step', 0):,} steps"


def _table(rallies: Sequence[LabelledTrajectory], methods: dict[str, GapFill]) -> list[str]:
    rows = [f"| frames | gaps | {' | '.join(methods)} |", "|" + "---|" * (len(methods) + 2)]
    every: dict[str, list[np.ndarray]] = {name: [] for name in methods}
    total = 0
    for gap in GAPS:
        windows = gap_windows(rallies, WINDOW, [gap]).tensors
        picked = range(0, len(windows["xy"]), 3)
        total += len(picked)
        errors = {name: _errors(method, windows, picked) for name, method in methods.items()}
        for name, found in errors.items():
            every[name].append(found)
        rows.append(_row(str(gap), len(picked), list(errors.values())))
    return [*rows, _row("all", total, [np.concatenate(found) for found in every.values()])]


def _errors(method: GapFill, windows: Mapping[str, Tensor], picked: range) -> np.ndarray:
    """Distances in px of every frame of the gaps."""
    scale = np.array([SPACE[1], SPACE[0]])
    found = []
    for n in picked:
        truth, visible, mask = (windows[name][n].numpy() for name in ("xy", "visible", "mask"))
        hidden = np.flatnonzero(mask)
        start, stop = int(hidden[0]), int(hidden[-1]) + 1
        seen = visible & ~mask
        xy = np.where(seen[:, None], truth * scale, 0.0)
        # As in a trajectory, only what the method looks at is handed over.
        low, high = max(start - method.context, 0), stop + method.context
        curve = method.curve(xy[low:high], seen[low:high], start - low, stop - low, SPACE)
        found.append(np.hypot(*(curve - truth[start:stop] * scale).T))
    return np.concatenate(found)


def _of_a_tracker(
    folder: Path, rallies: Sequence[LabelledTrajectory], methods: Mapping[str, GapFill]
) -> list[str]:
    """Fill the gaps that a tracker left; frames count whose label says that a ball is visible."""
    found: dict[str, dict[str, list[np.ndarray]]] = {
        title: {name: [] for name in methods} for title in [*OF_A_TRACKER, "all"]
    }
    gaps = Counter[str]()
    for rally in rallies:
        info = open_source(rally.clip.video).info
        rows = read_trajectory(folder / f"{rally.clip.video.stem}.csv")[: len(rally.visible)]
        visible = np.array([row.visible for row in rows])
        xy = np.array([(row.x, row.y) for row in rows]) / (info.width, info.height) * (SPACE[1], SPACE[0])
        truth = rally.xy * (SPACE[1], SPACE[0])
        filled = {name: fill_gaps(xy, visible, way, SPACE, GAPS[-1]) for name, way in methods.items()}
        # Frames in which every way says where the ball is, so that all are asked the same.
        asked = rally.visible & np.all([new for _, new in filled.values()], axis=0)
        for start, stop in find_gaps(visible):
            frames = start + np.flatnonzero(asked[start:stop])
            for title, lengths in {**OF_A_TRACKER, "all": range(1, GAPS[-1] + 1)}.items():
                if len(frames) and stop - start in lengths:
                    gaps[title] += 1
                    for name, (places, _) in filled.items():
                        found[title][name].append(np.hypot(*(places[frames] - truth[frames]).T))
    rows_of = [
        _row(title, gaps[title], [np.concatenate(errors) for errors in found[title].values()])
        for title in found
        if gaps[title]
    ]
    return [
        "## Gaps that a tracker left in these six rallies",
        "",
        "Frames in which the label says that a ball is visible; few, but what the filling is for.",
        "",
        f"| frames | gaps | {' | '.join(methods)} |",
        "|" + "---|" * (len(methods) + 2),
        *rows_of,
        "",
    ]


def _row(name: str, gaps: int, errors: list[np.ndarray]) -> str:
    means = [error.mean() for error in errors]
    cells = [
        f"{np.median(error):.2f} / {error.mean():.2f}, {(error <= TOLERANCE).mean():.1%}" for error in errors
    ]
    best = int(np.argmin(means))
    cells[best] = f"**{cells[best]}**"
    return f"| {name} | {gaps} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
