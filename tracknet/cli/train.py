"""``tracknet fit``, ``validate``, ``test`` and ``predict``: a LightningCLI over the classes' signatures."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from tracknet.cli.usage import SettingError, TrackNetParser
from tracknet.cli.words import LINKS, refuse_linked, with_found_configs, with_run_config, written_at
from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import UsageError
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.schedules import WarmupCosine

# Short class names are looked up among imported classes: these rooms hold what YAML may choose.
import tracknet.models  # isort: skip
import tracknet.tracking.writer  # isort: skip
import tracknet.training.callbacks  # isort: skip  # noqa: F401


class TrackNetCLI(LightningCLI):
    """LightningCLI whose module tells the data what its network needs.

    Args:
        args: Words of the command line; default those of the process.
        run: Whether to run the sub-command, or only to build its objects.
    """

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        super().__init__(
            model_class=LightningModule,
            datamodule_class=RallyDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=42,
            parser_class=TrackNetParser,
            args=args,
            run=run,
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Hand what the network needs from the module to the data."""
        for attribute, parameter in LINKS.items():
            parser.link_arguments(
                "model", f"data.init_args.{parameter}", attrgetter(attribute), apply_on="instantiate"
            )

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, with ``--config NAME`` also finding the packaged YAML."""
        if isinstance(args, (list, type(None))):
            args = with_found_configs(with_run_config(sys.argv[1:] if args is None else args))
            refuse_linked(args)
            try:
                self.config = parser.parse_args(args)
            except SettingError as error:
                place = written_at(error.key, args)
                raise UsageError(f"{place}: {error}" if place else str(error)) from error
        else:
            super().parse_arguments(parser, args)

    @override
    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's settings override those of the command line without a word. Here the
        # run's config.yaml gives them (`with_run_config`), and the command line comes last as everywhere.
        return

    @staticmethod
    @override
    def configure_optimizers(
        lightning_module: LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
    ) -> Any:
        """Step schedules that follow the length of the run with every step, others with every epoch."""
        if not isinstance(lr_scheduler, LRScheduler):
            return LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)
        if isinstance(lr_scheduler, WarmupCosine) and lr_scheduler.total_steps is None:
            lr_scheduler.total_steps = int(lightning_module.trainer.estimated_stepping_batches)
        interval = getattr(lr_scheduler, "interval", "epoch")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": lr_scheduler, "interval": interval}}

    @rank_zero_only
    def after_fit(self) -> None:
        """Say where the run lies and what to do with it."""
        folder = self.trainer.log_dir
        best = getattr(self.trainer.checkpoint_callback, "best_model_path", "")
        if folder is None or not best:
            return
        score = getattr(self.trainer.checkpoint_callback, "best_model_score", None)
        metric = self.model.val_metrics.label if isinstance(self.model, HeatmapTracker) else ""
        shown = [
            f"run:        {folder}",
            f"best:       {best}" + (f"  (F1 {float(score):.4f}; {metric})" if score is not None else ""),
            f"curves:     tensorboard --logdir {folder}",
            f"test:       tracknet test --ckpt_path {best}",
            f"track:      tracknet track VIDEO --ckpt {best}",
            f"repeat:     tracknet fit --config {Path(folder) / 'config.yaml'}",
        ]
        print("\n" + "\n".join(shown))


def main(argv: Sequence[str]) -> int:
    """Run a training command.

    Args:
        argv: Words of the command line, the command first.

    Returns:
        Exit code.
    """
    # Lightning starts the other processes of a DDP run with this process's own command line.
    sys.argv[1:] = argv
    _silence_known_noise()
    try:
        TrackNetCLI()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _silence_known_noise() -> None:
    for message in (
        r".*does not have many workers which may be a bottleneck.*",  # num_workers is the user's choice
        r".*The number of training batches.*is smaller than the logging interval.*",
        r".*is an instance of `nn.Module` and is already saved during checkpointing.*",
        r".*isinstance\(treespec, LeafSpec\).*",
        r".*Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
        r".*The dirpath has changed from .*",  # test results have a folder of their own
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*Experiment logs directory .* exists and is not empty.*",  # TensorBoard's half of our own logger
    ):
        warnings.filterwarnings("ignore", message=message)
    # An advertisement, printed at the start of every run.
    announcements = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    announcements.addFilter(lambda record: "litlogger" not in record.getMessage())
