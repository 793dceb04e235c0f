"""``python -m tracknet.scripts.eval``: figures of a checkpoint; now `tracknet validate`."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tracknet.scripts.old_interface import guarded, parser, prepare, tell

FIGURES = {"eval_loss": "val/loss", "l2": "val/l2", "pck@3": "val/pck@3"}
"""What is printed, and what it is called today."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures of a checkpoint on the validation clips.

    Args:
        argv: Words of the command line; default those of the process.

    Returns:
        Exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded("eval", lambda: _run(words))


def _run(words: list[str]) -> int:
    made = parser("eval", "Compute the figures of a checkpoint.")
    made.add_argument("--checkpoint", type=Path, metavar="FILE", help="default the newest best_* of ckpt_dir")
    options, overrides = made.parse_known_args(words)
    prepared = prepare(options, overrides)
    from tracknet.cli.bare_weights import load_weights, save_weights
    from tracknet.cli.main import main as tracknet
    from tracknet.scripts.weights import new_form, newest_best, read

    checkpoint = options.checkpoint or newest_best(Path(prepared.runtime["ckpt_dir"]))
    content = read(checkpoint)
    command = new_form(checkpoint, content, "tracknet validate --config new.yaml --ckpt_path")
    tell(prepared, options, "eval", command)
    tracker = load_weights(prepared.migration.draft.values["model"], content, checkpoint)
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = prepared.write(folder / "eval.yaml")
        weights = save_weights(tracker, folder / "weights.ckpt")
        code = tracknet(
            [
                *("validate", "--config", str(config), "--ckpt_path", str(weights)),
                *(f"--trainer.logger.init_args.save_dir={folder}", "--trainer.logger.init_args.version=eval"),
            ]
        )
        if code:
            return code
        with (folder / "eval" / "metrics.csv").open(encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
    for name, figure in FIGURES.items():
        print(f"{name}: {float(row[figure]):.6f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
