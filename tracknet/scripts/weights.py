"""Checkpoints of both kinds that the older tracknet had, and those of today."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule

# Not for its names: short class names are looked up among the classes that it imports.
import tracknet.cli.train  # noqa: F401
from tracknet.errors import TrackNetError, nearest
from tracknet.scripts.common import Prepared
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.checkpoints import read_checkpoint
from tracknet.training.lightning_module import HeatmapTracker

_PREFIXES = ("model.", "network.", "module.")


def newest_best(folder: Path) -> Path:
    """Find the newest ``best_*.ckpt`` or ``best_*.pt`` in a folder.

    Args:
        folder: Folder of checkpoints.

    Returns:
        The file.

    Raises:
        TrackNetError: There is none.
    """
    found = [path for path in folder.glob("best_*") if path.suffix in (".ckpt", ".pt")]
    if not found:
        raise TrackNetError(f"{folder}: no best_*.ckpt or best_*.pt; name one with --checkpoint")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def load(prepared: Prepared, path: Path) -> HeatmapTracker:
    """Build the tracker of a run and give it the weights of a checkpoint.

    Args:
        prepared: The run.
        path: A checkpoint of today; a Lightning checkpoint whose weights begin with ``model.``; or a file
            with the key ``model_state``.

    Returns:
        The tracker, in evaluation mode.

    Raises:
        TrackNetError: There is no such file, it holds no weights, or those of another network.
    """
    if not path.is_file():
        near = [str(one) for one in path.parent.glob("*")] if path.parent.is_dir() else []
        raise TrackNetError(f"--checkpoint: no file {str(path)!r}{nearest(str(path), near)}")
    weights = _weights(read_checkpoint(path), path)
    made = ArgumentParser(exit_on_error=False)
    made.add_subclass_arguments(LightningModule, "model")
    built = made.instantiate_classes(made.parse_object({"model": prepared.migration.draft.values["model"]}))
    tracker: HeatmapTracker = built.model
    missing, unexpected = tracker.network.load_state_dict(weights, strict=False)
    if missing or unexpected:
        cls = type(tracker.network).__name__
        raise TrackNetError(
            f"{path}: holds the weights of another network than {cls}: {len(missing)} of its "
            f"{len(tracker.network.state_dict())} tensors are missing ({', '.join(missing[:2])}), "
            f"{len(unexpected)} are of no use ({', '.join(unexpected[:2])}); "
            "networks that were built otherwise have to be trained anew"
        )
    return tracker.eval()


def save(tracker: HeatmapTracker, path: Path) -> Path:
    """Write weights as a checkpoint that the commands take.

    Args:
        tracker: The tracker.
        path: Where.

    Returns:
        The same path.
    """
    from lightning import __version__ as version

    content = {"state_dict": tracker.state_dict(), "hyper_parameters": dict(tracker.hparams)}
    write_checkpoint({**content, "epoch": 0, "global_step": 0, "pytorch-lightning_version": version}, path)
    return path


def _weights(content: Any, path: Path) -> dict[str, Any]:
    """Give the weights of the network, named as the network names them."""
    state = content if isinstance(content, Mapping) else {}
    for key in ("model_state", "state_dict"):
        if isinstance(state.get(key), Mapping):
            weights = dict(state[key])
            while prefix := next((one for one in _PREFIXES if _has_prefix(weights, one)), ""):
                weights = {
                    name.removeprefix(prefix): value
                    for name, value in weights.items()
                    if name.startswith(prefix)
                }
            return weights
    known = ", ".join(map(str, list(state)[:5])) or type(content).__name__
    raise TrackNetError(f"{path}: no checkpoint: expected the key model_state or state_dict, found {known}")


def _has_prefix(weights: Mapping[str, Any], prefix: str) -> bool:
    """Say whether names begin so, all but a few, such as those of a loss beside the network."""
    return sum(name.startswith(prefix) for name in weights) > 0.9 * len(weights)
