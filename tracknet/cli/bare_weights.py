"""Checkpoints that do not say of which network they are, such as those of the older tracknet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningModule

# Not for its names: short class names are looked up among the classes that it imports.
import tracknet.cli.train  # noqa: F401
from tracknet.configs import compose
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.checkpoint_contents import is_ours, network_weights, read_file
from tracknet.training.checkpoint_reading import keys_of, mismatches, refuse_not_finite
from tracknet.training.checkpoints import in_short
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.public_checkpoints import write_imported
from tracknet.training.rectifier import TrajectoryRectifier
from tracknet.trust import limited


class Imported(NamedTuple):
    """What was imported.

    Attributes:
        told: What it is, in a line.
        names_data: Whether its configuration says which data to take.
    """

    told: str
    names_data: bool


def import_weights(path: Path, output: Path, config: Path) -> Imported:
    """Make a checkpoint of ours of weights and a configuration that names their network.

    Args:
        path: The checkpoint; see `load_weights`.
        output: Checkpoint to write.
        config: The configuration.

    Returns:
        What was imported.

    Raises:
        UsageError: The configuration cannot be used.
        TrackNetError: There is no such checkpoint, or see `load_weights`.
    """
    content = read_file(path)
    if is_ours(content):
        raise TrackNetError(f"{path}: is a checkpoint of `tracknet fit` already; nothing to import")
    composed = compose(["--config", str(config)], "fit")
    model = composed.values.get("model")
    if isinstance(model, str):
        model = {"class_path": model}
    if not isinstance(model, Mapping):
        raise UsageError(f"{config}: names no model")
    try:
        with limited(composed.trusted_only):
            tracker = load_weights(model, content, path)
    except UsageError as error:
        raise UsageError(f"{config}: {error}") from error
    save_weights(tracker, output, yaml.safe_dump(composed.values, sort_keys=False), path.name)
    height, width = tracker.input_size
    network = tracker.network
    told = f"imported:   {type(network).__name__} of {config}: {network.frames} frames of {height}x{width}"
    return Imported(told, "data" in composed.values)


def load_weights(model: Mapping[str, Any], content: Any, path: Path) -> HeatmapTracker:
    """Build a tracker and give it the weights of a checkpoint.

    Args:
        model: The ``model`` of a configuration.
        content: Content of the checkpoint: one of today; one of Lightning whose weights begin with
            ``model.``; one with the key ``model_state``; or weights alone.
        path: Its file, for messages.

    Returns:
        The tracker, in evaluation mode.

    Raises:
        UsageError: No tracker can be built from `model`.
        TrackNetError: It holds no weights, those of another network, or such that are not finite.
    """
    weights = network_weights(content)
    if not weights:
        raise TrackNetError(
            f"{path}: no checkpoint: expected tensors by name, or the key model_state or state_dict, found "
            f"{keys_of(content)}"
        )
    tracker = _build(model)
    weights = network_weights(content, tracker.network.state_dict().keys())
    if faults := mismatches(tracker.network.state_dict(), weights):
        cls = type(tracker.network).__name__
        raise TrackNetError(
            f"{path}: holds the weights of another network than {cls}: {faults}; networks that were built "
            "otherwise have to be trained anew"
        )
    refuse_not_finite(path, weights)
    tracker.network.load_state_dict(weights)
    return tracker.eval()


def _build(model: Mapping[str, Any]) -> HeatmapTracker:
    if "class_path" not in model:
        raise UsageError("model: no class_path says which class to take, such as HeatmapTracker")
    try:
        made = ArgumentParser(exit_on_error=False)
        made.add_subclass_arguments(LightningModule, "model", required=True)
        tracker = made.instantiate_classes(made.parse_object({"model": dict(model)})).model
    except Exception as error:  # whatever the constructors of the classes that it names may raise
        raise UsageError(f"model: the tracker cannot be built from it ({in_short(error)})") from error
    if isinstance(tracker, TrajectoryRectifier):
        raise UsageError(
            "model: is a rectifier, which fills gaps of trajectories, and no tracker; an InpaintNet of "
            "TrackNetV3 is imported without --config"
        )
    if not isinstance(tracker, HeatmapTracker):
        raise UsageError(f"model: {type(tracker).__name__} is no HeatmapTracker")
    return tracker


def save_weights(
    tracker: HeatmapTracker, output: Path, config: str | None = None, source: str | None = None
) -> Path:
    """Write weights as a checkpoint that the commands take.

    Args:
        tracker: The tracker.
        output: Where.
        config: Configuration of the run as YAML.
        source: Name of the file that they are from.

    Returns:
        The same path.
    """
    more = {
        "hparams_name": "kwargs",
        "hyper_parameters": dict(tracker.hparams),
        "imported": {"file": source, "family": type(tracker.network).__name__},
    }
    write_imported(tracker, output, more, config)
    return output
