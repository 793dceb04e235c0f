"""What runs a tracker: PyTorch for checkpoints or ONNX Runtime for exported graphs, and on which device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tracknet.errors import TrackNetError, UsageError

if TYPE_CHECKING:
    import torch

    from tracknet.models.framewise import FramewiseNetwork
    from tracknet.tracking.finder import BallDetector

Device = Literal["auto", "cpu", "cuda", "mps"]
Engine = Literal["auto", "torch", "compiled", "onnxruntime"]
Precision = Literal["32", "bf16", "16"]


def load_detector(
    ckpt: Path,
    device: Device,
    engine: Engine = "auto",
    threshold: float | None = None,
    precision: Precision = "32",
) -> tuple[BallDetector, str]:
    """Read the detector that a file holds.

    Args:
        ckpt: Checkpoint of ``tracknet fit``, or graph of ``tracknet export --format onnx``.
        device: ``auto`` takes a GPU where there is one.
        engine: ``auto`` goes by the ending of the file.
        threshold: Confidence from which a ball counts as visible; None for that of the file.
        precision: What a checkpoint's network computes with.

    Returns:
        The detector, and the device where it wants the frames.

    Raises:
        UsageError: The file is not what the engine runs, or the processor has no units for the precision.
        TrackNetError: The file cannot be used, or there is no such device.
    """
    is_graph = ckpt.suffix == ".onnx"
    if engine == "onnxruntime" and not is_graph:
        raise UsageError(
            f"--engine onnxruntime runs a graph in .onnx, found {ckpt}; to make one: "
            f"tracknet export {ckpt} --format onnx"
        )
    if engine in ("torch", "compiled") and is_graph:
        raise UsageError(f"--engine {engine} runs a checkpoint, found {ckpt}; leave --engine out")
    if is_graph:
        if precision != "32":
            raise UsageError(
                f"--precision {precision} is for checkpoints; a graph computes as it was exported (--int8)"
            )
        # Lightning, which the other way needs, takes seconds to import.
        from tracknet.tracking.onnx_detector import load_onnx

        return load_onnx(ckpt, device, threshold), "cpu"

    from tracknet.training.checkpoints import load_tracker

    place = choose_device(device)
    half = None if precision == "32" else _half(precision, place)
    tracker = load_tracker(ckpt, place)
    if threshold is not None:
        tracker.decoder.threshold = threshold
    if half is not None:
        # What is set on an object hides what its class has of its own: parts only where they are used.
        for way in ("forward", *(("frame_features", "window_heatmaps") if tracker.framewise else ())):
            setattr(tracker, way, half(getattr(tracker, way)))
    if engine == "compiled":
        from tracknet.models.compiling import compile_network, compile_windows

        def tell(told: str) -> None:
            print(f"note: {told}", file=sys.stderr)

        compile_network(tracker.network, tell)
        if tracker.framewise:
            compile_windows(cast("FramewiseNetwork", tracker.network), tell)
    return tracker, place


def choose_device(name: Device) -> str:
    """Find out whether there is the device that was asked for.

    Args:
        name: ``auto`` takes CUDA, then MPS, where there is one, else the CPU.

    Returns:
        The name of the device for PyTorch.

    Raises:
        TrackNetError: This machine, or this PyTorch, has no such device.
    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, available in here.items() if available)
    if not here[name]:
        found = ", ".join(kind for kind, available in here.items() if available)
        raise TrackNetError(
            f"no {name} device that PyTorch {torch.__version__} can use; found {found}: use --device auto"
        )
    return name


def _half(precision: Precision, place: str) -> torch.autocast:
    """Make what lets a network compute in half precision; heatmaps and positions stay in 32 bits."""
    import torch

    from tracknet.training.settings import is_emulated

    kind = torch.device(place).type
    if kind == "cpu" and is_emulated(precision):
        raise UsageError(
            f"--precision {precision} on this CPU, where it is emulated and many times slower; leave it out"
        )
    return torch.autocast(kind, torch.bfloat16 if precision == "bf16" else torch.float16)
