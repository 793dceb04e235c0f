"""Checkpoint files written and read: by Lightning while training, and as trackers afterwards."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import shlex
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO, TorchCheckpointIO
from lightning.pytorch.cli import instantiate_module
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor
from typing_extensions import override

from tracknet.errors import TrackNetError, first_few, nearest
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.checkpoint_format import (
    FORMAT_KEY,
    check_seal,
    damaged_records,
    is_sealed,
    migrate,
    plain_archive,
    write_checkpoint,
)
from tracknet.training.compression import (
    DEFAULT_LEVEL,
    Method,
    ZstdLevel,
    in_words,
    is_allowed,
    require_zstandard,
)
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.records.redaction import Redactor
from tracknet.trust import check_recipe, is_boundless, limited, refusal_of, remember

_LONGEST_REASON = 300
_KEYS_SHOWN = 5
_NAMED = 3
_MOST_VALUES = 10_000_000
_OTHER_NETWORK = "its state_dict is of another network than the one it names"
_IMPORTED = ("multiarray.scalar", "GLOBAL omegaconf.", "GLOBAL pathlib.")
"""What PyTorch says of objects that are refused here, and that an import leaves out or reads."""
_OURS = {"pytorch-lightning_version", "hyper_parameters", "rectifier"}


class TrackNetCheckpointIO(TorchCheckpointIO):
    """Writes and reads the checkpoints of a Lightning ``Trainer`` in the format of `checkpoint_format`.

    Lightning's own writes without syncing to the disk, cannot tell a damaged file, and reads pickled code
    unless it is told not to. Here files carry metadata and a SHA-256, are read only where that is right and
    as tensors and plain values only; the last good checkpoint of a folder is never removed, nor is anything
    in a folder that it has not written to, whatever a checkpoint that a run goes on from names; keys, tokens
    and passwords among the hyperparameters are written as ``<redacted>``; each is dated
    after the one before it, also where the clock was set back, as runs go on from the newest. Files at remote
    addresses (``s3://...``) are written as Lightning writes them. Lightning's ``AsyncCheckpointIO`` may be
    put around it.

    Args:
        config: Configuration of the run as YAML, kept in the metadata; the command line fills it in.
        compression: ``zstd`` makes the files smaller, by a tenth or so, and saving slower; what it is worth
            is told at the first one and by ``tracknet checkpoint inspect``. All of tracknet reads such files
            by itself; ``torch.load`` does not.
        level: Effort of zstd: 1 is the fastest, 19 the smallest and many times slower.

    Raises:
        TrackNetError: The package that compresses is not installed.

    Example:
        In a configuration file::

            trainer:
              plugins:
                - class_path: TrackNetCheckpointIO
                  init_args: {compression: zstd}
    """

    def __init__(
        self,
        config: str | None = None,
        compression: Method = "none",
        level: ZstdLevel = DEFAULT_LEVEL,
    ) -> None:
        if compression == "zstd":
            require_zstandard("compression: zstd")
        self.config = config
        self.compression = compression
        self.level = level
        self._has_told = False
        self._remembered = False
        self._folders: set[str] = set()  # where it has written checkpoints
        self._newest = 0  # date of the newest checkpoint that was written or read, in nanoseconds

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; see `write_checkpoint`.

        Args:
            checkpoint: What Lightning collected.
            path: The file, or a remote address.
            storage_options: Not used.

        Raises:
            TrackNetError: The disk does not allow it, or it holds more than tensors and plain values.
        """
        checkpoint = _without_secrets(checkpoint)
        self._folders.add(_folder_of(path))
        if _is_remote(path):
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            worth = write_checkpoint(checkpoint, Path(path), self.config, self.compression, self.level)
            self._date(Path(path))
            if worth and not self._has_told:
                self._has_told = True
                shown = in_words(worth["size"], worth["compressed"], worth["seconds"])
                rank_zero_info(f"note: checkpoints are compressed with zstd: {shown} for {Path(path).name}")
        if not self._remembered:
            self._remembered = True
            remember([checkpoint.get("hyper_parameters"), checkpoint.get("rectifier")])

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, as tensors and plain values only, onto the CPU.

        Args:
            path: The file, or a remote address.
            map_location: Not used.
            weights_only: Not used: pickled code is never read.

        Returns:
            The content.

        Raises:
            TrackNetError: There is no such file, or it is damaged or of a newer format.
        """
        if _is_remote(path):
            return super().load_checkpoint(path, weights_only=True)
        content: dict[str, Any] = read_checkpoint(Path(path))
        self._newest = max(self._newest, Path(path).stat().st_mtime_ns)
        _note_if_old(Path(path))
        return content

    def _date(self, path: Path) -> None:
        told = path.stat()
        if told.st_mtime_ns > self._newest:
            self._newest = told.st_mtime_ns
            return
        self._newest += 1_000_000
        with suppress(OSError):  # some network drives keep dates of their own
            os.utime(path, ns=(told.st_atime_ns, self._newest))

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, unless no other one in its folder is whole.

        Lightning asks for what the checkpoint names that a run goes on from, which may be somebody else's
        and name any folder of this machine.

        Args:
            path: The file, or a remote address.
        """
        if _folder_of(path) not in self._folders:
            rank_zero_warn(f"{path}: kept, as this run has written no checkpoint to its folder")
            return
        if not _is_remote(path):
            others = (one for one in checkpoints_in(Path(path).parent) if one != Path(path))
            if not any(check_seal(one) == "whole" for one in others):
                rank_zero_warn(f"{path}: kept, as no other checkpoint in its folder is whole")
                return
        super().remove_checkpoint(path)


def with_checkpoints_of_ours(plugins: Any, config: str) -> list[Any]:
    """Add `TrackNetCheckpointIO` to the plugins of a trainer that have no other ``CheckpointIO``.

    Args:
        plugins: Plugins as the trainer takes them: None, one, or a list.
        config: Configuration of the run as YAML, for those of ours that have none.

    Returns:
        The plugins.
    """
    found = list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]
    writers = [one for one in found if isinstance(one, CheckpointIO)]
    if not writers:
        found.append(TrackNetCheckpointIO(config))
    for one in writers:
        if isinstance(one, TrackNetCheckpointIO):
            one.config = one.config or config
        elif isinstance(one, AsyncCheckpointIO) and one.checkpoint_io is None:
            one.checkpoint_io = TrackNetCheckpointIO(config)
        elif isinstance(one, AsyncCheckpointIO) and isinstance(one.checkpoint_io, TrackNetCheckpointIO):
            one.checkpoint_io.config = one.checkpoint_io.config or config
    return found


