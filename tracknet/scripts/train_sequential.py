"""``python -m tracknet.scripts.train_sequential``: train several networks one after another."""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Sequence

from tracknet.cli.held_interrupt import INTERRUPTED, TERMINATED
from tracknet.errors import UsageError
from tracknet.scripts import train
from tracknet.scripts.old_interface import guarded, parser

MODELS = ("vit_heatmap", "convnext_fpn_heatmap", "convnext_hrnet_heatmap")
"""Trained where none are named."""


def main(argv: Sequence[str] | None = None) -> int:
    """Train networks one after another, and say how each went.

    Args:
        argv: Words of the command line; default those of the process.

    Returns:
        Exit code: 0 when all were trained, or one was with ``--continue-on-error``; 1 otherwise.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded("train_sequential", lambda: _run(words))


def _run(words: list[str]) -> int:
    made = parser("train_sequential", "Train networks one after another.")
    made.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help="what to train")
    made.add_argument("--epochs", type=int, metavar="N", help="epochs of each")
    made.add_argument("--batch-size", type=int, metavar="N", help="batch size of each")
    made.add_argument("--continue-on-error", action="store_true", help="go on with the next after a failure")
    made.add_argument("--sleep-between", type=float, default=0.0, metavar="S", help="seconds of rest between")
    made.add_argument("--dry-run", action="store_true", help="print the merged configurations")
    options, overrides = made.parse_known_args(words)
    models = [name for name in options.models if "=" not in name]
    overrides += [word for word in options.models if "=" in word]
    if not models:
        raise UsageError("--models: expected names of networks")
    shared = [f"--data={options.data}", f"--training={options.training}"]
    shared += [] if options.seed is None else [f"--seed={options.seed}"]
    shared += [] if options.output_dir is None else [f"--output-dir={options.output_dir}"]
    shared += ["--dry-run"] * options.dry_run
    overrides += [] if options.epochs is None else [f"training.epochs={options.epochs}"]
    overrides += [] if options.batch_size is None else [f"training.batch_size={options.batch_size}"]
    codes: list[int] = []
    lines = []
    for place, name in enumerate(models):
        if place and options.sleep_between:
            time.sleep(options.sleep_between)
        print(f"[{place + 1}/{len(models)}] {name}", flush=True)
        begun = time.monotonic()
        code = _train([f"--model={name}", *shared, *overrides])
        codes.append(code)
        gc.collect()
        outcome = "ok" if code == 0 else f"failed (exit code {code})"
        lines.append(f"{name:<32} {outcome:<24} {time.monotonic() - begun:.0f} s")
        if code in (INTERRUPTED, TERMINATED) or (code and not options.continue_on_error):
            break
    lines += [f"{name:<32} not begun" for name in models[len(lines) :]]
    print("\n".join(["==== Sequential training: summary ====", *lines]))
    worked = codes.count(0)
    return 0 if worked == len(models) or (worked and options.continue_on_error) else 1


def _train(words: list[str]) -> int:
    try:
        return train.main(words)
    except Exception:  # whatever one network fails with, the others are trained
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main())
