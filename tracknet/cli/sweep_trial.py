"""One trial of a sweep: a ``tracknet fit`` that tells the optimiser how it goes."""

from __future__ import annotations

import gc
import math
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace, dict_to_namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from optuna import TrialPruned
from optuna.trial import Trial
from typing_extensions import override

from tracknet.cli.sweep_settings import Sweep
from tracknet.cli.sweep_space import draw, fit_words
from tracknet.cli.train import TrackNetCLI
from tracknet.cli.train import main as train
from tracknet.cli.training_failures import StoppedError
from tracknet.errors import TrackNetError, UsageError, nearest
from tracknet.training.records.redaction import Redactor

_FILE_LOGGERS = ("RunLogger", "TensorBoardLogger", "CSVLogger")


class TrialFailedError(TrackNetError):
    """A training failed, for a reason of its own; the sweep goes on."""


class TrialReport(Callback):
    """Tells Optuna the figure of each validation, and stops a training that it gives up.

    Lightning knows nothing of Optuna. The callback of ``optuna-integration`` ends a pruned training by an
    exception, which its checkpoints and its record take for a failure; this one ends it in order.

    Args:
        trial: The trial.
        monitor: The figure.

    Attributes:
        values: The figure at each validation.
        pruned: Whether the trial was given up.
        stopping_reason_message: Why, for the record of the run.
    """

    def __init__(self, trial: Trial, monitor: str) -> None:
        self.trial = trial
        self.monitor = monitor
        self.values: list[float] = []
        self.pruned = False
        self.stopping_reason_message = ""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop the training when the pruner says so.

        Args:
            trainer: The trainer.
            pl_module: The module.

        Raises:
            TrackNetError: There is no such figure.
        """
        if trainer.sanity_checking:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.monitor not in figures:
            named = ", ".join(sorted(figures))
            raise TrackNetError(
                f"monitor: no figure {self.monitor!r}{nearest(self.monitor, figures)} ({named})"
            )
        self.trial.report(figures[self.monitor], step=len(self.values))
        self.values.append(figures[self.monitor])
        if self.trial.should_prune():
            self.pruned = trainer.should_stop = True
            self.stopping_reason_message = f"{self.monitor} {self.values[-1]:.4g} is behind other trials"


class TrialCLI(TrackNetCLI):
    """A ``fit`` in a folder of its own that reports to a trial.

    Args:
        folder: The run's folder.
        tags: Words to find its record by.
        report: The callback.
    """

    def __init__(self, folder: Path, tags: list[str], report: TrialReport) -> None:
        self._folder, self._tags, self._report = folder, tags, report
        super().__init__()

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, then give the run its folder and its record the tags."""
        super().parse_arguments(parser, args)
        trainer: Namespace = self.config["fit"].trainer
        trainer.logger = _in_folder(trainer.logger, self._folder)
        for one in trainer.callbacks or ():
            if one.class_path.endswith(".RunRecord"):
                one.init_args.tags = [*(one.init_args.tags or ()), *self._tags]

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with the callback, which the saved configuration does not name.

        Args:
            kwargs: See `TrackNetCLI`.

        Raises:
            UsageError: The trainer does not accept its options, or has several processes.
        """
        trainer = super().instantiate_trainer(**kwargs)
        if trainer.world_size > 1:
            raise UsageError(
                f"a trial is trained by one process, found {trainer.world_size}: set --trainer.devices=1 and "
                "use --workers for several trials at once"
            )
        trainer.callbacks.append(self._report)  # type: ignore[attr-defined]
        return trainer


def objective(trial: Trial, sweep: Sweep, training: AbstractContextManager[None] | None = None) -> float:
    """Train once.

    What it prints goes to ``trial_N.log`` beside the run's folder. Where it failed, the reason is kept in the
    trial's attribute ``failure``; where it was stopped from outside, ``interrupted`` is true.

    Args:
        trial: The trial, which chooses the settings.
        sweep: What all trials share.
        training: What is entered for the training itself, see `HeldInterrupt`.

    Returns:
        The best figure of all validations.

    Raises:
        TrialPruned: The pruner gave it up.
        StoppedError: Ctrl-C or SIGTERM.
        KeyboardInterrupt: Ctrl-C while nothing was trained yet.
        TrialFailedError: The training failed.
    """
    run = sweep.folder / f"trial_{trial.number}"
    known = {"run": str(run), "failure": ""}
    for key, value in known.items():
        trial.set_user_attr(key, value)
    words = fit_words(sweep.config, draw(trial, sweep.space))
    report = TrialReport(trial, sweep.monitor)
    cli = partial(TrialCLI, run, ["sweep", sweep.name, f"trial-{trial.number}"], report)
    try:
        with _output_to(run.with_suffix(".log")), training or nullcontext():
            _fit(words, cli)
    except StoppedError:
        raise
    except Exception as error:  # also a mistake of ours ends one trial, and not the sweep
        told = str(error) if isinstance(error, TrackNetError) else f"{type(error).__name__}: {error}"
        told = Redactor().text(told)
        trial.set_user_attr("failure", told)
        raise TrialFailedError(told) from error
    finally:
        gc.collect()
        torch.cuda.empty_cache()
    if report.pruned:
        raise TrialPruned
    known_values = [value for value in report.values if math.isfinite(value)]
    if not known_values:
        told = f"no validation gave a {sweep.monitor} that is a number"
        trial.set_user_attr("failure", told)
        raise TrialFailedError(told)
    return max(known_values) if sweep.direction == "maximize" else min(known_values)


def _fit(words: Sequence[str], cli: Any) -> None:
    told = list(sys.argv)
    try:
        code = train(["fit", *words], cli)
    except StoppedError:
        raise
    except Exception:
        print(Redactor().text(traceback.format_exc()), file=sys.stderr)
        raise
    finally:
        sys.argv[:] = told
    if code:
        raise TrackNetError(f"the training ended with exit code {code}")


def _in_folder(logger: Any, folder: Path) -> Any:
    """Give loggers that write to the run's folder: a `RunLogger`, and those that write elsewhere."""
    named = logger if isinstance(logger, list) else [logger] if isinstance(logger, Namespace) else []
    others = [one for one in named if not one.class_path.endswith(_FILE_LOGGERS)]
    own = {"save_dir": str(folder.parent), "name": "", "version": folder.name}
    run = dict_to_namespace({"class_path": "tracknet.training.loggers.RunLogger", "init_args": own})
    return [run, *others] if others else run


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Let all that this process prints, libraries included, go to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(1), os.dup(2)]
    try:
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
