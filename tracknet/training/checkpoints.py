"""Checkpoints while training, written and read for Lightning, and afterwards, as trackers."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO, TorchCheckpointIO
from lightning.pytorch.cli import instantiate_module
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from typing_extensions import override

from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.checkpoint_format import check_seal, is_sealed, write_checkpoint
from tracknet.training.checkpoint_reading import importing, keys_of, mismatches, read_checkpoint
from tracknet.training.compression import DEFAULT_LEVEL, Method, ZstdLevel, in_words, require_zstandard
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.records.redaction import Redactor
from tracknet.trust import check_recipe, limited, refusal_of, remember

_LONGEST_REASON = 300
_OTHER_NETWORK = "its state_dict is of another network than the one it names"


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
        if isinstance(one, AsyncCheckpointIO) and one.checkpoint_io is None:
            one.checkpoint_io = TrackNetCheckpointIO(config)
        inner = one.checkpoint_io if isinstance(one, AsyncCheckpointIO) else one
        if isinstance(inner, TrackNetCheckpointIO):
            inner.config = inner.config or config
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
