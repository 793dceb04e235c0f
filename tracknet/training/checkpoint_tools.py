"""What is done to checkpoint files: verified, converted, pruned, compared, averaged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_contents import is_ours, read_file, recognise
from tracknet.training.checkpoint_format import FORMAT, Metadata, read_metadata, write_checkpoint
from tracknet.training.checkpoint_reading import mismatches, read_checkpoint, refuse_not_finite
from tracknet.training.checkpoint_report import changes, flat, network_of
from tracknet.training.checkpoints import load_tracker
from tracknet.training.compression import DEFAULT_LEVEL, Method, in_words

_KEPT = (
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "state_dict",
    "hparams_name",
    "hyper_parameters",
    "rectifier",
)
"""What inference needs of a checkpoint; the rest is for training on."""

_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
_OF_OURS = "network."
_OF_TRAINING = ("dropout",)
"""Settings of networks that count in training alone."""


def verify(path: Path) -> list[str]:
    """Check that a checkpoint is whole and can be used.

    Args:
        path: The file.

    Returns:
        What was checked, a line each.

    Raises:
        TrackNetError: It is damaged, of another kind or of a newer format, its weights are not finite, or
            they do not fit the classes that it names.
    """
    content = _ours(path)
    found = read_metadata(path)
    lines = [
        f"SHA-256:  {found['sha256']}, as written"
        if found
        else "SHA-256:  none, as it is of an older format",
        f"format:   {found['format'] if found else 1} (the newest is {FORMAT})",
    ]
    weights = _weights(content)
    refuse_not_finite(path, weights)
    lines.append(f"weights:  {len(weights)} tensors, all finite")
    if "rectifier" not in content:
        lines.append(f"network:  {type(load_tracker(path).network).__name__}, all names and shapes fit")
    return lines


def convert(
    path: Path,
    output: Path,
    config: str | None = None,
    compression: Method | None = None,
    level: int = DEFAULT_LEVEL,
) -> str:
    """Write a checkpoint in the newest format, and compressed or not.

    Args:
        path: Checkpoint of ours, of any format.
        output: Checkpoint to write.
        config: Configuration of its run as YAML, where the file does not hold it.
        compression: How the result is compressed; None as the file is.
        level: Effort of the compression, from 1 to 19.

    Returns:
        What compression was worth, or what it took to undo it, in words; an empty text where there is none.

    Raises:
        TrackNetError: It cannot be read, or the result cannot be written.
    """
    found = read_metadata(path)
    before = found["compression"] if found else None
    begun = time.perf_counter()
    content = _ours(path)
    reading = time.perf_counter() - begun
    config = found["config"] if found else config
    worth = write_checkpoint(content, output, config, compression or _method_of(found), level)
    if worth is not None:
        return in_words(worth["size"], worth["compressed"], worth["seconds"])
    return in_words(before["compressed"], before["size"], reading) if before is not None else ""


def prune(path: Path, output: Path) -> None:
    """Keep of a checkpoint what tracking and testing need: weights and recipe, no state of training.

    Args:
        path: Checkpoint of ours; the result is compressed where it is.
        output: Checkpoint to write.

    Raises:
        TrackNetError: It cannot be read, or the result cannot be written.
    """
    content = _ours(path)
    found = read_metadata(path)
    kept = {name: content[name] for name in (*_KEPT, "imported") if name in content}
    write_checkpoint(kept, output, found["config"] if found else None, _method_of(found))


def _method_of(found: Metadata | None) -> Method:
    return "zstd" if found is not None and found["compression"] is not None else "none"


@dataclass(frozen=True)
class LayerDifference:
    """How far the weights of one name differ in two checkpoints.

    Attributes:
        name: Name of the tensor.
        largest: Largest absolute difference.
        relative: Norm of the difference divided by the norm of the first.
    """

    name: str
    largest: float
    relative: float


class WeightComparison(NamedTuple):
    """What `compare_weights` finds.

    Attributes:
        differing: Those that differ, the most different first.
        compared: How many tensors have the same name and shape in both.
        others: Which names and shapes do not match, in words.
    """

    differing: list[LayerDifference]
    compared: int
    others: str


def compare_weights(first: Path, second: Path) -> WeightComparison:
    """Compare the weights of two checkpoints by name.

    Those of a published network are compared with the network of a tracker of ours, as which it is imported.

    Args:
        first: A checkpoint, ours or published.
        second: Another.

    Raises:
        TrackNetError: One cannot be read, or holds no weights.
    """
    contents = [read_file(path) for path in (first, second)]
    before, after = (_weights(content, path) for content, path in zip(contents, (first, second), strict=True))
    ours = [is_ours(content) for content in contents]
    if ours[0] != ours[1]:
        before, after = _of_network(before), _of_network(after)
    common = [name for name, one in before.items() if name in after and after[name].shape == one.shape]
    pairs = ((name, before[name].double(), after[name].double()) for name in common)
    found = [
        _difference(name, one, other)
        for name, one, other in pairs
        if not torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    ]
    found.sort(key=lambda layer: (not math.isnan(layer.relative), -layer.relative, -layer.largest))
    return WeightComparison(found, len(common), mismatches(before, after))


def _difference(name: str, one: Tensor, other: Tensor) -> LayerDifference:
    off, norm = other - one, one.norm().item()
    relative = off.norm().item()
    if not math.isnan(relative):
        relative = relative / norm if norm else math.inf
    return LayerDifference(name, off.abs().max().item(), relative)


def _of_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_OF_OURS): one for name, one in weights.items()}


def average(paths: Sequence[Path], output: Path) -> bool:
    """Average the weights of checkpoints of one network (Izmailov et al., 2018), in float64.

    Whole numbers, such as counters of batches, are those of the last one. The statistics of batch
    normalisation are averaged, too, which is not what the averaged weights would have gathered.

    Args:
        paths: Two checkpoints of ours or more; the recipe is that of the last, and so is the compression.
        output: Checkpoint to write.

    Returns:
        Whether the network has statistics of batch normalisation.

    Raises:
        TrackNetError: One cannot be read, is of another network, or has weights that are not finite.
    """
    last = _ours(paths[-1])
    expected = _weights(last)
    refuse_not_finite(paths[-1], expected)
    total = {name: one.double() for name, one in expected.items() if one.is_floating_point()}
    for path in paths[:-1]:
        content = _ours(path)
        given = _weights(content)
        if faults := mismatches(expected, given) or _other_network(last, content):
            raise TrackNetError(f"{path}: of another network than {paths[-1]}: {faults}")
        refuse_not_finite(path, given)
        for name in total:
            total[name] = total[name] + given[name].double()
    mean = {name: (one / len(paths)).to(expected[name].dtype) for name, one in total.items()}
    kept = {name: last[name] for name in _KEPT if name in last}
    kept |= {"state_dict": dict(expected) | mean}
    found = read_metadata(paths[-1])
    write_checkpoint(kept, output, found["config"] if found else None, _method_of(found))
    return any(name.endswith(_STATISTICS) for name in expected)


def _other_network(expected: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Say in which settings that both tell two networks differ; an empty text where in none."""
    one, other = (dict(flat(network_of(content))) for content in (expected, given))
    both = {key for key in one.keys() & other.keys() if not key.endswith(_OF_TRAINING)}
    return "; ".join(changes(*({k: v for k, v in tree.items() if k in both} for tree in (one, other))))


def _ours(path: Path) -> dict[str, Any]:
    content = read_checkpoint(path)
    if not is_ours(content):
        raise TrackNetError(
            f"{path}: not a checkpoint of `tracknet fit`; `tracknet checkpoint import` makes one of a "
            "published file"
        )
    found: dict[str, Any] = content
    return found


def _weights(content: Any, path: Path | None = None) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and is_ours(content):
        state = content["state_dict"]
    elif (found := recognise(content)) is not None:
        state = found.weights
    else:
        raise TrackNetError(f"{path}: holds no weights of a tracker")
    return {name: one for name, one in state.items() if isinstance(one, Tensor)}