def _is_remote(path: str | Path) -> bool:
    return "://" in str(path)


def _without_secrets(checkpoint: dict[str, Any]) -> dict[str, Any]:
    names = ("hyper_parameters", "datamodule_hyper_parameters")
    redactor = Redactor()
    return checkpoint | {name: redactor.tree(checkpoint[name]) for name in names if name in checkpoint}


def _folder_of(path: str | Path) -> str:
    """Give the folder of a checkpoint; empty where its name leads out of it."""
    folder, _, name = str(path).rpartition("/")
    if name in ("", ".", ".."):
        return ""
    return folder if _is_remote(path) else os.path.realpath(folder or ".")


def _note_if_old(path: Path) -> None:
    if not is_sealed(path):
        rank_zero_info(
            f"note: {path}: of an older format without a SHA-256, so that damage may go unnoticed; "
            "`tracknet checkpoint convert` adds it"
        )


def load_tracker(path: Path | str, device: torch.device | str = "cpu", trust: bool = False) -> HeatmapTracker:
    """Build the tracker that a checkpoint of ``tracknet fit`` holds; the file alone is enough.

    Only tensors and plain values are read from the file, never pickled code; of the classes that it names,
    only those are imported that `tracknet.trust.check_recipe` lets pass. A subclass of `HeatmapTracker` that
    cannot be found, such as one in a training script, is read as a `HeatmapTracker`.

    Args:
        path: Checkpoint file, of ``tracknet fit`` or of a Lightning ``Trainer``.
        device: Where the tracker goes.
        trust: Let it name any class.

    Returns:
        The tracker, in evaluation mode.

    Raises:
        TrackNetError: There is no such file, it is not such a checkpoint, or it names a class of another
            module.
    """
    path = Path(path)
    content = read_checkpoint(path)
    if isinstance(content, dict) and "rectifier" in content:
        raise TrackNetError(
            f"{path}: holds a rectifier, which fills gaps of trajectories, and no tracker; give it as "
            "--rectifier to `track`, `predict` or `test`"
        )
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= content.keys():
        raise TrackNetError(
            f"{path}: not a checkpoint of `tracknet fit`: expected the keys state_dict and hyper_parameters, "
            f"found {keys_of(content)} (weights of others: {importing(path)})"
        )
    more = check_recipe(path, content["hyper_parameters"], trust)
    try:
        with limited(more is not None, more or ()):
            _refuse_other(content)
            tracker = _build(content["hyper_parameters"])
        if faults := mismatches(tracker.state_dict(), content["state_dict"]):
            raise ValueError(f"{_OTHER_NETWORK}: {faults}")
        tracker.load_state_dict(content["state_dict"])
        _note_if_old(path)
        return tracker.to(device).eval()
    except Exception as error:  # whatever the constructors of the classes that it names may raise
        raise TrackNetError(f"{path}: the tracker cannot be built from it ({in_short(error)})") from error


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


