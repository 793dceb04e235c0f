"""What is in a checkpoint file: one of ours, a published network known by its names, or weights of others.

Recognised are the two networks of TrackNetV3 (Chen and Wang, 2023), which others train too, U-Nets of the
same names, and networks of WASB's collection (Tarashima et al., 2023).
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tracknet.errors import first_few
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.stand_ins import stand_ins

Family = Literal["TrackNet", "InpaintNet", "WASB", "MonoTrack", "ResTrackNetV2"]


@dataclass(frozen=True)
class _Names:
    """How a published network is known: the first layer, the last one, and one that no other network has."""

    first: str
    last: str
    own: str


_NAMES: dict[Family, _Names] = {
    "TrackNet": _Names(
        "down_block_1.conv_1.conv.weight", "predictor.weight", "bottleneck.conv_1.conv.weight"
    ),
    "InpaintNet": _Names("down_1.conv.weight", "predictor.weight", "buttleneck.conv_1.conv.weight"),
    "WASB": _Names("conv1.weight", "final_layers.0.weight", "stage2.0.branches.0.0.conv1.weight"),
    "MonoTrack": _Names("inc.conv1.0.weight", "outc.conv.weight", "down1.maxpool_conv.1.convs.conv0.weight"),
    "ResTrackNetV2": _Names("inc.conv1.0.weight", "outc.convs.6.weight", "down1.convs.block0.conv0.1.weight"),
}

RECOGNISED = (
    "TrackNet and InpaintNet of TrackNetV3, and U-Nets of its names; WASB, MonoTrack and ResTrackNetV2 of "
    f"WASB's collection (known by names such as {', '.join(names.own for names in _NAMES.values())})"
)
"""What can be imported, in words."""

_WEIGHTS_AT = ("model", "model_state_dict", "model_state", "state_dict")
_WRAPPERS = ("model.", "module.", "_orig_mod.")
"""What a trainer, `torch.nn.DataParallel` and `torch.compile` put before names."""
_FIGURES = ("max_val_acc", "f1", "prec", "recall", "accuracy", "loss")
_NETWORK = "network."
_NEARLY_ALL = 0.9
_TELLS_NETWORK = {"_class_path", "network"}
_KEYS_SHOWN = 5


@dataclass(frozen=True)
class PublicCheckpoint:
    """What a checkpoint of published code holds.

    Attributes:
        family: Which published network it is.
        weights: State dictionary, names as published.
        settings: Options it was trained with, where it tells (``param_dict`` of TrackNetV3).
        epoch: Number of its epoch, where it tells.
        figures: Figures that it tells, such as ``max_val_acc``.
    """

    family: Family
    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def first(self) -> Tensor:
        """Weights of the first layer, ``[width, channels, ...]``."""
        return self.weights[_NAMES[self.family].first]

    @property
    def last(self) -> Tensor:
        """Weights of the last layer, ``[heatmaps, ...]``."""
        return self.weights[_NAMES[self.family].last]


def read_file(path: Path) -> Any:
    """Read a checkpoint, ours or of others: tensors, plain values and NumPy scalars, never pickled code.

    Objects of OmegaConf and of ``pathlib`` are left out: in their place is `LeftOut`.

    Args:
        path: Checkpoint file.

    Returns:
        What is in it; tensors on the CPU.

    Raises:
        TrackNetError: There is no such file, or it is damaged or holds more than that.
    """
    with stand_ins():
        return read_checkpoint(path)


def recognise(content: Any) -> PublicCheckpoint | None:
    """Say what the content of a checkpoint is, by the names in it.

    Args:
        content: What `read_file` gives.

    Returns:
        The checkpoint, or None if its names are those of no published network that can be imported.
    """
    weights = state_dict_of(content)
    for family, names in _NAMES.items():
        if {names.first, names.last, names.own} <= weights.keys():
            settings = content.get("param_dict")
            epoch = content.get("epoch")
            return PublicCheckpoint(
                family,
                weights,
                dict(settings) if isinstance(settings, Mapping) else {},
                int(epoch) if isinstance(epoch, (int, np.integer)) else None,
                {
                    str(name): float(value)
                    for name, value in content.items()
                    if isinstance(value, (float, np.floating)) and str(name).endswith(_FIGURES)
                },
            )
    return None


def state_dict_of(content: Any, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Find the weights in the content of a checkpoint.

    Args:
        content: What `read_file` gives.
        expected: Names of what gets them, which may begin with ``model.`` of their own.

    Returns:
        Tensors by name, without what trainers and wrappers put before names; empty if there are none.
    """
    return _unwrapped(_named(content), _WRAPPERS, expected)


def network_weights(content: Any, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Find the weights of the network in the content of a checkpoint, ours or of others.

    Args:
        content: What `read_file` gives.
        expected: Names of the network, see `state_dict_of`.

    Returns:
        Tensors, named as the network names them; empty if there are none.
    """
    return _unwrapped(_named(content), (*_WRAPPERS, _NETWORK), expected)


def _named(content: Any) -> dict[str, Tensor]:
    """Find the weights, by the names in the file."""
    if not isinstance(content, Mapping):
        return {}
    places = [content[name] for name in _WEIGHTS_AT if isinstance(content.get(name), Mapping)]
    for place in (*places, content):
        found = {str(name): value for name, value in place.items() if isinstance(value, Tensor)}
        if found:
            return found
    return {}


def _unwrapped(
    weights: dict[str, Tensor], prefixes: Sequence[str], expected: Collection[str]
) -> dict[str, Tensor]:
    """Take off what names begin with, as far as most are expected then; all of it where none ever is."""
    steps = [weights]
    while begun := _without_first(steps[-1], prefixes):
        steps.append(begun)
    fitting = [len(step.keys() & set(expected)) for step in steps]
    return steps[fitting.index(max(fitting))] if any(fitting) else steps[-1]


def _without_first(weights: dict[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Take off what all names begin with, but for a few, such as those of a loss beside the network."""
    for prefix in prefixes:
        begun = {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
        if len(begun) > _NEARLY_ALL * len(weights):
            return begun
    return {}


def is_ours(content: Any) -> bool:
    """Say whether the content of a checkpoint was written by ``tracknet fit``, or imported.

    Args:
        content: What `read_file` gives.
    """
    if not isinstance(content, Mapping) or "state_dict" not in content:
        return False
    recipe = content.get("hyper_parameters")
    told = isinstance(recipe, Mapping) and not _TELLS_NETWORK.isdisjoint(recipe)
    return told or "rectifier" in content


def unknown(path: Path, content: Any) -> str:
    """Say what was found in a file and what would have been recognised.

    Args:
        path: The file.
        content: What `read_file` gives.
    """
    weights = state_dict_of(content)
    if weights:
        what = f"weights named {first_few(list(weights), _KEYS_SHOWN)}"
    elif isinstance(content, Mapping):
        keys = first_few([str(key) for key in content], _KEYS_SHOWN)
        what = f"no weights, but the keys {keys or 'nothing'}"
    else:
        what = f"a {type(content).__name__}"
    told = f"{path}: of no tracker that is recognised: found {what}; expected {RECOGNISED}"
    if not weights:
        return told
    quoted = shlex.quote(str(path))
    return f"{told}; with the configuration of its network: tracknet checkpoint import {quoted} --config YAML"
