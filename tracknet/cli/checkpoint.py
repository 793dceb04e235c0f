"""``tracknet checkpoint``: import, inspect, verify, convert, prune, compare and average checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse.typing import PositiveInt

from tracknet.cli.subcommands import run_subcommand
from tracknet.errors import TrackNetError, UsageError

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
        "Import checkpoints of published trackers; inspect, verify, convert, prune, compare, average ours.",
        {
            "import": import_file,
            "inspect": inspect_file,
            "verify": verify_file,
            "convert": convert_file,
            "prune": prune_file,
            "diff": diff_files,
            "average": average_files,
        },
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


def verify_file(file: Path) -> int:
    """Check that a checkpoint is whole: SHA-256, format, finite weights, network.

    Args:
        file: Checkpoint of ours, or the folder of a run for all of its checkpoints.

    Returns:
        Exit code: 0, or 1 when one of several is damaged.

    Raises:
        TrackNetError: There is no such file, or it is damaged.
    """
    from tracknet.training.checkpoint_tools import verify

    if not file.is_dir():
        print("\n".join(verify(file)))
        return 0
    files = sorted(file.rglob("[!.]*.ckpt"))
    if not files:
        raise TrackNetError(f"{file}: no checkpoints in this folder")
    damaged = 0
    for path in files:
        try:
            verify(path)
            print(f"{path}: whole")
        except TrackNetError as error:
            damaged += 1
            print(error)
    return int(damaged > 0)


def convert_file(file: Path, output: Path | None = None) -> int:
    """Write a checkpoint of an older format in the newest one.

    Args:
        file: Checkpoint of ours.
        output: Checkpoint to write; default the name of FILE with _converted, here.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already.
        TrackNetError: FILE cannot be read, or the result cannot be written.
    """
    output = output or Path(f"{file.stem}_converted.ckpt")
    _refuse_existing(output)

    from tracknet.training.checkpoint_tools import convert

    config = file.parent.parent / "config.yaml"
    convert(file, output, config.read_text(encoding="utf-8") if config.is_file() else None)
    print(f"checkpoint: {output}")
    return 0


def prune_file(file: Path, output: Path | None = None) -> int:
    """Keep of a checkpoint what tracking and testing need, without the state of training.

    Args:
        file: Checkpoint of ours.
        output: Checkpoint to write; default the name of FILE with _pruned, here.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already.
        TrackNetError: FILE cannot be read, or the result cannot be written.
    """
    output = output or Path(f"{file.stem}_pruned.ckpt")
    _refuse_existing(output)

    from tracknet.training.checkpoint_tools import prune

    prune(file, output)
    before, after = (path.stat().st_size / 2**20 for path in (file, output))
    print(f"checkpoint: {output}")
    print(
        f"size:       {before:.2f} -> {after:.2f} MiB ({after / before:.0%}); training cannot go on from it"
    )
    return 0


def diff_files(first: Path, second: Path, layers: PositiveInt = 20) -> int:
    """Compare two checkpoints: configuration and weights, layer by layer.

    Args:
        first: A checkpoint, ours or of a published tracker.
        second: Another.
        layers: How many of the weights that differ to list, the most different first.

    Returns:
        Exit code 0.

    Raises:
        TrackNetError: One of them cannot be read.
    """
    from tracknet.training.checkpoint_report import differing_settings
    from tracknet.training.checkpoint_tools import compare_weights

    differing, others = compare_weights(first, second)
    settings = differing_settings(first, second)
    print("\n".join(settings) if settings else "configuration: the same")
    if others:
        print(f"names and shapes: {others}")
    if not differing:
        print("weights: the same")
    for layer in differing[:layers]:
        print(f"{layer.name}: relative {layer.relative:.3g}, largest {layer.largest:.3g}")
    if len(differing) > layers:
        print(f"and {len(differing) - layers} more (--layers)")
    return 0


def average_files(files: list[Path], output: Path = Path("average.ckpt")) -> int:
    """Average the weights of several checkpoints of one network.

    Args:
        files: Checkpoints of ours.
        output: Checkpoint to write.

    Returns:
        Exit code 0.

    Raises:
        UsageError: Fewer than two files, or the output is there already.
        TrackNetError: A file cannot be read, or is of another network.
    """
    if len(files) < 2:
        raise UsageError(f"average: expected two checkpoints or more, found {len(files)}")
    _refuse_existing(output)

    from tracknet.training.checkpoint_tools import average

    has_statistics = average(files, output)
    print(f"checkpoint: {output}: mean of the weights of {len(files)} checkpoints")
    if has_statistics:
        print(
            "note:       the statistics of batch normalisation are averaged, too; those of the mean weights "
            "may be others: compare `tracknet test` of this checkpoint with that of the best of them"
        )
    return 0


def _refuse_existing(output: Path) -> None:
    if output.suffix != ".ckpt":
        raise UsageError(f"--output {output}: expected a name in .ckpt")
    if output.exists():
        raise UsageError(f"{output}: exists and is left alone; choose another --output")
