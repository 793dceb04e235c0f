"""``tracknet checkpoint``: import, inspect, verify, convert, prune, compare and average checkpoints."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from tracknet.cli.subcommands import commands_parser, run_subcommand
from tracknet.data.faults import plural
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.compression import DEFAULT_LEVEL, ZstdLevel

ABOUT = "Import checkpoints of other trackers; inspect, verify, convert, prune, compare, average ours."
Background = Literal["auto", "none", "subtract", "subtract_concat", "concat"]
Kept = Literal["keep", "none", "zstd"]


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
    words = ["--yes=true" if word == "--yes" else word for word in argv]
    return run_subcommand("checkpoint", ABOUT, COMMANDS, words)


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet checkpoint``."""
    return commands_parser("checkpoint", ABOUT, COMMANDS)


def import_file(
    file: Path,
    output: Path | None = None,
    background: Background = "auto",
    config: Path | None = None,
) -> int:
    """Make a checkpoint of TrackNetV3, WASB's collection or the older tracknet into one of ours.

    Args:
        file: Checkpoint of others, or weights alone.
        output: Checkpoint to write, or a folder for it; default the name of FILE with .ckpt, here.
        background: What the network sees of the background; needed where the file does not tell.
        config: Configuration that names the network of FILE, where FILE is not of a published tracker.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already, or `background` or `config` does not fit.
        TrackNetError: FILE is not recognised, or its network is another, or the result cannot be written.
    """
    name = f"{file.stem}.ckpt"
    target = Path(name) if output is None else output / name if output.is_dir() else output
    if target.suffix != ".ckpt":
        raise UsageError(f"--output {target}: expected a name in .ckpt, or a folder that exists")
    if file.suffix.lower() in (".yaml", ".yml"):
        raise UsageError(f"{file}: is a configuration; expected a checkpoint (see --config)")
    quoted = shlex.quote(str(target))
    if config is not None:
        if background != "auto":
            raise UsageError(f"--background {background}: --config {config} says it")
        _refuse_existing(target)

        from tracknet.cli.bare_weights import import_weights

        weights = import_weights(file, target, config)
        files = f"--config {shlex.quote(str(config))}"
        if not weights.names_data:
            files = f"--config configs/base.yaml {files}"
        print(weights.told)
        print(f"checkpoint: {target}")
        print(f"to track:   tracknet track VIDEO --ckpt {quoted}")
        print(f"to judge:   tracknet validate {files} --ckpt_path {quoted}")
        return 0
    beside = target.with_suffix(".yaml")
    for path in (target, beside):
        if path.exists():
            raise UsageError(f"{path}: exists and is left alone; choose another --output")

    from tracknet.training.public_checkpoints import import_checkpoint

    imported = import_checkpoint(file, target, None if background == "auto" else background)
    taken = f"TRACKER.ckpt --rectifier {quoted}" if imported.fills_gaps else quoted
    base = "experiment/rectifier" if imported.fills_gaps else "base"
    print(imported.told)
    print(f"checkpoint: {target}")
    print(f"to track:   tracknet track VIDEO --ckpt {taken}")
    files = f"--config configs/{base}.yaml --config {shlex.quote(str(beside))}"
    print(f"to test:    tracknet test {files} --ckpt_path {quoted}")
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
    files = sorted(checkpoints_in(file, below=True))
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


def convert_file(
    file: Path,
    output: Path | None = None,
    compression: Kept = "keep",
    level: ZstdLevel = DEFAULT_LEVEL,
) -> int:
    """Write a checkpoint of an older format in the newest one; compress it, or undo that.

    Args:
        file: Checkpoint of ours.
        output: Checkpoint to write; default the name of FILE with _converted, here.
        compression: Compress it (zstd) or not (none); keep leaves it as FILE is.
        level: With --compression zstd, its effort, from 1, the fastest, to 19, the smallest.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already, or a level where nothing is compressed.
        TrackNetError: FILE cannot be read, or the result cannot be written.
    """
    if level != DEFAULT_LEVEL and compression != "zstd":
        raise UsageError(f"--level {level}: goes with --compression zstd")
    output = output or Path(f"{file.stem}_converted.ckpt")
    _refuse_existing(output)

    from tracknet.training.checkpoint_tools import convert

    config = file.parent.parent / "config.yaml"
    told = config.read_text(encoding="utf-8") if config.is_file() else None
    worth = convert(file, output, told, None if compression == "keep" else compression, level)
    print(f"checkpoint: {output}")
    if worth:
        print(f"size:       {worth}")
    return 0


def prune_file(
    file: Path,
    output: Path | None = None,
    keep_last: NonNegativeInt | None = None,
    older_than: str | None = None,
    max_size: str | None = None,
    yes: bool = False,
) -> int:
    """Write a checkpoint without the state of training; of a folder, list the checkpoints that may go.

    Args:
        file: Checkpoint of ours; or the folder of a run, or of many.
        output: Of a checkpoint, the file to write; default the name of FILE with _pruned, here.
        keep_last: Of a folder, how many of the newest of each run stay. With nothing else, all others may go.
        older_than: Of a folder, those older than that may go, such as 30d, 12h or 2w.
        max_size: Of a folder, the oldest may go until all take no more than that, such as 5GB.
        yes: Of a folder, remove them. The newest whole one of each run and the newest best one always stay.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output is there already, or a wrong age or size.
        TrackNetError: FILE cannot be read or removed, or the result cannot be written.
    """
    if file.is_dir() and output is not None:
        raise UsageError(f"prune {file}: --output is for one file; of a folder, files are removed")
    if file.is_dir():
        return _prune_folder(file, keep_last, older_than, max_size, yes)
    if not file.exists():
        raise UsageError(f"prune {file}: there is no such file or folder")
    if (keep_last, older_than, max_size, yes) != (None, None, None, False):
        raise UsageError(f"prune {file}: --keep_last, --older_than, --max_size and --yes are for folders")
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


def _prune_folder(
    root: Path, keep_last: int | None, older_than: str | None, max_size: str | None, yes: bool
) -> int:
    from tracknet.training.retention import Retention, removable_checkpoints

    if keep_last is None and older_than is None and max_size is None:
        raise UsageError(f"prune {root}: of a folder, say --keep_last N, --older_than 30d or --max_size 5GB")
    found = removable_checkpoints(root, Retention.of(keep_last, older_than, max_size, "--"))
    for one in found:
        if yes:
            try:
                one.path.unlink()
            except OSError as error:
                raise TrackNetError(f"{one.path}: cannot be removed: {error.strerror}") from error
        print(f"{one.path}: {one.reason}, {one.size / 1e6:.1f} MB")
    total = f"{plural(len(found), 'checkpoint')}, {sum(one.size for one in found) / 1e6:.1f} MB"
    print(f"removed: {total}" if yes else f"would remove: {total}; --yes removes them")
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

    differing, compared, others = compare_weights(first, second)
    settings = differing_settings(first, second)
    print("\n".join(settings) if settings else "configuration: the same")
    if others:
        print(f"names and shapes: {others}")
    if not compared:
        print("weights: none of the same name and shape")
    elif not differing:
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


COMMANDS: dict[str, Callable[..., int]] = {
    "import": import_file,
    "inspect": inspect_file,
    "verify": verify_file,
    "convert": convert_file,
    "prune": prune_file,
    "diff": diff_files,
    "average": average_files,
}
"""The sub-commands."""