def _tensors(values: Any) -> Iterator[Tensor]:
    """Give all tensors in what a file holds."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (dict, list, tuple)):
        # A file can give an OrderedDict another `values`.
        for one in dict.values(values) if isinstance(values, dict) else values:
            yield from _tensors(one)


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


def importing(path: Path) -> str:
    """Give the command that makes a checkpoint of ours of one of others.

    Args:
        path: The file.
    """
    quoted = shlex.quote(str(path))
    return f"tracknet checkpoint import {quoted}, with --config YAML where it does not tell its network"


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


def _refuse_other(content: Mapping[str, Any]) -> None:
    """Compare the network that a checkpoint names with its weights before that takes any memory.

    A name and a number or two are enough for a network that fills it. Those that cannot be built without
    memory are compared afterwards only.
    """
    try:
        with torch.device("meta"):
            expected = _build(content["hyper_parameters"]).state_dict()
    except Exception:  # what is wrong with it is told when it is built
        return
    if faults := mismatches(expected, content["state_dict"]):
        raise ValueError(f"{_OTHER_NETWORK}: {faults}")


def _build(recipe: dict[str, Any]) -> HeatmapTracker:
    cls: type[HeatmapTracker] = HeatmapTracker
    class_path = str(recipe.get("_class_path", ""))
    module, _, name = class_path.rpartition(".")
    try:
        known = module and not refusal_of(class_path)
        found = getattr(import_module(module), name) if known else HeatmapTracker
    except (ImportError, AttributeError):
        found = HeatmapTracker
    if isinstance(found, type) and issubclass(found, HeatmapTracker):
        cls = found
    taken = inspect.signature(cls).parameters
    if "network" in taken and "network" not in recipe:
        raise ValueError("it does not say how to build the network")
    tracker: HeatmapTracker = instantiate_module(
        cls, {name: value for name, value in recipe.items() if name in taken}
    )
    return tracker


def keys_of(content: Any) -> str:
    """Say what is in a file that is no checkpoint of ours: its keys, the first few of them.

    Args:
        content: Its content.
    """
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    return first_few([str(key) for key in content if key != FORMAT_KEY], _KEYS_SHOWN) or "nothing"


def in_short(error: Exception) -> str:
    """Say in some words why something could not be built.

    Args:
        error: What was raised.
    """
    words = " ".join(str(error).split()) or type(error).__name__
    # What is not to be trusted has been refused before: here nothing of that name is found.
    if missing := re.search(r"Importing '([\w.]+)' is not allowed, denied by the '\*'", words):
        return f"no class {missing[1]} is found: install its package, or put its folder on PYTHONPATH"
    return words if len(words) <= _LONGEST_REASON else f"{words[:_LONGEST_REASON]} ..."
