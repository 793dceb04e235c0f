"""``tracknet fit``, ``validate``, ``test`` and ``predict``: a LightningCLI over the classes' signatures."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from tracknet.cli.usage import TrackNetParser
from tracknet.configs import find_config
from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import UsageError, nearest
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.schedules import WarmupCosine

# Short class names are looked up among imported classes: these rooms hold what YAML may choose.
import tracknet.models  # isort: skip
import tracknet.tracking.writer  # isort: skip
import tracknet.training.callbacks  # isort: skip  # noqa: F401

LINKS = {
    "frames": "frames",
    "outputs": "outputs",
    "needs_background": "background",
    "input_size": "size",
}
"""Attribute of the module -> parameter of the data: written once, at the model."""


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
            self.config = parser.parse_args(args)
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


def with_run_config(words: Sequence[str]) -> list[str]:
    """Name the configuration of the run that a checkpoint comes from, where no configuration is named.

    ``test --ckpt_path RUN/checkpoints/best.ckpt`` becomes ``test --config RUN/config.yaml --ckpt_path ...``.

    Args:
        words: Words of the command line, the command first.

    Returns:
        The words.

    Raises:
        UsageError: There is no such checkpoint.
    """
    named = [word for word in words if word.partition("=")[0] in ("--config", "-c")]
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag != "--ckpt_path" or not (value or place + 1 < len(words)):
            continue
        path = Path(value or words[place + 1])
        if path.suffix != ".ckpt":
            continue  # "best", "last", "hpc" and addresses are Lightning's to find
        if not path.is_file():
            near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
            raise UsageError(f"--ckpt_path: no file {str(path)!r}{nearest(str(path), near)}")
        config = path.parent.parent / "config.yaml"
        if not named and config.is_file():
            return [*words[:1], "--config", str(config), *words[1:]]
    return list(words)


def with_found_configs(words: Sequence[str]) -> list[str]:
    """Replace the names after ``--config`` by the files that `find_config` finds.

    Args:
        words: Words of the command line.

    Returns:
        The words with paths of existing files.

    Raises:
        UsageError: A configuration file is nowhere to be found.
    """
    found: list[str] = []
    for place, word in enumerate(words):
        if place and words[place - 1] in ("--config", "-c"):
            found.append(str(find_config(word)))
        elif word.startswith("--config="):
            found.append(f"--config={find_config(word.removeprefix('--config='))}")
        else:
            found.append(word)
    return found


def refuse_linked(words: Sequence[str]) -> None:
    """Refuse values that follow the model, which would otherwise be passed over without a word.

    Args:
        words: Words of the command line, as `with_found_configs` gives them.

    Raises:
        UsageError: An option or a configuration file sets such a value.
    """
    for attribute, parameter in LINKS.items():
        at = {"input_size": "model.input_size", "needs_background": "model.network.background"}
        mend = f"it follows the model; set {at.get(attribute, 'model.network.frames')} instead"
        flags = {f"--data.{parameter}", f"--data.init_args.{parameter}"}
        for place, word in enumerate(words):
            if word.partition("=")[0] in flags:
                raise UsageError(f"{word.partition('=')[0]}: {mend}")
            path = words[place + 1] if word in ("--config", "-c") and place + 1 < len(words) else ""
            path = word.removeprefix("--config=") if word.startswith("--config=") else path
            content = yaml.safe_load(Path(path).read_text()) if path else None
            data = content.get("data") if isinstance(content, dict) else None
            given = data.get("init_args") if isinstance(data, dict) else None
            if isinstance(given, dict) and parameter in given:
                raise UsageError(f"{path}: data.init_args.{parameter}: {mend}")


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
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*Experiment logs directory .* exists and is not empty.*",  # TensorBoard's half of our own logger
    ):
        warnings.filterwarnings("ignore", message=message)
    # An advertisement, printed at the start of every run.
    announcements = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    announcements.addFilter(lambda record: "litlogger" not in record.getMessage())
