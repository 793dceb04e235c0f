"""Checkpoint files read: tensors and plain values only, and in words what is wrong with the others."""

from __future__ import annotations

import pickle
import re
import shlex
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tracknet.errors import TrackNetError, first_few, nearest
from tracknet.training.checkpoint_format import (
    FORMAT_KEY,
    check_seal,
    damaged_records,
    migrate,
    plain_archive,
)
from tracknet.training.compression import is_allowed
from tracknet.trust import is_boundless

_KEYS_SHOWN = 5
_NAMED = 3
_MOST_VALUES = 10_000_000
_IMPORTED = ("multiarray.scalar", "GLOBAL omegaconf.", "GLOBAL pathlib.")
"""What PyTorch says of objects that are refused here, and that an import leaves out or reads."""
_OURS = {"pytorch-lightning_version", "hyper_parameters", "rectifier"}


def read_checkpoint(path: Path | str) -> Any:
    """Read a checkpoint file: tensors and plain values only, never pickled code.

    Args:
        path: Checkpoint file.

    Returns:
        What is in it, a dictionary where Lightning wrote it; tensors on the CPU.

    Raises:
        TrackNetError: There is no such file, or it is damaged, not a checkpoint or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        raise TrackNetError(f"{path}: is a folder; expected a checkpoint file such as best.ckpt")
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        raise TrackNetError(f"{path}: no such checkpoint{nearest(path.name, near)}")
    if path.suffix.lower() in (".onnx", ".torchscript", ".pt2"):
        raise TrackNetError(
            f"{path}: is a graph of `tracknet export`, and no checkpoint; `tracknet track` runs checkpoints "
            "and .onnx graphs"
        )
    try:
        seal = check_seal(path)
        if seal == "damaged":
            fault = "it is cut short"
            if zipfile.is_zipfile(path):
                fault = "it is damaged: its SHA-256 is not that of its writing"
            raise TrackNetError(f"{path}: not a readable checkpoint: {fault}")
        if seal == "none" and (damaged := damaged_records(path)):
            raise TrackNetError(
                f"{path}: not a readable checkpoint: it is damaged: the CRC-32 of {damaged[0]} is not "
                "that of its writing; get it again"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused anyway
            content = torch.load(plain_archive(path), map_location="cpu", weights_only=True)
    except TrackNetError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise TrackNetError(f"{path}: not a readable checkpoint: {_fault(path, error)}") from error
    if is_boundless(content, _MOST_VALUES):
        raise TrackNetError(
            f"{path}: not a readable checkpoint: its lists unfold to more than {_MOST_VALUES:,} values"
        )
    tensors = list(_tensors(content))
    if any(one.layout != torch.strided or one.is_quantized or one.is_nested for one in tensors):
        raise TrackNetError(
            f"{path}: not opened: some of its tensors are sparse, quantised or nested; expected plain ones, "
            "such as `to_dense` or `dequantize` make of them"
        )
    size = sum(one.numel() * one.element_size() for one in tensors)
    if not is_allowed(size, path.stat().st_size):
        raise TrackNetError(
            f"{path}: not opened: its tensors would be {size / 1e6:.0f} MB, in a file of "
            f"{path.stat().st_size / 1e6:.1f} MB"
        )
    if isinstance(content, dict) and "state_dict" in content and not _OURS.isdisjoint(content):
        return migrate(path, content)
    return content


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
        if any(name in str(error) for name in _IMPORTED):
            return (
                "it holds a NumPy number, or settings of OmegaConf, as files of other trackers do; first: "
                f"{importing(path)}"
            )
        found = re.search(r"GLOBAL ([\w.]{1,100})", str(error))
        named = f" ({found[1]})" if found else ""
        return (
            f"it holds more than tensors and plain values{named}, which could be code and is not opened; "
            "where it was made, save the state_dict of the network alone"
        )
    if head == b"PK":
        return "it is damaged, or not a file of PyTorch"
    if head in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "it is damaged, or a pickle, which could hold code and is not opened"
    return "it is not a file of PyTorch"


def _tensors(values: Any) -> Iterator[Tensor]:
    """Give all tensors in what a file holds."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (dict, list, tuple)):
        # A file can give an OrderedDict another `values`.
        for one in dict.values(values) if isinstance(values, dict) else values:
            yield from _tensors(one)


def keys_of(content: Any) -> str:
    """Say what is in a file that is no checkpoint of ours: its keys, the first few of them.

    Args:
        content: Its content.
    """
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return first_few([str(key) for key in content if key != FORMAT_KEY], _KEYS_SHOWN) or "nothing"


def importing(path: Path) -> str:
    """Give the command that makes a checkpoint of ours of one of others.

    Args:
        path: The file.
    """
    quoted = shlex.quote(str(path))
    return f"tracknet checkpoint import {quoted}, with --config YAML where it does not tell its network"


def mismatches(expected: Mapping[str, Tensor], given: Mapping[str, Any]) -> str:
    """List the weights of a checkpoint that do not fit a network.

    Args:
        expected: Weights of the network.
        given: Weights of the checkpoint.

    Returns:
        Names with what is wrong, the first few of them; an empty string where all fit.
    """
    faults = [f"there is no {name}" for name in expected if name not in given]
    faults += [f"{name} is unknown" for name in given if name not in expected]
    faults += [
        f"{name} is {list(given[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    return first_few(faults, _KEYS_SHOWN, "; ")


def refuse_not_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights among which there is a NaN or an infinity.

    Args:
        path: Their file.
        weights: Tensors by name.

    Raises:
        TrackNetError: There is one.
    """
    wrong = [name for name, one in weights.items() if one.is_floating_point() and not one.isfinite().all()]
    if wrong:
        raise TrackNetError(
            f"{path}: weights that are not finite: {first_few(wrong, _NAMED)}; "
            "take a checkpoint of before training diverged"
        )
