"""``tracknet checkpoint``: import checkpoints of published trackers, say what a checkpoint is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tracknet.cli.subcommands import run_subcommand
from tracknet.errors import UsageError

Background = Literal["auto", "none", "subtract", "subtract_concat", "concat"]


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet checkpoint``.

    Args:
        argv: The words after ``checkpoint``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: A wrong command or option.
        TrackNetError: A checkpoint cannot be used, or the result cannot be written.
    """
    return run_subcommand(
        "checkpoint",
        "Import the checkpoint of a published tracker, or say what a checkpoint is.",
        {"import": import_file, "inspect": inspect_file},
        argv,
    )


def import_file(file: Path, output: Path | None = None, background: Background = "auto") -> int:
    """Make a checkpoint of TrackNetV3 or of WASB's collection into one of ours.

    Args:
        file: Published checkpoint.
        output: Checkpoint to write, or a folder for it; default the name of FILE with .ckpt, here.
        background: What the network sees of the background; needed where the file does not tell.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already, or `background` does not fit.
        TrackNetError: FILE is not recognised, or the result cannot be written.
    """
    name = f"{file.stem}.ckpt"
    target = Path(name) if output is None else output / name if output.is_dir() else output
    if target.suffix != ".ckpt":
        raise UsageError(f"--output {target}: expected a name in .ckpt, or a folder that exists")
    config = target.with_suffix(".yaml")
    for path in (target, config):
        if path.exists():
            raise UsageError(f"{path}: exists and is left alone; choose another --output")

    from tracknet.training.public_checkpoints import import_checkpoint

    print(import_checkpoint(file, target, None if background == "auto" else background))
    print(f"checkpoint: {target}")
    if config.exists():
        print(f"to track:   tracknet track VIDEO --ckpt {target}")
        print(f"to test:    tracknet test --config configs/base.yaml --config {config} --ckpt_path {target}")
    else:
        print(f"to use it:  tracknet track VIDEO --ckpt TRACKER.ckpt --rectifier {target}")
    return 0


def inspect_file(file: Path) -> int:
    """Print what a checkpoint is: network, configuration, epoch, figures.

    Args:
        file: Checkpoint of ours, or of a published tracker.

    Returns:
        Exit code 0.

    Raises:
        TrackNetError: There is no such file, or it is neither.
    """
    from tracknet.training.checkpoint_report import report_checkpoint

    print(report_checkpoint(file))
    return 0
