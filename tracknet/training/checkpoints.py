"""Reading trackers back from checkpoint files."""

from __future__ import annotations

import inspect
import pickle
import warnings
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import instantiate_module

from tracknet.errors import TrackNetError, nearest
from tracknet.training.lightning_module import HeatmapTracker

_LONGEST_REASON = 300
_KEYS_SHOWN = 5


def load_tracker(path: Path, device: torch.device | str = "cpu") -> HeatmapTracker:
    """Build the tracker that a checkpoint of ``tracknet fit`` holds; the file alone is enough.

    Only tensors and plain values are read from the file, never pickled code; the classes that it names must
    be installed. A subclass of `HeatmapTracker` that cannot be found, such as one in a training script, is
    read as a `HeatmapTracker`.

    Args:
        path: Checkpoint file, of ``tracknet fit`` or of a Lightning ``Trainer``.
        device: Where the tracker goes.

    Returns:
        The tracker, in evaluation mode.

    Raises:
        TrackNetError: There is no such file, or it is not such a checkpoint.
    """
    content = read_checkpoint(path)
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= content.keys():
        raise TrackNetError(
            f"{path}: not a checkpoint of `tracknet fit`: expected the keys state_dict and hyper_parameters, "
            f"found {_found(content)}"
        )
    try:
        tracker = _build(content["hyper_parameters"])
        tracker.load_state_dict(content["state_dict"])
        return tracker.to(device).eval()
    except Exception as error:  # whatever the constructors of the classes that it names may raise
        raise TrackNetError(f"{path}: the tracker cannot be built from it ({_in_short(error)})") from error


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint file: tensors and plain values only, never pickled code.

    Args:
        path: Checkpoint file.

    Returns:
        What is in it, a dictionary where Lightning wrote it; tensors on the CPU.

    Raises:
        TrackNetError: There is no such file, or it is damaged or not a checkpoint.
    """
    if path.is_dir():
        raise TrackNetError(f"{path}: is a folder; expected a checkpoint file such as best.ckpt")
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        raise TrackNetError(f"{path}: no such checkpoint{nearest(path.name, near)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise nearly anything
        raise TrackNetError(f"{path}: not a readable checkpoint: {_fault(path, error)}") from error


def _fault(path: Path, error: Exception) -> str:
    """Say what is wrong with a file; PyTorch's own words advise to run what is in it."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError as reason:
        return str(reason.strerror)
    if not head:
        return "it is empty"
    if head == b"PK" and not zipfile.is_zipfile(path):
        return "it is cut short"
    if head == b"PK" and isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors and plain values, which could be code and is not opened"
    if head == b"PK":
        return "it is damaged, or not a file of PyTorch"
    if head in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "it is damaged, or a pickle, which could hold code and is not opened"
    return "it is not a file of PyTorch"


def _build(recipe: dict[str, Any]) -> HeatmapTracker:
    cls: type[HeatmapTracker] = HeatmapTracker
    module, _, name = str(recipe.get("_class_path", "")).rpartition(".")
    try:
        found = getattr(import_module(module), name) if module else HeatmapTracker
    except (ImportError, AttributeError):
        found = HeatmapTracker
    if isinstance(found, type) and issubclass(found, HeatmapTracker):
        cls = found
    known = inspect.signature(cls).parameters
    if "network" in known and "network" not in recipe:
        raise ValueError("it does not say how to build the network")
    tracker: HeatmapTracker = instantiate_module(
        cls, {name: value for name, value in recipe.items() if name in known}
    )
    return tracker


def _found(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    keys = [str(key) for key in content]
    more = f" and {len(keys) - _KEYS_SHOWN} more" if len(keys) > _KEYS_SHOWN else ""
    return f"{', '.join(keys[:_KEYS_SHOWN]) or 'nothing'}{more}"


def _in_short(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]} ..."
