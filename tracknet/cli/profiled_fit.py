"""The training that ``tracknet profile`` takes a few steps of."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonargparse import Namespace, dict_to_namespace
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from typing_extensions import override

from tracknet.cli.train import TrackNetCLI
from tracknet.cli.train import main as train
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.callbacks import Profile
from tracknet.training.settings import CHECKS, check_directions, check_stopping

ONLY_STEPS: dict[str, Any] = {
    "max_epochs": -1,
    "max_steps": 100_000,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "profiler": None,
}
"""Settings of the trainer: steps on one device, without an end of their own."""


class ProfiledCLI(TrackNetCLI):
    """A `fit` with the callback `Profile` and without what comes after the steps.

    Args:
        scratch: Folder for what the training writes.
    """

    # What they are about is left out.
    _checks = tuple(one for one in CHECKS if one not in (check_directions, check_stopping))

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        super().__init__()

    @override
    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_lightning_class_args(Profile, "profile")
            parser.add_argument("--output", type=Path, default=Path("profile"), help="Folder to write to.")
        return parser

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, then keep of the run what a step is made of."""
        super().parse_arguments(parser, args)
        config: Namespace = self.config["fit"]
        _check_output(config.output)
        config.ckpt_path = None
        # Figures are logged, but not where a run is looked for.
        logger = {"save_dir": self._scratch, "name": "", "version": "profile"}
        named = {"class_path": "tracknet.training.loggers.RunLogger", "init_args": logger}
        for key, value in {**ONLY_STEPS, "logger": dict_to_namespace(named)}.items():
            config.trainer[key] = value
        config.trainer.callbacks = [
            one for one in config.trainer.callbacks or [] if not one.class_path.endswith(".Profile")
        ]
        config.profile.folder = config.output
        config.profile.stop = True

    @staticmethod
    @override
    def configure_optimizers(
        lightning_module: LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
    ) -> Any:
        """Leave out a schedule that waits for a validation, or is made for the length of another run."""
        if isinstance(lr_scheduler, (ReduceLROnPlateau, OneCycleLR)):
            lr_scheduler = None
        return TrackNetCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)

    def before_fit(self) -> None:
        """Leave out what saves, and what waits for a validation."""
        left_out = (Checkpoint, EarlyStopping)
        kept = [one for one in self.trainer.callbacks if not isinstance(one, left_out)]  # type: ignore[attr-defined]
        self.trainer.callbacks = kept  # type: ignore[attr-defined]

    @override
    def after_fit(self) -> None:
        """Make sure that something was measured.

        Raises:
            TrackNetError: The epochs are too short.
        """
        (profile,) = (one for one in self.trainer.callbacks if isinstance(one, Profile))  # type: ignore[attr-defined]
        if profile.profiled is None:
            raise TrackNetError(
                f"nothing measured: an epoch has {self.trainer.num_training_batches} batches, and the first "
                "of each does not count; lower data.init_args.batch_size or raise trainer.limit_train_batches"
            )


def _check_output(folder: Path) -> None:
    """Refuse a folder that could not be written, before anything is measured."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise UsageError(f"--output {folder}: {there} is a file; expected a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        refused = why_refused(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        raise TrackNetError(f"--output {folder}: cannot be written: {refused}")


def profiled_fit(words: Sequence[str]) -> int:
    """Profile a few steps of a training.

    Args:
        words: Options of ``tracknet fit``, and ``--output``.

    Returns:
        Exit code.

    Raises:
        UsageError: A wrong option.
        TrackNetError: The training fails, or is too short to be measured.
    """
    with TemporaryDirectory() as scratch:
        return train(["fit", *words], partial(ProfiledCLI, Path(scratch)))
