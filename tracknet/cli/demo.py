"""``tracknet demo``: the whole way from nothing to a tracked rally, in some ten minutes on two cores."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from tracknet.errors import TrackNetError, UsageError


def main(argv: Sequence[str]) -> int:
    """Run the demo.

    Args:
        argv: Words after ``demo``.

    Returns:
        Exit code.

    Raises:
        UsageError: A wrong option.
        TrackNetError: A step left no result.
    """
    parser = make_parser()
    try:
        options = parser.parse_args(list(argv))
    except argparse.ArgumentError as error:
        from tracknet.cli.explaining import explain
        from tracknet.cli.usage import option_names

        _, wrong = explain(str(error), option_names(parser), ())
        raise UsageError(f"{wrong} (see tracknet demo --help)") from error
    return demo(options.folder, options.config)


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet demo``."""
    parser = ArgumentParser(
        prog="tracknet demo",
        description=__doc__.partition(": ")[2] if __doc__ else "",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="Where everything goes.")
    parser.add_argument("--config", default="configs/experiment/demo.yaml", help="What is trained, and how.")
    return parser


def demo(folder: Path, config: str) -> int:
    """Generate rallies, train on them, test on unseen courts, track one unseen rally.

    Args:
        folder: Where everything goes: ``rallies/`` and one folder a run.
        config: Training configuration.

    Returns:
        Exit code of the step that failed, or 0.

    Raises:
        TrackNetError: A step left no result.
    """
    started = time.monotonic()
    rallies = folder / "rallies"
    run = folder / time.strftime("run-%Y%m%d-%H%M%S")
    best = run / "checkpoints" / "best.ckpt"
    logger = [f"--trainer.logger.save_dir={folder}", "--trainer.logger.name="]
    logger += [f"--trainer.logger.version={run.name}"]
    fit = ["fit", "--config", config, f"--data.root={rallies}", *logger]
    code = _step("1/4 generate rallies and train on them", fit)
    if code:
        return code
    test = ["test", "--ckpt_path", str(best)]
    code = _step("2/4 test on unseen courts", [*test, f"--trainer.logger.version={run.name}/test"])
    if code:
        return code
    video = next(iter(sorted((rallies / "test").glob("*.mp4"))), None)
    if video is None:
        raise TrackNetError(f"{rallies / 'test'}: no test rally was generated")
    track = ["track", str(video), "--ckpt", str(best), f"--output={run / 'rally.csv'}"]
    code = _step("3/4 track an unseen rally", [*track, f"--overlay={run / 'rally.mp4'}"])
    if code:
        return code
    _say("4/4 for comparison: a threshold on the difference from the background")
    baseline = _baseline(rallies / "test")
    figures = json.loads((run / "test" / "test.json").read_text())
    print(f"  background difference: F1 {baseline:.4f}")
    minutes = (time.monotonic() - started) / 60
    _say(f"done in {minutes:.1f} minutes")
    print(
        f"  test F1 on unseen courts: {figures['f1']:.4f}  ({figures['metric']})\n"
        f"  followed through a rally: {figures['tracked_f1']:.4f}\n"
        f"  background difference:    {baseline:.4f}\n"
        f"  curves:       {run / 'curves.png'}\n"
        f"  test figures: {run / 'test' / 'test.png'}, {run / 'test' / 'test_clips.csv'}\n"
        f"  trajectory:   {run / 'rally.csv'}\n"
        f"  overlay:      {run / 'rally.mp4'}\n"
        f"next, your own video: tracknet track VIDEO --ckpt {shlex.quote(str(best))} --overlay\n"
        "next, your own labels: tracknet data check FOLDER"
    )
    return 0


def _step(title: str, words: list[str]) -> int:
    from tracknet.cli.main import main as tracknet

    _say(title)
    print(f"$ tracknet {shlex.join(words)}", flush=True)
    return tracknet(words)


def _say(title: str) -> None:
    print(f"\n== {title} ==", flush=True)
    sys.stdout.flush()


def _baseline(folder: Path) -> float:
    """F1 of the background-difference threshold on a folder of rallies, judged as the network is."""
    import numpy as np
    import torch

    from tracknet.data.background import median_background
    from tracknet.data.generate.baseline import background_difference_baseline
    from tracknet.data.labels import read_labels
    from tracknet.data.layouts import FlatVideo
    from tracknet.data.video import open_source
    from tracknet.evaluation.metrics import BallMetrics

    metrics = BallMetrics()
    clips, _ = FlatVideo().find(folder)
    for clip in clips:
        source = open_source(clip.video)
        frames = list(source.frames())
        size = (source.info.height, source.info.width)
        if clip.labels is None:
            continue
        labels, _ = read_labels(clip.labels, len(frames), size)
        xy, confidence = background_difference_baseline(np.stack(frames), median_background(source, size))
        metrics.update(
            torch.from_numpy(xy)[None],
            torch.from_numpy(confidence)[None] >= 0.5,
            torch.from_numpy(labels.xy)[None],
            torch.from_numpy(labels.visible)[None],
            torch.from_numpy(labels.labelled)[None],
            size,
            torch.tensor([size]),
        )
    return float(metrics.compute()["f1"])
