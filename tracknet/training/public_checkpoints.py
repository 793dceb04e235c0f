"""Checkpoints of published code made into checkpoints of ours.

The order of their channels is that of `stack_frames`: the median background first where there is one, then
the frames, oldest first, each R, G, B in 0..1. Networks of WASB's collection get the colours normalised as
for ImageNet, which ours do inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor, nn

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.decoding import ComponentDecoder
from tracknet.evaluation.metrics import BallMetrics
from tracknet.models.inpaintnet import InpaintNet
from tracknet.models.monotrack import MonoTrack
from tracknet.models.network import BackgroundMode, HeatmapNetwork, input_channels
from tracknet.models.restracknetv2 import ResTrackNetV2
from tracknet.models.tracknetv2 import TrackNetV2
from tracknet.models.tracknetv3 import TrackNetV3
from tracknet.models.wasb import WASB
from tracknet.training.checkpoint_contents import (
    Family,
    PublicCheckpoint,
    is_ours,
    read_file,
    recognise,
    unknown,
)
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.checkpoint_reading import mismatches, refuse_not_finite
from tracknet.training.hyperparameters import describe
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import QualityFocalLoss, WBCELoss
from tracknet.training.rectifier import TrajectoryRectifier
from tracknet.training.targets import DiscTarget, PeakTarget

_OF_WASB: dict[Family, Callable[[int, BackgroundMode], HeatmapNetwork]] = {
    "WASB": WASB,
    "MonoTrack": MonoTrack,
    "ResTrackNetV2": ResTrackNetV2,
}
_BACKGROUND: dict[Any, BackgroundMode] = {
    "": "none",
    "subtract": "subtract",
    "subtract_concat": "subtract_concat",
    "concat": "concat",
}
_COUNTER = ".num_batches_tracked"


class Imported(NamedTuple):
    """What was imported.

    Attributes:
        told: What it is, and where it differs from the published code; a line each.
        fills_gaps: Whether it is a rectifier, and no tracker.
    """

    told: str
    fills_gaps: bool


def import_checkpoint(path: Path, output: Path, background: BackgroundMode | None = None) -> Imported:
    """Make a checkpoint of published code into one of ours.

    Beside it goes ``OUTPUT.yaml`` with its configuration, for ``tracknet test`` and for training on.

    Args:
        path: The published checkpoint.
        output: Checkpoint to write.
        background: What the network sees of the background, where neither the settings in the checkpoint nor
            the number of channels tell.

    Returns:
        What was imported.

    Raises:
        UsageError: `background` is needed, or contradicts the checkpoint.
        TrackNetError: There is no such file, it is not recognised, its weights are not finite, or the result
            cannot be written.
    """
    content = read_file(path)
    if is_ours(content):
        raise TrackNetError(f"{path}: is a checkpoint of `tracknet fit` already; nothing to import")
    found = recognise(content)
    if found is None:
        raise TrackNetError(unknown(path, content))
    refuse_not_finite(path, found.weights)
    if found.family == "InpaintNet" and background is not None:
        raise UsageError(f"--background {background}: {path} is InpaintNet, which sees no pictures")
    try:
        module = build_rectifier(found) if found.family == "InpaintNet" else build_tracker(found, background)
    except TrackNetError as error:
        raise type(error)(f"{path}: {error}") from error
    if isinstance(module, TrajectoryRectifier):
        save_rectifier(module, output, found, path.name)
        return Imported("imported:   InpaintNet, which fills gaps of a trajectory", True)
    save_tracker(module, output, found, path.name)
    network = module.network
    height, width = module.input_size
    seen = "" if network.background == "none" else f", background {network.background}"
    told = f"imported:   {found.family}: {network.frames} frames of {height}x{width}{seen}"
    if network.background.startswith("subtract"):
        told += "\nnote:       differences above 255 are kept at 255; the published code lets them overflow"
    return Imported(told, False)


def build_tracker(found: PublicCheckpoint, background: BackgroundMode | None = None) -> HeatmapTracker:
    """Build the tracker of ours that does what a published one does.

    Args:
        found: The published checkpoint.
        background: See `import_checkpoint`.

    Returns:
        The tracker, in evaluation mode; loss, target, decoder and metrics are those of the publication.

    Raises:
        UsageError: `background` is needed, or contradicts the checkpoint.
        TrackNetError: Names or shapes of the weights are not those of the network.
    """
    frames, mode = _window(found, background)
    make: Callable[[], HeatmapNetwork]
    if found.family == "TrackNet":
        width = len(found.first)
        make = partial(TrackNetV2 if mode == "none" else TrackNetV3, frames, mode, width)
        decoder = ComponentDecoder(threshold=0.5, select="box", centre="box")
    else:
        make = partial(_OF_WASB[found.family], frames, mode)
        decoder = ComponentDecoder(threshold=0.5, select="score", centre="weighted")
    with torch.device("meta"):  # what the file says of its size takes no memory before it is known to be so
        _fitting(make(), found.weights)
    network = make()
    fill(network, found.weights)
    mixup = found.settings.get("alpha")
    tracker = HeatmapTracker(
        network,
        loss=QualityFocalLoss() if found.family == "WASB" else WBCELoss(),
        target=PeakTarget(radius=2.5, floor=0.6) if found.family == "WASB" else DiscTarget(radius=2.5),
        decoder=decoder,
        metrics=BallMetrics("tracknetv2" if found.family == "TrackNet" else "wasb"),
        input_size=(288, 512),
        mixup=max(float(mixup), 0.0) if isinstance(mixup, (int, float)) else 0.0,
    )
    return tracker.eval()


def build_rectifier(found: PublicCheckpoint) -> TrajectoryRectifier:
    """Build the rectifier of ours that does what a published InpaintNet does.

    Args:
        found: The published checkpoint.

    Returns:
        The rectifier, in evaluation mode; the loss is that of the publication.

    Raises:
        TrackNetError: Names or shapes of the weights are not those of the network.
    """
    network = InpaintNet()
    fill(network, found.weights)
    return TrajectoryRectifier(network, loss="mse").eval()


def save_tracker(tracker: HeatmapTracker, output: Path, found: PublicCheckpoint, source: str) -> None:
    """Write a tracker as ``tracknet fit`` would have, and its configuration beside.

    Args:
        tracker: The tracker.
        output: Checkpoint to write; the configuration gets the ending ``.yaml``.
        found: What it was imported from.
        source: Name of the file that it was imported from.

    Raises:
        TrackNetError: A file cannot be written.
    """
    recipe = dict(tracker.hparams)
    _save(tracker, output, found, source, {"hparams_name": "kwargs", "hyper_parameters": recipe})
    _write_yaml(recipe, output)


def save_rectifier(
    rectifier: TrajectoryRectifier, output: Path, found: PublicCheckpoint, source: str
) -> None:
    """Write a rectifier as ``tracknet fit`` would have, and its configuration beside.

    Args:
        rectifier: The rectifier.
        output: Checkpoint to write; the configuration gets the ending ``.yaml``.
        found: What it was imported from.
        source: Name of the file that it was imported from.

    Raises:
        TrackNetError: A file cannot be written.
    """
    content: dict[str, Any] = {}
    rectifier.on_save_checkpoint(content)
    _save(rectifier, output, found, source, content)
    _write_yaml(
        {
            "_class_path": TrajectoryRectifier.__name__,
            "network": describe(rectifier.network),
            "loss": rectifier.loss,
        },
        output,
    )


def _save(
    module: nn.Module, output: Path, found: PublicCheckpoint, source: str, more: Mapping[str, Any]
) -> None:
    told = {
        "file": source,
        "family": found.family,
        "epoch": found.epoch,
        "figures": found.figures,
        "settings": {name: value for name, value in found.settings.items() if _is_plain(value)},
    }
    write_imported(module, output, {"epoch": found.epoch or 0, "imported": told, **more})


def write_imported(
    module: nn.Module, output: Path, more: Mapping[str, Any], config: str | None = None
) -> None:
    """Write a module whose weights are from elsewhere as a checkpoint of Lightning at step 0.

    Args:
        module: The module.
        output: Checkpoint to write.
        more: What else goes into it; ``imported`` tells where the weights are from.
        config: Configuration of the run as YAML.

    Raises:
        TrackNetError: The file cannot be written.
    """
    content = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": module.state_dict(),
    }
    write_checkpoint(content | dict(more), output, config)


def _write_yaml(recipe: Mapping[str, Any], checkpoint: Path) -> None:
    with whole_file(checkpoint.with_suffix(".yaml")) as part:
        told = f"# The network of {checkpoint.name}, made from a file of others.\nshared: true\n"
        part.write_text(told + model_yaml(recipe), encoding="utf-8")


def model_yaml(recipe: Mapping[str, Any]) -> str:
    """Write the hyperparameters of a checkpoint as the ``model`` of a configuration.

    Args:
        recipe: Hyperparameters of a checkpoint of ours.

    Returns:
        YAML.
    """
    settings = {name: value for name, value in recipe.items() if not name.startswith("_")}
    model = {"class_path": recipe.get("_class_path", HeatmapTracker.__name__), "init_args": settings}
    return yaml.safe_dump({"model": model}, sort_keys=False)


def _window(found: PublicCheckpoint, background: BackgroundMode | None) -> tuple[int, BackgroundMode]:
    """Find out frames per window and background mode, and that nothing contradicts the weights."""
    channels = found.first.shape[1]
    frames = len(found.last)
    told = found.settings.get("seq_len", frames)
    if told != frames:
        raise TrackNetError(f"its param_dict says seq_len {told}, its last layer gives {frames} heatmaps")
    fitting = [mode for mode in _BACKGROUND.values() if input_channels(frames, mode) == channels]
    if not fitting:
        raise TrackNetError(
            f"its first layer takes {channels} channels for {frames} heatmaps; expected one heatmap a frame, "
            + ", ".join(f"{input_channels(frames, m)} channels ({m})" for m in _BACKGROUND.values())
        )
    if "bg_mode" in found.settings:
        mode = _BACKGROUND.get(found.settings["bg_mode"])
        if mode not in fitting:
            raise TrackNetError(
                f"its param_dict says bg_mode {found.settings['bg_mode']!r}, "
                f"its first layer takes {channels} channels for {frames} frames"
            )
        fitting = [mode]
    if background is not None and background not in fitting:
        raise UsageError(f"--background {background}: its weights are for {' or '.join(fitting)}")
    if background is None and len(fitting) > 1:
        raise UsageError(
            f"{channels} channels for {frames} frames may be {' or '.join(fitting)}; "
            "say which with --background"
        )
    return frames, background or fitting[0]


def fill(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a network whose names and shapes must be theirs.

    Args:
        network: The network.
        weights: Weights by name; the counters of batches of old checkpoints may be missing.

    Raises:
        TrackNetError: A name or a shape is another.
    """
    network.load_state_dict(_fitting(network, weights))


def _fitting(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    expected = network.state_dict()
    given = dict(weights)
    for name, tensor in expected.items():
        if name.endswith(_COUNTER):
            given.setdefault(name, tensor)
    if faults := mismatches(expected, given):
        raise TrackNetError(f"looks like {type(network).__name__} and is another network: {faults}")
    return given


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str)
