"""``tracknet export``: a checkpoint as a graph that runs without this package."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from tracknet.cli.subcommands import usage_message
from tracknet.cli.trusting import add_trust
from tracknet.errors import UsageError

Format = Literal["onnx", "torchscript", "torch_export"]

_POSITIONS = (
    "Give positions and confidences instead of heatmaps: decoding, by the highest cell and the centre of "
    "mass around it, is then in the graph too."
)
_INT8 = (
    "Compute most convolutions with 8-bit integers, their ranges taken from these videos: on CPUs about "
    "twice as fast as the checkpoint and a little less exact; how much is told, on windows of the videos."
)


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet export``.

    Args:
        argv: The words after ``export``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: A wrong option.
        TrackNetError: The checkpoint cannot be used or exported, or the graph differs from it.
    """
    parser = make_parser()
    try:
        options = parser.parse_args(list(argv))
    except argparse.ArgumentError as error:
        message = usage_message(str(error), parser)
        raise UsageError(f"{message} (see tracknet export --help)") from error
    return export_checkpoint(**vars(options))


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet export``."""
    parser = ArgumentParser(
        prog="tracknet export",
        description="Write a tracker as a graph: uint8 frames (and the median background where it needs one) "
        "in, ball probabilities or positions out; checked against the checkpoint before it is kept.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("ckpt", type=Path, metavar="CKPT", help="Checkpoint of `tracknet fit`.")
    parser.add_function_arguments(export_checkpoint, as_group=False, skip={"ckpt", "positions", "int8"})
    parser.add_argument("--positions", action="store_true", help=_POSITIONS)
    parser.add_argument("--int8", type=Path, nargs="+", metavar="VIDEO", default=[], help=_INT8)
    add_trust(parser)
    return parser


def export_checkpoint(
    ckpt: Path,
    format: Format = "onnx",
    output: Path | None = None,
    positions: bool = False,
    int8: Sequence[Path] = (),
) -> int:
    """Write a checkpoint as a graph, compare both and say how much they differ.

    Args:
        ckpt: Checkpoint of `tracknet fit`.
        format: onnx (for ONNX Runtime and others), torchscript (for libtorch) or torch_export (.pt2).
        output: File to write, or a folder for it; default the name of CKPT with .onnx, .torchscript or .pt2,
            here.
        positions: Give positions and confidences instead of heatmaps.
        int8: Videos to take the ranges of 8-bit integers from; none leaves all numbers as they are.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The output has another ending, or 8 bits are wanted of another format than onnx.
        TrackNetError: The checkpoint cannot be used or exported, or the graph differs from it.
    """
    from tracknet.tracking.export import SUFFIXES, export_tracker, peak_decoder
    from tracknet.tracking.graph import require
    from tracknet.tracking.quantization import quantize_tracker

    target = Path() if output is None else output
    if target.is_dir():
        target = target / f"{ckpt.stem}{SUFFIXES[format]}"
    if target.suffix != SUFFIXES[format]:
        raise UsageError(f"--output {target}: expected a name in {SUFFIXES[format]}, or a folder that exists")
    if int8 and format != "onnx":
        raise UsageError(f"--int8 goes with --format onnx, not with {format}")
    if format == "onnx":
        require("onnx", "onnxscript", "onnxruntime")

    from tracknet.data.video import open_source
    from tracknet.training.checkpoint_reading import refuse_not_finite
    from tracknet.training.checkpoints import load_tracker
    from tracknet.training.hyperparameters import describe

    tracker = load_tracker(ckpt)
    refuse_not_finite(ckpt, tracker.state_dict())
    decoder = tracker.decoder
    if positions and (inside := peak_decoder(decoder)) is not decoder:
        print(
            f"note:   the checkpoint decodes with {type(decoder).__name__}, which no graph can hold;\n"
            f"        this one decodes with {type(inside).__name__}, threshold {inside.threshold:g}: "
            "positions may differ where there are several candidates"
        )
    sources = [open_source(video) for video in int8]
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch) / target.name if sources else target
        found = export_tracker(
            tracker.network,
            decoder,
            tracker.input_size,
            exact,
            format,
            positions=positions,
            recipe=describe(decoder),
        )
        agreement = quantize_tracker(exact, target, sources) if sources else None
    gives = f"xy and confidence [B, {tracker.outputs}]" if positions else f"heatmaps [B, {tracker.outputs}]"
    height, width = tracker.input_size
    background = f", background uint8 [B, 3, {height}, {width}]" if tracker.needs_background else ""
    print(f"graph:  {target} ({target.stat().st_size / 1e6:.1f} MB)")
    print(f"takes:  frames uint8 [B, {tracker.frames}, 3, {height}, {width}]{background}; gives {gives}")
    compared = "" if agreement is None else "in 32 bits it "
    by = f"{found.probability:.1e} (probability)"
    print(f"check:  {compared}differs from the checkpoint by at most {by}", end="")
    print("" if found.shift is None else f", {found.shift:.1e} px ({found.positions} positions)")
    if agreement is not None:
        print(
            f"int8:   says what the checkpoint says in {agreement.alike} of {agreement.frames} frames of the "
            f"videos ({agreement.share:.1%}: no ball, or a ball within a pixel)"
        )
    if format == "onnx":
        print(f"track:  tracknet track VIDEO --ckpt {target}")
    return 0
