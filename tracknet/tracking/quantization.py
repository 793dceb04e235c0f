"""ONNX graphs whose convolutions compute with 8-bit integers, calibrated on videos."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tracknet.data.background import evenly_spaced
from tracknet.data.progress import Progress, track_progress
from tracknet.data.video import FrameSource, background_and_frames
from tracknet.data.whole_file import remove_leftovers, whole_file
from tracknet.errors import TrackNetError
from tracknet.tracking.finder import BallDetector, channels_first
from tracknet.tracking.graph import METADATA, GraphInfo
from tracknet.tracking.onnx_detector import load_onnx
from tracknet.tracking.windows import slide

WINDOWS = 96
"""Windows that are taken of all videos together, half to calibrate and half to compare."""

KEPT_FIRST, KEPT_LAST = 2, 3
"""Convolutions in a row at both ends that stay as they are: they decide on faint balls, and cost little."""

CONVOLUTIONS = ("Conv", "ConvTranspose")

ALIKE = 1.0
"""Input pixels up to which two positions count as alike."""

LEAST_SHARE = 0.9
"""Share of the frames in which a quantized graph must agree with the exact one."""

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Agreement:
    """How often a quantized graph says the same as the network.

    Attributes:
        frames: Frames that both were asked about, of windows that the calibration did not see.
        alike: Of these, frames where both see no ball, or see it within `ALIKE`.
    """

    frames: int
    alike: int

    @property
    def share(self) -> float:
        """Share of the frames, 0 to 1."""
        return self.alike / self.frames


def windows_of(
    sources: Sequence[FrameSource], frames: int, size: tuple[int, int], background: bool
) -> list[Inputs]:
    """Take windows spread over videos, as a graph takes them.

    Args:
        sources: The videos.
        frames: Frames per window, L.
        size: Height and width of the network's input.
        background: Whether the network wants the median background.

    Returns:
        `WINDOWS` windows at most, at least two: frames uint8 ``[1, L, 3, H, W]`` and, where it is wanted, the
        background uint8 ``[1, 3, H, W]``.

    Raises:
        TrackNetError: A video cannot be decoded, or they hold fewer than two windows.
    """
    each = -(-WINDOWS // len(sources))
    found = [one for source in sources for one in _spread(source, frames, size, background, each)]
    if len(found) < 2:
        raise TrackNetError(
            f"{', '.join(str(source.path) for source in sources)}: fewer than {2 * frames} frames; expected "
            "videos of the kind that will be tracked, some hundred frames of them"
        )
    return found[:WINDOWS]


def quantize(graph: Path, output: Path, windows: Iterable[Inputs]) -> None:
    """Write a graph with convolutions in 8 bits.

    Static quantization of ONNX Runtime (QDQ, asymmetric unsigned activations by their smallest and largest
    value, symmetric signed weights by channel). The first and the last convolutions stay as they are.

    Args:
        graph: An ONNX file of `export_tracker`.
        output: File to write.
        windows: Windows to find the ranges of values with.

    Raises:
        TrackNetError: The graph has too few convolutions for it.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        with _silent_logging():
            quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
            model = onnx.load(prepared)
            names, kept = _convolutions(model.graph)
            if len(names) == len(kept):
                raise TrackNetError(
                    f"--int8: this network has {len(names)} convolutions; expected more than "
                    f"{KEPT_FIRST + KEPT_LAST}, which stay as they are"
                )
            inputs = [one.name for one in model.graph.input]
            told = {one.key: one.value for one in onnx.load(graph).metadata_props}
            told[METADATA] = replace(GraphInfo.from_json(told[METADATA]), in_32_bits=kept).to_json()
            quantize_static(
                str(prepared),
                str(output),
                _reader(inputs, windows),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(CONVOLUTIONS),
                nodes_to_exclude=kept,
            )
            quantized = onnx.load(output)
            del quantized.metadata_props[:]
            onnx.helper.set_model_props(quantized, told)
            onnx.save(quantized, output)


