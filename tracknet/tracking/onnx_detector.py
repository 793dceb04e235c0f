"""Detectors that run an exported ONNX graph."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tracknet.errors import TrackNetError, nearest
from tracknet.evaluation.decoding import Detections, HeatmapDecoder
from tracknet.tracking.graph import METADATA, GraphInfo, require
from tracknet.trust import check_recipe, limited, refusal_of

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
"""What ONNX Runtime calls the devices."""


class OnnxGraph:
    """A graph that ``tracknet export --format onnx`` wrote, opened.

    Args:
        path: The file.
        device: Where it runs: ``auto`` (CUDA where this ONNX Runtime has it), ``cpu``, ``cuda``, ``mps``.

    Attributes:
        path: As given.
        info: What the graph says of itself.

    Raises:
        TrackNetError: ONNX Runtime is missing or has no such device, there is no such file, or it is none of
            ours.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        require("onnxruntime")
        import onnxruntime

        if not path.is_file():
            near = [p.name for p in path.parent.glob("*.onnx")] if path.parent.is_dir() else []
            raise TrackNetError(f"{path}: no such graph{nearest(path.name, near)}")
        available = onnxruntime.get_available_providers()
        wanted = [PROVIDERS["cuda"], PROVIDERS["cpu"]] if device == "auto" else [PROVIDERS[device]]
        providers = [provider for provider in wanted if provider in available]
        if not providers:
            here = ", ".join(name for name, provider in PROVIDERS.items() if provider in available)
            raise TrackNetError(
                f"no {device} device that ONNX Runtime {onnxruntime.__version__} can use; found {here}: "
                "use --device auto"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # the share of one of several processes
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime has many exceptions, and no common one
            raise TrackNetError(f"{path}: not a readable ONNX graph: {str(error).splitlines()[0]}") from error
        self.path = path
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            self.info = GraphInfo.from_json(metadata.get(METADATA, "null"))
        except ValueError as error:
            raise TrackNetError(
                f"{path}: not a graph of `tracknet export`, whose metadata tell frames, size and threshold"
            ) from error

    def run(self, frames: Tensor, background: Tensor | None) -> list[Tensor]:
        """Run the graph.

        Args:
            frames: uint8, or float in 0..1 (in 255 steps), ``[B, L, 3, H, W]``.
            background: Of the same type, ``[B, 3, H, W]``, where the graph wants it.

        Returns:
            What the graph gives, on the CPU.
        """
        given = {"frames": _as_bytes(frames)}
        if self.info.needs_background and background is not None:
            given["background"] = _as_bytes(background)
        return [torch.from_numpy(one) for one in self._session.run(None, given)]


class _OnnxDetector:
    """What the detectors of both kinds of graphs have in common.

    Args:
        graph: The graph.

    Attributes:
        takes_bytes: The graph converts frames itself.
    """

    takes_bytes = True

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph

    @property
    def frames(self) -> int:
        """Frames per window, L."""
        return self.graph.info.frames

    @property
    def outputs(self) -> int:
        """Positions per window, L_out."""
        return self.graph.info.outputs

    @property
    def needs_background(self) -> bool:
        """Whether the graph wants the median background."""
        return self.graph.info.needs_background

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the frames it takes."""
        return self.graph.info.input_size


class OnnxPositionDetector(_OnnxDetector):
    """Finds the ball with a graph that gives positions.

    Args:
        graph: The graph.
        threshold: Confidence from which a ball counts as visible; None for that of the checkpoint.
    """

    def __init__(self, graph: OnnxGraph, threshold: float | None = None) -> None:
        super().__init__(graph)
        self.threshold: float = graph.info.threshold if threshold is None else threshold

    def detect(self, frames: Tensor, background: Tensor | None = None) -> Detections:
        """Find the ball, see `BallDetector.detect`.

        Args:
            frames: As of `OnnxGraph.run`.
            background: As of `OnnxGraph.run`.
        """
        return Detections(*self.graph.run(frames, background))


class OnnxHeatmapDetector(_OnnxDetector):
    """Finds the ball with a graph that gives heatmaps, decoded as the checkpoint does.

    Args:
        graph: The graph.
        threshold: Confidence from which a ball counts as visible; None for that of the checkpoint.

    Attributes:
        decoder: From heatmap to ball position.

    Raises:
        TrackNetError: The decoder that the graph names is not installed.
    """

    def __init__(self, graph: OnnxGraph, threshold: float | None = None) -> None:
        super().__init__(graph)
        recipe = graph.info.decoder
        class_path = str(recipe.get("class_path", ""))
        module, _, name = class_path.rpartition(".")
        more = check_recipe(graph.path, recipe)
        try:
            with limited(more is not None, more or ()):
                if refusal := refusal_of(class_path):
                    raise ImportError(refusal)
                found = getattr(import_module(module), name)
                if not issubclass(found, HeatmapDecoder):
                    raise TypeError("it is no HeatmapDecoder")
                self.decoder: HeatmapDecoder = found(**recipe.get("init_args", {}))
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise TrackNetError(
                f"{graph.path}: its decoder {recipe.get('class_path')} cannot be built: {error}"
            ) from error
        if threshold is not None:
            self.decoder.threshold = threshold

    @property
    def threshold(self) -> float:
        """Confidence from which a ball counts as visible."""
        return float(self.decoder.threshold)

    def heatmaps(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Give ball probabilities, ``[B, L_out, h, w]``.

        Args:
            frames: As of `OnnxGraph.run`.
            background: As of `OnnxGraph.run`.
        """
        return self.graph.run(frames, background)[0]

    def detect(self, frames: Tensor, background: Tensor | None = None) -> Detections:
        """Find the ball, see `BallDetector.detect`.

        Args:
            frames: As of `OnnxGraph.run`.
            background: As of `OnnxGraph.run`.
        """
        heatmaps = self.heatmaps(frames, background)
        found = self.decoder(heatmaps.flatten(0, 1), self.input_size)
        shape = heatmaps.shape[:2]
        return Detections(found.xy.reshape(*shape, 2), found.confidence.reshape(shape))


def load_onnx(
    path: Path, device: str = "auto", threshold: float | None = None
) -> OnnxPositionDetector | OnnxHeatmapDetector:
    """Make a detector of an exported graph.

    Args:
        path: See `OnnxGraph`.
        device: See `OnnxGraph`.
        threshold: Confidence from which a ball counts as visible; None for that of the checkpoint.

    Returns:
        An `OnnxHeatmapDetector` where the graph gives heatmaps; tensors stay on the CPU.

    Raises:
        TrackNetError: As of the classes.
    """
    graph = OnnxGraph(path, device)
    return (OnnxPositionDetector if graph.info.positions else OnnxHeatmapDetector)(graph, threshold)


def _as_bytes(images: Tensor) -> np.ndarray:
    if images.is_floating_point():
        images = (images * 255.0).round().to(torch.uint8)
    array: np.ndarray = np.ascontiguousarray(images.cpu().numpy())
    return array
