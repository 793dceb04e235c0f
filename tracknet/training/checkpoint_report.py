"""What a checkpoint is, in words, without building its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tracknet.errors import TrackNetError
from tracknet.training.public_checkpoints import (
    is_ours,
    model_yaml,
    read_file,
    recognise,
    state_dict_of,
    unknown,
)

_NETWORK = "network."
_BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")


def report_checkpoint(path: Path) -> str:
    """Say what a checkpoint is.

    Args:
        path: Checkpoint of ours, or of published code.

    Returns:
        Lines: what it is, its network, epoch, step and figures, and its configuration as YAML.

    Raises:
        TrackNetError: There is no such file, or it is neither.
    """
    content = read_file(path)
    if is_ours(content):
        lines = _ours(content)
    elif (found := recognise(content)) is not None:
        lines = [
            ("what", f"published {found.family}; to make it ours: tracknet checkpoint import {path}"),
            ("parameters", f"{count_parameters(found.weights):,}"),
            ("epoch", "not told" if found.epoch is None else str(found.epoch)),
            *((name, f"{value:.4f}") for name, value in found.figures.items()),
            *((name, repr(value)) for name, value in found.settings.items()),
        ]
    else:
        raise TrackNetError(unknown(path, content))
    width = max(len(name) for name, _ in lines)
    report = "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in lines)
    if is_ours(content) and "hyper_parameters" in content:
        report += f"\n\n{model_yaml(content['hyper_parameters'])}"
    return report.rstrip("\n")


def count_parameters(weights: Mapping[str, Tensor]) -> int:
    """Count the parameters among weights; the statistics of batch normalisation are none.

    Args:
        weights: Tensors by name.

    Example:
        >>> from torch import nn
        >>> count_parameters(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).state_dict())
        232
    """
    return sum(tensor.numel() for name, tensor in weights.items() if not name.endswith(_BUFFERS))


def _ours(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    recipe = content.get("hyper_parameters", {})
    is_tracker = "rectifier" not in content
    network = recipe.get("network", {}) if is_tracker else content["rectifier"]
    weights = {name: one for name, one in state_dict_of(content).items() if name.startswith(_NETWORK)}
    imported = content.get("imported")
    lines = [
        ("what", f"checkpoint of tracknet, written by Lightning {content.get('pytorch-lightning_version')}"),
        *([("tracker", str(recipe.get("_class_path", "not told")))] if is_tracker else []),
        ("network", str(network.get("class_path", "not told"))),
        ("parameters", f"{count_parameters(weights):,}"),
    ]
    if isinstance(imported, Mapping):
        figures = imported.get("figures", {})
        told = "".join(f", {name} {value:.4f}" for name, value in figures.items() if name != "epoch")
        epoch = imported.get("epoch")
        told = (f", epoch {epoch}" if epoch is not None else "") + told
        return [*lines, ("imported", f"from {imported.get('file')}: {imported.get('family')}{told}")]
    lines += [("epoch", str(content.get("epoch"))), ("step", str(content.get("global_step")))]
    return [*lines, *dict(_scores(content)).items()]


def _scores(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the figures that checkpoints were chosen by."""
    for state in content.get("callbacks", {}).values():
        if not isinstance(state, Mapping) or state.get("current_score") is None or not state.get("monitor"):
            continue
        best = state.get("best_model_score")
        so_far = "" if best is None else f" (best so far {float(best):.4f})"
        yield str(state["monitor"]), f"{float(state['current_score']):.4f}{so_far}"
