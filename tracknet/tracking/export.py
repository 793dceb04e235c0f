"""Trackers written as graphs that run without this package: ONNX, TorchScript, torch.export."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import tracknet
from tracknet.data.whole_file import remove_leftovers, whole_file
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import HeatmapDecoder, PeakDecoder
from tracknet.models.network import HeatmapNetwork
from tracknet.tracking.graph import METADATA, GraphInfo, TrackerGraph, require

Format = Literal["onnx", "torchscript", "torch_export"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".torchscript", "torch_export": ".pt2"}
"""Ending of the files of each format."""

LARGEST_DIFFERENCE = 1e-4
"""By how much a probability of the graph may differ from that of the network."""

LARGEST_SHIFT = 0.01
"""By how many input pixels a position of the graph may differ, where the peak is unambiguous."""

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class Comparison:
    """How a graph compares with its network.

    Attributes:
        probability: Largest difference of a probability or confidence.
        shift: Largest difference of a position in input pixels; None where the graph gives heatmaps.
        positions: Number of positions that were compared, those of unambiguous peaks.
    """

    probability: float
    shift: float | None = None
    positions: int = 0


def export_tracker(
    network: HeatmapNetwork,
    decoder: HeatmapDecoder,
    input_size: tuple[int, int],
    output: Path,
    format: Format,
    *,
    positions: bool,
    recipe: Mapping[str, Any],
) -> Comparison:
    """Write a tracker as a graph, and compare what was written with the network.

    Args:
        network: The network, in evaluation mode, on the CPU.
        decoder: Decoder of the tracker.
        input_size: Height and width of the network's input.
        output: File to write; it appears only when the comparison is passed.
        format: ``onnx`` (needs onnx, onnxscript and onnxruntime), ``torchscript`` or ``torch_export``.
        positions: Decode inside the graph, by `PeakDecoder`: the only decoder without loops over candidates.
        recipe: Class and parameters of the decoder, for the metadata.

    Returns:
        The comparison, on noise and on moving dots, for batches of one and of three windows.

    Raises:
        TrackNetError: Packages are missing, the network cannot be made a graph, the graph differs, or the
            file cannot be written.
    """
    if format == "onnx":
        require("onnx", "onnxscript", "onnxruntime")
    graph = TrackerGraph(network, input_size, peak_decoder(decoder) if positions else None).eval()
    info = GraphInfo(
        version=tracknet.__version__,
        network=f"{type(network).__module__}.{type(network).__qualname__}",
        frames=network.frames,
        outputs=network.outputs,
        input_size=graph.input_size,
        needs_background=network.needs_background,
        positions=positions,
        threshold=float(decoder.threshold),
        decoder=recipe,
    )
    remove_leftovers(output)
    with whole_file(output) as part:
        with _quietly():
            try:
                _WRITERS[format](graph, info, part)
            except OSError:
                raise
            except Exception as error:  # exporters raise nearly anything
                what = " ".join(str(error).split())[:300] or type(error).__name__
                raise TrackNetError(f"{format}: {info.network} cannot be made a graph: {what}") from error
            run = _READERS[format](part)
        found = compare(graph, run)
        if not found.probability <= LARGEST_DIFFERENCE or not (found.shift or 0.0) <= LARGEST_SHIFT:
            by = f"{found.probability:.2g}" + (
                "" if found.shift is None else f", a position by {found.shift:.2g} px"
            )
            raise TrackNetError(
                f"{format}: the graph differs from the network, a probability by {by} "
                f"({LARGEST_DIFFERENCE:g} and {LARGEST_SHIFT:g} px are allowed); nothing was written"
            )
    return found


def peak_decoder(decoder: HeatmapDecoder) -> PeakDecoder:
    """Give the decoder that a graph decodes with.

    Args:
        decoder: The decoder of a tracker.

    Returns:
        Itself if it is a `PeakDecoder`, else one of the same threshold.
    """
    return decoder if type(decoder) is PeakDecoder else PeakDecoder(decoder.threshold)


def compare(graph: TrackerGraph, run: Run) -> Comparison:
    """Compare a written graph with its network, on noise and on moving dots.

    Positions are compared where one cell alone is the highest, by more than the rounding: of two equal peaks
    either may be taken.

    Args:
        graph: The network as a graph.
        run: Runs the written graph.

    Returns:
        The largest differences.
    """
    probability, shift, positions = 0.0, 0.0, 0
    for inputs in _inputs(graph):
        with torch.no_grad():
            expected = graph(*inputs)
            heatmaps = graph.heatmaps(*inputs)
        given = run(inputs)
        probability = max(probability, _largest((given[-1] - expected[-1]).abs()))
        if graph.decoder is not None:
            highest = heatmaps.flatten(2).topk(2).values
            clear = highest[..., 0] - highest[..., 1] > LARGEST_DIFFERENCE
            positions += int(clear.sum())
            shift = max(shift, _largest((given[0] - expected[0])[clear].abs()))
    return Comparison(probability, shift if graph.decoder is not None else None, positions)


def _largest(values: Tensor) -> float:
    """Give the largest value; one that is no number counts as infinite."""
    return float(values.nan_to_num(float("inf")).max()) if values.numel() else 0.0


def _inputs(graph: TrackerGraph) -> Iterator[tuple[Tensor, ...]]:
    """Give noise for one window, and bright dots that move over a gradient for three."""
    frames, (height, width) = graph.network.frames, graph.input_size
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, frames + 1, 3, height, width), generator=generator, dtype=torch.uint8)
    rows = torch.arange(height)[:, None] / height
    columns = torch.arange(width)[None] / width
    ground = 40.0 + 60.0 * rows + 60.0 * columns
    pictures = []
    for window in range(3):
        for frame in range(frames):
            x, y = 0.2 + 0.2 * window + 0.05 * frame, 0.3 + 0.15 * window + 0.02 * frame
            square = ((rows - y) * height) ** 2 + ((columns - x) * width) ** 2
            pictures.append(ground + (240.0 - ground) * torch.exp(-square / 12.0))
    dots = torch.stack(pictures).to(torch.uint8).reshape(3, frames, 1, height, width)
    for window_frames, background in (
        (noise[:, :frames], noise[:, frames]),
        (dots.expand(-1, -1, 3, -1, -1), ground.to(torch.uint8).expand(3, 3, -1, -1)),
    ):
        given = (window_frames.contiguous(), background.contiguous())
        yield given[: len(graph.input_names)]


def _examples(graph: TrackerGraph) -> tuple[Tensor, ...]:
    """Give two windows: with one, the batch would be taken for fixed."""
    return tuple(torch.cat([one, one]) for one in next(_inputs(graph)))


def _batches(examples: Sequence[Tensor]) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in examples)


def _write_onnx(graph: TrackerGraph, info: GraphInfo, path: Path) -> None:
    examples = _examples(graph)
    try:
        # The module, not what torch.export makes of it: only so networks know that they become ONNX.
        with torch.no_grad():
            program = torch.onnx.export(
                graph,
                examples,
                dynamo=True,
                dynamic_shapes=_batches(examples),
                input_names=graph.input_names,
                output_names=graph.output_names,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise error.__cause__ or error from None
    assert program is not None
    program.model.metadata_props[METADATA] = info.to_json()
    program.save(path, external_data=False)


def _write_torchscript(graph: TrackerGraph, info: GraphInfo, path: Path) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(graph, _examples(graph), check_trace=False)  # type: ignore[no-untyped-call]
    # Not to the path: PyTorch's own writer ends the process where the disk is full.
    content = io.BytesIO()
    torch.jit.save(traced, content, _extra_files={f"{METADATA}.json": info.to_json()})
    path.write_bytes(content.getvalue())


def _write_torch_export(graph: TrackerGraph, info: GraphInfo, path: Path) -> None:
    examples = _examples(graph)
    with torch.no_grad():
        program = torch.export.export(graph, examples, dynamic_shapes=_batches(examples))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={f"{METADATA}.json": info.to_json()})
    path.write_bytes(content.getvalue())


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        given = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        return [torch.from_numpy(one) for one in session.run(None, given)]

    return run


def _run_torchscript(path: Path) -> Run:
    return _without_gradients(torch.jit.load(str(path), map_location="cpu"))  # type: ignore[no-untyped-call]


def _run_torch_export(path: Path) -> Run:
    return _without_gradients(torch.export.load(path).module())


def _without_gradients(module: Any) -> Run:
    @torch.no_grad()
    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        found: Sequence[Tensor] = module(*inputs)
        return found

    return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep exporters from telling of what nobody can mend, such as packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


_WRITERS: dict[Format, Callable[[TrackerGraph, GraphInfo, Path], None]] = {
    "onnx": _write_onnx,
    "torchscript": _write_torchscript,
    "torch_export": _write_torch_export,
}
_READERS: dict[Format, Callable[[Path], Run]] = {
    "onnx": _run_onnx,
    "torchscript": _run_torchscript,
    "torch_export": _run_torch_export,
}
