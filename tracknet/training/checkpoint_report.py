"""What a checkpoint is, in words, without building its network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_contents import is_ours, read_file, recognise, state_dict_of, unknown
from tracknet.training.checkpoint_format import Metadata, check_seal, read_metadata
from tracknet.training.compression import in_words, is_installed
from tracknet.training.public_checkpoints import model_yaml
from tracknet.trust import is_boundless

_NETWORK = "network."
_MOST_VALUES = 100_000
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
    found = read_metadata(path)
    if found is not None and found["compression"] is not None and not is_installed():
        return _without_content(path, found)
    content = read_file(path)
    if is_ours(content):
        lines = _ours(path, content)
    elif (public := recognise(content)) is not None:
        lines = [
            ("what", f"published {public.family}; to make it ours: tracknet checkpoint import {path}"),
            ("parameters", f"{count_parameters(public.weights):,}"),
            ("epoch", "not told" if public.epoch is None else str(public.epoch)),
            *((name, f"{value:.4f}") for name, value in public.figures.items()),
            *((name, repr(value)) for name, value in public.settings.items()),
        ]
    else:
        raise TrackNetError(unknown(path, content))
    report = _aligned(lines)
    if is_ours(content) and "hyper_parameters" in content:
        report += f"\n\n{model_yaml(content['hyper_parameters'])}"
    return report.rstrip("\n")


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name + ':':<{width + 1}} {value}" for name, value in lines)


def _without_content(path: Path, found: Metadata) -> str:
    """Say what the metadata tell of a compressed checkpoint that cannot be opened here."""
    if check_seal(path) != "whole":
        raise TrackNetError(f"{path}: not a readable checkpoint: its SHA-256 is not that of its writing")
    lines = [
        ("what", "checkpoint of tracknet; for more of it: pip install 'tracknet[zstd]'"),
        *_sealed(found),
        ("tracker", found["model"] or "not told"),
        ("network", found["network"] or "not told"),
        ("epoch", str(found["epoch"])),
        ("step", str(found["step"])),
        *((name, str(value)) for name, value in found["metrics"].items()),
    ]
    return _aligned(lines) + (f"\n\n{found['config'].rstrip()}" if found["config"] else "")


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


def _ours(path: Path, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    recipe = content.get("hyper_parameters", {})
    is_tracker = "rectifier" not in content
    network = network_of(content)
    weights = {name: one for name, one in state_dict_of(content).items() if name.startswith(_NETWORK)}
    imported = content.get("imported")
    lines = [
        ("what", f"checkpoint of tracknet, written by Lightning {content.get('pytorch-lightning_version')}"),
        *_sealed(read_metadata(path)),
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


def network_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a checkpoint of ours says of its network: ``class_path`` and ``init_args``, where it does.

    Args:
        content: Content of the checkpoint, of a tracker or a rectifier.
    """
    found: Mapping[str, Any] = content.get(
        "rectifier", content.get("hyper_parameters", {}).get("network", {})
    )
    return found


def _sealed(found: Metadata | None) -> Iterator[tuple[str, str]]:
    """Say what the metadata tell; the SHA-256 was compared when the content was read."""
    if found is None:
        yield "format", "1, without a SHA-256: damage may go unnoticed; see tracknet checkpoint convert"
        return
    yield "format", f"{found['format']}, by tracknet {found['versions'].get('tracknet')}, {found['saved']}"
    yield "SHA-256", f"{found['sha256']}, as written"
    if (worth := found["compression"]) is not None:
        shown = in_words(worth["size"], worth["compressed"], worth["seconds"])
        yield "compression", f"{worth['method']}, {shown}"
    if found["data"] is not None:
        yield "data", found["data"]


def differing_settings(first: Path, second: Path) -> list[str]:
    """Compare what two checkpoints say of their configuration.

    Args:
        first: A checkpoint.
        second: Another.

    Returns:
        A line for each that differs: ``~`` changed, ``-`` only in the first, ``+`` only in the second.

    Raises:
        TrackNetError: One cannot be read.
    """
    before, after = (dict(flat(_settings(path))) for path in (first, second))
    return changes(before, after)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say what differs between two configurations.

    Args:
        before: Values by key, see `flat`.
        after: The same of another.

    Returns:
        A line for each key that differs.
    """
    lines = []
    for key in dict.fromkeys((*before, *after)):
        if key not in after:
            lines.append(f"- {key}: {before[key]!r}")
        elif key not in before:
            lines.append(f"+ {key}: {after[key]!r}")
        elif before[key] != after[key]:
            lines.append(f"~ {key}: {before[key]!r} -> {after[key]!r}")
    return lines


def flat(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Give the values of a configuration by dotted key, without ``init_args``; items of lists by number.

    Args:
        tree: Mappings and lists of plain values.
        key: Key of the tree.

    Example:
        >>> dict(flat({"model": {"class_path": "a.B", "init_args": {"size": [2, 3], "loss": None}}}))
        {'model.class_path': 'a.B', 'model.size': [2, 3], 'model.loss': None}
    """
    if isinstance(tree, Mapping) and tree:
        for name, value in tree.items():
            yield from flat(value, key if name == "init_args" else f"{key}.{name}" if key else str(name))
    elif isinstance(tree, list) and any(isinstance(one, Mapping) for one in tree):
        for number, value in enumerate(tree):
            yield from flat(value, f"{key}.{number}")
    elif key:
        yield key, tree


def _settings(path: Path) -> dict[str, Any]:
    """Give the configuration of a run where the checkpoint holds it, otherwise that of its model."""
    found = read_metadata(path)
    if found is not None and found["config"]:
        try:
            tree = yaml.safe_load(found["config"])
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            told = " ".join(str(error).split())
            raise TrackNetError(f"{path}: its configuration is not plain YAML: {told}") from error
        if is_boundless(tree, _MOST_VALUES):
            raise TrackNetError(f"{path}: its configuration unfolds to more than {_MOST_VALUES:,} values")
        return tree if isinstance(tree, dict) else {}
    content = read_file(path)
    recipe = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    return yaml.safe_load(model_yaml(recipe)) if isinstance(recipe, Mapping) else {}


def _scores(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give the figures that checkpoints were chosen by."""
    for state in content.get("callbacks", {}).values():
        if not isinstance(state, Mapping) or state.get("current_score") is None or not state.get("monitor"):
            continue
        best = state.get("best_model_score")
        so_far = "" if best is None else f" (best so far {float(best):.4f})"
        yield str(state["monitor"]), f"{float(state['current_score']):.4f}{so_far}"
