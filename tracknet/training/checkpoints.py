"""Reading trackers back from checkpoint files."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from tracknet.errors import TrackNetError, nearest
from tracknet.training.lightning_module import HeatmapTracker


def load_tracker(path: Path, device: torch.device | str = "cpu") -> HeatmapTracker:
    """Build the tracker that a checkpoint of ``tracknet fit`` holds; the file alone is enough.

    Only tensors and plain values are read from the file, never pickled code.

    Args:
        path: Checkpoint file.
        device: Where the tracker goes.

    Returns:
        The tracker, in evaluation mode.

    Raises:
        TrackNetError: There is no such file, or it is not such a checkpoint.
    """
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        raise TrackNetError(f"{path}: no such checkpoint{nearest(path.name, near)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise TrackNetError(f"{path}: not a readable checkpoint ({_first_line(error)})") from error
    if not isinstance(content, dict) or "state_dict" not in content or "hyper_parameters" not in content:
        raise TrackNetError(
            f"{path}: not a checkpoint of `tracknet fit`: expected the keys state_dict and hyper_parameters, "
            f"found {', '.join(map(str, content)) if isinstance(content, dict) else type(content).__name__}"
        )
    try:
        tracker = HeatmapTracker.load_from_checkpoint(path, map_location=device, weights_only=True)
    except (TypeError, ValueError, RuntimeError, ImportError, AttributeError) as error:
        raise TrackNetError(f"{path}: the tracker cannot be built from it ({_first_line(error)})") from error
    return tracker.eval()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
