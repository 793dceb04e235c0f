"""``tracknet data``: check a data set, generate rallies, fill the frame cache, pack shards."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt, restricted_number_type

from tracknet.cli.subcommands import parsers_in, usage_of_commands
from tracknet.data.faults import plural
from tracknet.errors import UsageError

LayoutName = Literal[
    "auto",
    "flat",
    "tennis",
    "shuttlecock",
    "openttgames",
    "racketvision",
    "blurball",
    "soccer",
    "volleyball",
    "basketball",
]

JpegQuality = restricted_number_type("JpegQuality", int, [(">=", 1), ("<=", 100)])


@dataclass(frozen=True)
class _Command:
    """A sub-command; its options are added only when it is called, so that the others need not import it."""

    help: str
    add_options: Callable[[ArgumentParser], None]
    run: Callable[..., int]


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet data``.

    Args:
        argv: The words after ``data``.

    Returns:
        Exit code: 0, or 1 when the check finds errors.

    Raises:
        UsageError: A wrong command or option.
        TrackNetError: A folder or file cannot be used.
    """
    parser = make_parser(argv[0] if argv else "")
    try:
        parsed = parser.parse_args(list(argv))
    except argparse.ArgumentError as error:
        raise UsageError(usage_of_commands("data", str(error), argv, parsers_in(parser))) from error
    chosen = COMMANDS[parsed.command]
    return chosen.run(**vars(parsed[parsed.command]))


def make_parser(only: str | None = None) -> ArgumentParser:
    """Make what reads the words of ``tracknet data``.

    Args:
        only: The sub-command that needs its options; None for all. Adding them imports what they set.

    Returns:
        The parser.
    """
    parser = ArgumentParser(
        prog="tracknet data",
        description="Check a data set, generate rallies, fill the frame cache, or pack data into shards.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(required=True, dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        inner = ArgumentParser(description=command.help, allow_abbrev=False, exit_on_error=False)
        if only in (None, name):
            command.add_options(inner)
        commands.add_subcommand(name, inner, help=command.help)
    return parser


def check(root: Path, layout: LayoutName = "auto", shown: NonNegativeInt = 5, decode: bool = False) -> int:
    """Look at every video and every label file of a data set and print what is there and what is wrong.

    Args:
        root: Folder of the data set.
        layout: Layout of the folder; ``auto`` takes the one that it looks like.
        shown: Files shown of each kind of fault, and lines of each file; 0 shows all.
        decode: Decode what a training would, too, which finds what is damaged inside a video.

    Returns:
        Exit code: 1 when there are errors, 0 when there are none.

    Raises:
        TrackNetError: The folder is missing or has not the layout.
    """
    from tracknet.data.check import check_dataset
    from tracknet.data.layouts import LAYOUTS

    known = {one.name: one for one in LAYOUTS}
    report = check_dataset(root, known.get(layout), decode)
    print(report.render(shown))
    return int(bool(report.errors))


def cache(
    roots: list[Path],
    size: tuple[int, int] = (288, 512),
    frames: PositiveInt = 3,
    cache_dir: Path | None = None,
    verify: bool = False,
) -> int:
    """Decode all usable clips of data sets into the frame cache, where a training finds them.

    Args:
        roots: Folders of data sets.
        size: Height and width of the frames, as the network wants them.
        frames: Frames per window of the network; matters only where few frames are labelled, such as in
            OpenTTGames: what no window with a label can hold is left out.
        cache_dir: Folder of the cache; default ``$TRACKNET_CACHE`` or ``~/.cache/tracknet/frames``.
        verify: Compare every byte of the clips that are there with the checksum of their writing first, and
            decode those again that are damaged.

    Returns:
        Exit code 0.

    Raises:
        TrackNetError: A folder has no usable clip, or the cache cannot be written.
    """
    from tracknet.data.cache import FrameCache
    from tracknet.data.check import check_dataset, source_of
    from tracknet.data.video import FrameSource

    sources: list[FrameSource] = []
    for root in roots:
        report = check_dataset(root)
        report.fail_if_errors(masked=True)
        sources += [source_of(one, report.layout, frames) for one in report.checked if one.labels is not None]
    store = FrameCache(cache_dir, size)
    if verify:
        damaged, without = store.remove_damaged(sources)
        for source in damaged:
            print(f"{source.path}: damaged in the frame cache; decoded again")
        if without:
            print(f"{plural(without, 'clip')} of an older tracknet, without a checksum to compare")
    store.build(sources)
    clips = plural(len(sources), "clip")
    print(f"{clips} at {size[0]}x{size[1]} (height x width) in the frame cache {store.root}")
    return 0


def pack(
    root: Path,
    output: Path,
    size: tuple[int, int] = (288, 512),
    shard_size: str = "256MB",
    quality: JpegQuality | Literal["lossless"] = 95,  # type: ignore[valid-type]
    frames: PositiveInt = 8,
    split: str | None = None,
    train: list[str] | None = None,
    val: list[str] | None = None,
    test: list[str] | None = None,
    holdout: ClosedUnitInterval = 0.15,
    faults: Literal["refuse", "mask"] = "refuse",
    verify: bool = False,
) -> int:
    """Decode each clip of a data set once and write its frames, compressed, with the labels into shards.

    What is interrupted goes on where it was when the same command is given again.

    Args:
        root: Folder of the data set.
        output: Folder for the packed data.
        size: Height and width of the frames, as the network wants them.
        shard_size: Size of a shard, about.
        quality: Quality of JPEG, 1 to 100; or ``lossless`` (WebP, about twice as large).
        frames: Frames per window of the network, or more; matters only where few frames are labelled.
        split: A named split of the field.
        train: Clips to train on, see the guide on own data.
        val: Clips to validate on.
        test: Clips to test on; default the validation clips.
        holdout: Share of the training clips that is held out for validation where ``val`` names none.
        faults: ``refuse`` stops when the labels or videos have faults; ``mask`` leaves faulty rows and
            unusable clips out.
        verify: Compare the shards that are there with their digests first, and write damaged ones again.

    Returns:
        Exit code 0.

    Raises:
        TrackNetError: The data set has faults, or the shards cannot be written.
    """
    from tracknet.data.check import check_dataset
    from tracknet.data.packing import Packing, PackSettings
    from tracknet.data.sizes import bytes_of, told_bytes
    from tracknet.data.splits import Split, choose_clips

    settings = PackSettings(size, quality, bytes_of(shard_size, "--shard_size"), frames)
    report = check_dataset(root)
    report.fail_if_errors(masked=faults == "mask")
    chosen = Split.of(train, val, test)
    if split is not None:
        from tracknet.data.public_datamodules import module_of

        chosen = module_of(report.layout)(root, split=split, train=train, val=val, test=test).split
    usable = [one.clip for one in report.checked if one.labels is not None]
    packing = Packing(output, report, choose_clips(usable, chosen, holdout), settings)
    shards = packing.write(verify)
    written = sum(shard.bytes for shard in shards)
    print(
        f"{plural(packing.frames, 'frame')} at {size[0]}x{size[1]} (height x width) in "
        f"{plural(len(shards), 'shard')} under {output}: {told_bytes(written)}, raw "
        f"{told_bytes(packing.raw_bytes)} ({packing.raw_bytes / written:.1f} times as much)\n"
        f"to train on them: tracknet fit +data=packed --data.root {output}"
        + ("" if size == (288, 512) else f" --model.input_size '[{size[0]},{size[1]}]'")
    )
    return 0


def _add_check(parser: ArgumentParser) -> None:
    parser.add_function_arguments(check, as_group=False, as_positional=True, skip={"decode"})
    parser.add_argument(
        "--decode",
        action="store_true",
        help="Decode what a training would, too, which finds what is damaged inside a video.",
    )


def _add_cache(parser: ArgumentParser) -> None:
    parser.add_argument("roots", type=Path, nargs="+", metavar="ROOT", help="Folders of data sets.")
    _add_size(parser)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="Compare every byte of the clips that are there with the checksum of their writing first, and "
        "decode those again that are damaged.",
    )
    parser.add_function_arguments(cache, as_group=False, skip={"roots", "size", "verify"})


