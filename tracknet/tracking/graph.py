"""A tracker as one graph, from frames to heatmaps or positions, and what its file says of it.

The graph takes frames as they come from a video, so that nobody has to repeat the pre-processing: uint8
``[B, L, 3, H, W]``, oldest first, RGB, and where the network wants it the median background, uint8
``[B, 3, H, W]``. It gives ball probabilities ``[B, L_out, h, w]``, or positions in input pixels
``[B, L_out, 2]`` and confidences ``[B, L_out]``. B is free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor, nn

from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models.network import HeatmapNetwork

METADATA = "tracknet"
"""Name of the metadata in the files: JSON, see `GraphInfo`."""

_MOST = 1 << 14  # frames of a window, and pixels of a side


@dataclass(frozen=True)
class GraphInfo:
    """What a graph says of itself.

    Attributes:
        version: Version of this package that wrote it.
        network: Class of the network.
        frames: Frames per window, L.
        outputs: Heatmaps or positions per window, L_out.
        input_size: Height and width of the frames.
        needs_background: Whether it takes the median background.
        positions: Whether it gives positions, not heatmaps.
        threshold: Confidence from which a ball counts as visible.
        decoder: Class and parameters of the decoder that its heatmaps are meant for.
        in_32_bits: Names of the convolutions that stay in 32 bits where the others are in 8; None where none
            is in 8.
    """

    version: str
    network: str
    frames: int
    outputs: int
    input_size: tuple[int, int]
    needs_background: bool
    positions: bool
    threshold: float
    decoder: Mapping[str, Any]
    in_32_bits: Sequence[str] | None = None

    def to_json(self) -> str:
        """Give the metadata as a file holds it, without a key that says nothing."""
        told = asdict(self)
        if self.in_32_bits is None:
            del told["in_32_bits"]
        return json.dumps(told)

    @classmethod
    def from_json(cls, text: str) -> GraphInfo:
        """Read the metadata of a file; what a later tracknet may tell besides is passed over.

        Args:
            text: What `to_json` gave.

        Raises:
            ValueError: It is something else.
        """
        try:
            content = json.loads(text)
            height, width = content.pop("input_size")
            known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
            found = cls(input_size=(int(height), int(width)), **known)
            counts = (found.frames, found.outputs, *found.input_size)
            if not all(type(one) is int and 0 < one <= _MOST for one in counts):
                raise TypeError(f"frames and sizes {counts}")
            if not isinstance(found.decoder, Mapping) or not 0 <= found.threshold <= 1:
                raise TypeError(f"decoder {found.decoder!r} with the threshold {found.threshold!r}")
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not the metadata of a tracker: {error}") from error
        return found


class TrackerGraph(nn.Module):
    """Pre-processing, network and decoder in one module.

    Args:
        network: The network.
        input_size: Height and width of the frames.
        decoder: Gives positions; None for heatmaps.
    """

    def __init__(
        self, network: HeatmapNetwork, input_size: tuple[int, int], decoder: PeakDecoder | None = None
    ) -> None:
        super().__init__()
        self.network = _with_plain_numbers(network)
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.decoder = decoder

    def forward(self, frames: Tensor, background: Tensor | None = None) -> tuple[Tensor, ...]:
        """Give heatmaps, or positions and confidences.

        Args:
            frames: uint8, ``[B, L, 3, H, W]``.
            background: uint8, ``[B, 3, H, W]``, where the network wants it.

        Returns:
            ``heatmaps`` ``[B, L_out, h, w]``, or ``xy`` ``[B, L_out, 2]`` and ``confidence`` ``[B, L_out]``.
        """
        heatmaps = self.heatmaps(frames, background)
        if self.decoder is None:
            return (heatmaps,)
        found = self.decoder(heatmaps.flatten(0, 1), self.input_size)
        count = heatmaps.shape[1]
        return found.xy.reshape(-1, count, 2), found.confidence.reshape(-1, count)

    def heatmaps(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Give ball probabilities; arguments as in `forward`."""
        logits: Tensor = self.network(self.network.stack(frames, background))
        return logits.float().sigmoid()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return ["frames", "background"] if self.network.needs_background else ["frames"]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        return ["heatmaps"] if self.decoder is None else ["xy", "confidence"]


def require(*packages: str) -> None:
    """Check that optional packages are there.

    Args:
        packages: Their names.

    Raises:
        TrackNetError: One is missing.
    """
    for package in packages:
        try:
            __import__(package)
        except ImportError as error:
            raise TrackNetError(
                f"this needs the package {package}: pip install 'tracknet[onnx]' ({error})"
            ) from error


def _with_plain_numbers(network: HeatmapNetwork) -> HeatmapNetwork:
    """Make the restricted integers of jsonargparse plain: symbols of a graph do not multiply with others."""
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, int) and type(value) not in (int, bool):
                setattr(module, name, int(value))
    return network