def _convolutions(graph: Any) -> tuple[list[str], list[str]]:
    """Name all convolutions, and those that stay as they are.

    Those at the beginning are told by how many convolutions lead to them: frames and background may have
    their first ones side by side.
    """
    depth: dict[str, int] = {}  # convolution -> how many lead to it, itself counted
    passed: dict[str, int] = {}  # tensor -> convolutions that lead to it; nodes come in their order
    for node in graph.node:
        count = max((passed.get(name, 0) for name in node.input), default=0)
        if node.op_type in CONVOLUTIONS:
            count += 1
            depth[node.name] = count
        passed |= dict.fromkeys(node.output, count)
    names = list(depth)
    last = names[-KEPT_LAST:]
    return names, [name for name in names if depth[name] <= KEPT_FIRST or name in last]


def quantize_tracker(graph: Path, output: Path, sources: Sequence[FrameSource]) -> Agreement:
    """Write a tracker's graph with convolutions in 8 bits, and compare both on the videos.

    Args:
        graph: An ONNX file of `export_tracker`.
        output: File to write; it appears when it is whole.
        sources: Videos of the kind that will be tracked.

    Returns:
        How often both say the same.

    Raises:
        TrackNetError: A video cannot be decoded, the network cannot be quantized, the two agree in less than
            `LEAST_SHARE` of the frames, or the file cannot be written.
    """
    exact = load_onnx(graph, "cpu")
    windows = windows_of(sources, exact.frames, exact.input_size, exact.needs_background)
    remove_leftovers(output)
    with whole_file(output) as part:
        with track_progress(len(windows), "windows", "int8") as shown:
            quantize(graph, part, _shown(windows[::2], shown))
            found = agreement(exact, load_onnx(part, "cpu"), _shown(windows[1::2], shown))
        if found.share < LEAST_SHARE:
            raise TrackNetError(
                f"--int8: in {found.frames - found.alike} of {found.frames} frames of the videos the graph "
                "does not say what the checkpoint says; nothing was written: take videos of the kind that it "
                "was trained on, or leave --int8 out"
            )
    return found


def agreement(exact: BallDetector, other: BallDetector, windows: Iterable[Inputs]) -> Agreement:
    """Count in how many frames two detectors say the same.

    Args:
        exact: One detector.
        other: The other one.
        windows: What both are asked about.

    Returns:
        The counts.
    """
    frames, alike = 0, 0
    for window in windows:
        one, too = exact.detect(*window), other.detect(*window)
        seen, seen_too = one.confidence >= exact.threshold, too.confidence >= other.threshold
        near = (one.xy - too.xy).norm(dim=-1) <= ALIKE
        frames += seen.numel()
        alike += int(((seen & seen_too & near) | (~seen & ~seen_too)).sum())
    return Agreement(frames, alike)


def _spread(
    source: FrameSource, frames: int, size: tuple[int, int], background: bool, count: int
) -> Iterator[Inputs]:
    """Give so many windows of one video, as evenly spread as its claimed length allows."""
    images: Iterator[np.ndarray] = source.frames(size)
    rest: Inputs = ()
    if background:
        still, images = background_and_frames(source, size)
        rest = (channels_first([still], "cpu").contiguous(),)
    wanted = set(evenly_spaced(source.estimate() // frames or count, count))
    for number, window in enumerate(slide(images, frames, frames, frames)):
        if number in wanted and window.count == frames:
            yield channels_first(window.frames, "cpu").contiguous()[None], *rest


def _shown(windows: Iterable[Inputs], shown: Progress) -> Iterator[Inputs]:
    for window in windows:
        yield window
        shown.advance(1)


def _reader(names: Sequence[str], windows: Iterable[Inputs]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(windows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            window = next(self._left, None)
            return None if window is None else dict(zip(names, (one.numpy() for one in window), strict=True))

    return Reader()


@contextmanager
def _silent_logging() -> Iterator[None]:
    """Keep ONNX Runtime's tools from advising on the root logger what was decided on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