def _add_size(
    parser: ArgumentParser,
    default: tuple[int, int] = (288, 512),
    told: str = "Size of the frames, as the network wants them.",
) -> None:
    parser.add_argument(
        "--size",
        type=PositiveInt,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        default=list(default),
        help=told,
    )


def _run_cache(roots: list[Path], size: list[int], frames: int, cache_dir: Path | None, verify: bool) -> int:
    return cache(roots, (size[0], size[1]), frames, cache_dir, verify)


def _add_pack(parser: ArgumentParser) -> None:
    _add_size(parser)
    parser.add_argument("--output", type=Path, required=True, help="Folder for the packed data.")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="Compare the shards that are there with their digests first, and write damaged ones again.",
    )
    parser.add_function_arguments(pack, as_group=False, as_positional=True, skip={"output", "size", "verify"})


def _run_pack(size: list[int], **options: Any) -> int:
    return pack(size=(size[0], size[1]), **options)


def _add_generate(parser: ArgumentParser) -> None:
    from tracknet.data.generate import generate_rallies

    parser.add_function_arguments(generate_rallies, as_group=False, as_positional=True, skip={"size"})
    told = "Size of the pictures, at least 72 x 128; sizes and distances in them grow with the height."
    _add_size(parser, (360, 640), told)


def _run_generate(root: Path, size: list[int], **options: Any) -> int:
    # The options are the parameters of `generate_rallies`, which only its own room knows.
    from tracknet.data.generate import generate_rallies

    generate_rallies(root, size=(size[0], size[1]), **options)
    print(f"rallies in {root}; to train on them: --data.root {root}")
    return 0


COMMANDS: dict[str, _Command] = {
    "check": _Command("Print what a data set holds and what is wrong with it.", _add_check, check),
    "generate": _Command("Write generated rallies with exact labels.", _add_generate, _run_generate),
    "cache": _Command("Decode the clips of data sets before a training.", _add_cache, _run_cache),
    "pack": _Command("Write data sets too large for a disk as compressed shards.", _add_pack, _run_pack),
}
"""The sub-commands."""
