"""Which engine runs a tracker: PyTorch for checkpoints, ONNX Runtime for exported graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tracknet.errors import UsageError

if TYPE_CHECKING:
    from tracknet.tracking.finder import BallDetector

Engine = Literal["auto", "torch", "onnxruntime"]


def load_detector(
    ckpt: Path, device: str, engine: Engine = "auto", threshold: float | None = None
) -> tuple[BallDetector, str]:
    """Read the detector that a file holds.

    Args:
        ckpt: Checkpoint of ``tracknet fit``, or graph of ``tracknet export --format onnx``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        engine: ``auto`` goes by the ending of the file.
        threshold: Confidence from which a ball counts as visible; None for that of the file.

    Returns:
        The detector, and the device where it wants the frames.

    Raises:
        UsageError: The file is not what the engine runs.
        TrackNetError: The file cannot be used, or there is no such device.
    """
    is_graph = ckpt.suffix == ".onnx"
    if engine == "onnxruntime" and not is_graph:
        raise UsageError(
            f"--engine onnxruntime runs a graph in .onnx, found {ckpt}; to make one: "
            f"tracknet export {ckpt} --format onnx"
        )
    if engine == "torch" and is_graph:
        raise UsageError(f"--engine torch runs a checkpoint, found {ckpt}; leave --engine out")
    if is_graph:
        # Lightning, which the other way needs, takes seconds to import.
        from tracknet.tracking.onnx_detector import load_onnx

        return load_onnx(ckpt, device, threshold), "cpu"

    from tracknet.cli.track import choose_device
    from tracknet.training.checkpoints import load_tracker

    place = choose_device(device)  # type: ignore[arg-type]
    tracker = load_tracker(ckpt, place)
    if threshold is not None:
        tracker.decoder.threshold = threshold
    return tracker, place
