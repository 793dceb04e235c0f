"""``tracknet fit``, ``validate``, ``test`` and ``predict``: a LightningCLI over the classes' signatures."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace, set_parsing_settings
from jsonargparse.typing import register_type
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning_utilities.core.rank_zero import rank_zero_info
from typing_extensions import override

from tracknet.cli.after_fit import newest_checkpoint, tell_end
from tracknet.cli.held_interrupt import INTERRUPTED, TERMINATED
from tracknet.cli.own_classes import refused_by_own_class
from tracknet.cli.plugins import import_plugins
from tracknet.cli.resuming import changes_since, resolve
from tracknet.cli.saved_config import SavedConfig, without_secrets
from tracknet.cli.training_failures import StoppedError, failures_in_words
from tracknet.cli.training_help import explain_options
from tracknet.cli.trajectory_options import (
    add_trajectory_options,
    judge_trajectories,
    write_trajectories,
)
from tracknet.cli.usage import (
    SettingError,
    TrackNetParser,
    command_options,
    located,
    refusal,
    refuse_nulls,
)
from tracknet.cli.words import FOUND_BY_LIGHTNING, LINKS, NO_CKPT, config_of_run, refuse_linked
from tracknet.configs import Composed, compose
from tracknet.configs.crossing import Check, crossing_faults
from tracknet.errors import TrackNetError, UsageError, reasons
from tracknet.training.callbacks.best_so_far import BestSoFar
from tracknet.training.callbacks.interruption import InterruptBetweenSteps
from tracknet.training.callbacks.resumed_schedules import ResumedSchedules
from tracknet.training.callbacks.validation_checkpoints import CheckpointsInValidation, place_for
from tracknet.training.checkpoint_reading import importing, keys_of, read_checkpoint
from tracknet.training.checkpoints import with_checkpoints_of_ours
from tracknet.training.logger_guard import guard, start
from tracknet.training.loggers import go_on
from tracknet.training.records.redaction import Redactor
from tracknet.training.run_trainer import RunTrainer
from tracknet.training.schedules import configure_optimizers
from tracknet.training.settings import CHECKS, unbuilt_loggers
from tracknet.trust import limited

# Short class names are looked up among imported classes: these rooms hold what YAML may choose.
import tracknet.data.packed_datamodule  # isort: skip
import tracknet.data.public_datamodules  # isort: skip
import tracknet.models  # isort: skip
import tracknet.tracking.error_analysis  # isort: skip
import tracknet.training.callbacks  # isort: skip
import tracknet.training.optimizers  # isort: skip  # noqa: F401

# Written and read as text; StochasticWeightAveraging has one by default.
register_type(torch.device, deserializer_exceptions=(ValueError, TypeError, RuntimeError))


# A number that one class checks, such as a PositiveInt, stays the same where another one is chosen whose
# parameter is a plain number, and is then written by jsonargparse.
yaml.SafeDumper.add_multi_representer(int, lambda dumper, number: dumper.represent_int(int(number)))
yaml.SafeDumper.add_multi_representer(float, lambda dumper, number: dumper.represent_float(float(number)))


_LOGGED_BESIDE = ("seed_everything", "data", "optimizer", "lr_scheduler")
"""What loggers are told of beside the module, so that runs can be compared there."""

_OF_LIGHTNING = {"state_dict", "pytorch-lightning_version"}
_NEEDS_CHECKPOINT = "needs --ckpt_path FILE, such as RUN/checkpoints/best.ckpt"


class TrackNetCLI(LightningCLI):
    """LightningCLI whose module tells the data what its network needs.

    Args:
        args: Words of the command line; default those of the process.
        run: Whether to run the sub-command, or only to build its objects.
    """

    _checks: tuple[Check, ...] = CHECKS
    configure_optimizers = staticmethod(configure_optimizers)

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        words = sys.argv[1:] if args is None else args
        self._wanted = words[0] if isinstance(words, list) and words else None
        self._first_step: int | None = None  # at which a training that is resumed goes on
        self.composed: Composed | None = None  # of words; none of arguments given in Python
        import_plugins()
        # No configuration may name what executes or deletes, such as subprocess: the list is jsonargparse's.
        set_parsing_settings(import_path_denylist=[])
        try:
            super().__init__(
                model_class=LightningModule,
                datamodule_class=LightningDataModule,
                trainer_class=RunTrainer,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=SavedConfig,
                save_config_kwargs={"overwrite": True},
                seed_everything_default=42,
                parser_class=TrackNetParser,
                args=args,
                run=run,
            )
        except SystemExit as stop:
            # Lightning ends with code 1 after Ctrl-C and, when a cluster takes the machine back, with code 0.
            if isinstance(stop, SIGTERMException):
                raise StoppedError("SIGTERM", TERMINATED, self._newest_checkpoint()) from stop
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise StoppedError("Ctrl-C", INTERRUPTED, self._newest_checkpoint()) from stop
            raise

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Give the command that is wanted, where one is known: each needs a parser, which takes its time."""
        every = LightningCLI.subcommands()
        return {name: every[name] for name in every if name == self._wanted or self._wanted not in every}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Hand what the network needs from the module to the data, where both have it."""
        for attribute, parameter in LINKS.items():
            # Data without the parameter are passed over; a model without the attribute must not stop there.
            parser.link_arguments(
                "model", f"data.init_args.{parameter}", _getter(attribute), apply_on="instantiate"
            )

    @override
    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        explain_options(parser, subcommand)
        add_trajectory_options(parser, subcommand)
        return parser

    def before_test(self) -> None:
        """Judge trajectories, too."""
        judge_trajectories(self.config["test"], self.trainer, self.model, self.datamodule)

    def before_predict(self) -> None:
        """Write whole trajectories."""
        write_trajectories(self.config["predict"], self.trainer, self.model, self.datamodule)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse one configuration composed of the files, the environment variables and the flags."""
        if isinstance(args, (list, type(None))):
            words = list(sys.argv[1:] if args is None else args)
            command = [word for word in words[:1] if word in self.subcommands()]
            named = command[0] if command else "fit"
            found = resolve(words[len(command) :], named)
            rest = found.words
            if args is None:
                # Other processes of the run, which Lightning starts, are not to look for themselves.
                sys.argv[1:] = [*command, *rest]
            composed = compose(rest, named, config_of_run(rest))
            refuse_linked(composed)
            for note in (*found.notes, *composed.notes):
                rank_zero_info(f"note: {note}")
            with limited(composed.trusted_only):
                try:
                    self.config = parser.parse_args([*command, *composed.parser_words()])
                except SettingError as error:
                    path = composed.values.get("ckpt_path")
                    if path is not None and not composed.files and Path(path).is_file():
                        read_checkpoint(Path(path))  # says what is damaged, which tells no configuration
                    if named != "fit" and not composed.values:
                        raise UsageError(f"{named} {_NEEDS_CHECKPOINT}") from error
                    options = command_options(parser, command[0] if command else None)
                    raise located(error, options, composed) from error
                refuse_nulls(command_options(parser, command[0] if command else None), composed)
            parsed = self.config[named] if command else self.config
            keep_whole_numbers(parsed.trainer, composed.values.get("trainer"))
            self.composed = composed
        else:
            super().parse_arguments(parser, args)

    @override
    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's settings override those of the command line without a word. Here the
        # run's config.yaml gives them (`config_of_run`), and the command line comes last as everywhere.
        command = self.config.get("subcommand")
        path = self.config[command].get("ckpt_path") if command else None
        if command not in (None, "fit") and path in (None, *FOUND_BY_LIGHTNING):
            raise UsageError(f"{command} {_NEEDS_CHECKPOINT}")
        if path == "":
            raise UsageError(NO_CKPT)
        if path is not None and Path(path).is_file():
            content = read_checkpoint(Path(path))
            if not isinstance(content, dict) or not content.keys() >= _OF_LIGHTNING:
                raise UsageError(
                    f"--ckpt_path: {path} is no checkpoint of `tracknet fit`: found {keys_of(content)} "
                    f"(weights of others: {importing(Path(path))})"
                )
            if command != "fit":
                return
            if "optimizer_states" not in content:
                raise UsageError(
                    f"--ckpt_path: {path} holds no state of training to go on from, as `tracknet checkpoint` "
                    "import, prune and average write it; take one of `tracknet fit`"
                )
            self._first_step = content.get("global_step")

    @override
    def before_instantiate_classes(self) -> None:
        """Refuse what does not go together, and keep the configuration that repeats a run.

        Another command in a run's folder must not overwrite it.

        Raises:
            UsageError: A class says that settings are wrong together.
        """
        if self.composed is not None and (faults := crossing_faults(self._settings, self._checks)):
            raise refusal(faults, self.composed)
        if self.subcommand not in (None, "fit"):
            self.save_config_kwargs["config_filename"] = f"config_{self.subcommand}.yaml"

    @override
    def instantiate_classes(self) -> None:
        """Build the chosen classes; what one of them says to its own arguments is said as it is.

        Raises:
            TrackNetError: A class does not accept its arguments.
        """
        try:
            with limited(self.composed is not None and self.composed.trusted_only):
                super().instantiate_classes()
        except ValueError as error:
            own = next((one for one in reasons(error) if isinstance(one, TrackNetError)), None)
            if own is not None:
                raise own from None
            theirs = refused_by_own_class(error, self._settings)
            if theirs is not None and self.composed is not None:
                raise refusal([theirs], self.composed) from error
            # To ask loggers is to build them, which begins a run at some servers: only if one was expected.
            if self.composed is None or "Logger" not in str(error).partition("Given value")[0]:
                raise
            if faults := crossing_faults(self._settings, [unbuilt_loggers]):
                raise refusal(faults, self.composed) from error
            raise
        # What loggers are told of; a class that needs its own keys has them in `hparams`.
        config = yaml.safe_load(self._saved_text)
        of_data = getattr(self.datamodule, "_hparams_initial", None) or {}  # Lightning takes no key of both
        left = [key for key in _LOGGED_BESIDE if config.get(key) is not None and key not in of_data]
        for built, more in ((self.model, {key: config[key] for key in left}), (self.datamodule, {})):
            if (told := getattr(built, "_hparams_initial", None)) is not None:
                built._hparams_initial = type(told)({**more, **Redactor().tree(told)})

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer; what it does not accept, such as an unknown accelerator, is a usage error.

        Args:
            kwargs: See `LightningCLI`.

        Returns:
            The trainer.

        Raises:
            UsageError: The trainer does not accept its options.
        """
        trainer_config = self._get(self.config_init, "trainer") or {}
        if self.composed is not None:
            keep_whole_numbers(trainer_config, self.composed.values.get("trainer"))
        kwargs["plugins"] = with_checkpoints_of_ours(trainer_config.get("plugins"), self._saved_text)
        if self.subcommand == "fit" and (path := self.config["fit"].get("ckpt_path")):
            for change in changes_since(Path(path), self._saved_text) if Path(path).is_file() else ():
                rank_zero_info(f"note: another setting than in the run of {path}: {change}")
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, MisconfigurationException) as error:
            raise UsageError(f"trainer: {error}") from error
        except RuntimeError as error:
            if not (twice := re.search(r"more than one stateful callback of type `(\w+)`", str(error))):
                raise
            raise UsageError(
                f"trainer.callbacks: two {twice[1]} that checkpoints could not tell apart; they have to "
                "differ in more than their file names, such as in monitor, mode or every_n_epochs"
            ) from error
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if not trainer.loggers and any(isinstance(one, LearningRateMonitor) for one in callbacks):
            raise UsageError(
                "trainer.logger is off, but LearningRateMonitor has nothing to do without one; "
                "+logging=none takes out all that logs"
            )
        guard(trainer.loggers)
        if self.subcommand == "fit":
            # The first tells figures that the second looks at.
            place = place_for(callbacks)
            callbacks[place:place] = [CheckpointsInValidation(), ResumedSchedules()]
            callbacks += [BestSoFar(), InterruptBetweenSteps()]
        return trainer

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        self.trainer.loggers = start(self.trainer.loggers)
        go_on(self.trainer.loggers, self._first_step)
        try:
            super()._run_subcommand(subcommand)
        except OSError as error:
            if error.errno is not None and error.filename is None:  # such as TensorBoard's, on a full disk
                error.filename = (
                    getattr(self.trainer.logger, "log_dir", None) or self.trainer.default_root_dir
                )
            raise

    def after_fit(self) -> None:
        """Say where the run lies and what to do with it."""
        # Asked for in all processes: Lightning tells it from the first to the others, which must listen.
        folder = self.trainer.log_dir
        if folder is not None and self.trainer.is_global_zero:
            tell_end(self.trainer, self.model, Path(folder), self._first_step)

    @property
    def _settings(self) -> Namespace:
        settings: Namespace = self.config[self.subcommand] if self.subcommand else self.config
        return settings

    @cached_property
    def _saved_text(self) -> str:
        text: str = self._parser(self.subcommand).dump(without_secrets(self._settings), skip_none=False)
        return text

    def _newest_checkpoint(self) -> Path | None:
        fitting = hasattr(self, "trainer") and self.subcommand == "fit"
        return newest_checkpoint(self.trainer) if fitting else None


def keep_whole_numbers(parsed: Namespace | dict[str, Any], given: object) -> None:
    """Make 1 of a 1.0 that was given as 1: to the trainer, these are one batch and all of them.

    Python counts ``int | float`` and ``float | int`` as one type, and may hand out the one for the other, as
    other packages have used it before; then a whole number is read as the other kind.

    Args:
        parsed: The trainer's settings as parsed.
        given: The same as given.
    """
    for key, value in given.items() if isinstance(given, dict) else ():
        if type(value) is int and type(parsed.get(key)) is float:
            parsed[key] = value


def main(argv: Sequence[str], cli: Callable[[], object] | None = None) -> int:
    """Run a training command.

    Args:
        argv: Words of the command line, the command first.
        cli: What runs it; default `TrackNetCLI`.

    Returns:
        Exit code.

    Raises:
        UsageError: A wrong option or setting.
        TrackNetError: The data, the memory or the disk does not allow it, or it was stopped.
    """
    # Lightning starts the other processes of a DDP run with this process's own command line.
    sys.argv[1:] = argv
    _silence_known_noise()
    try:
        with failures_in_words():
            (cli or TrackNetCLI)()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _getter(attribute: str) -> Callable[[LightningModule], Any]:
    def get(model: LightningModule) -> Any:
        return getattr(model, attribute, None)

    get.__name__ = attribute  # shown by --help
    return get


def _silence_known_noise() -> None:
    for message in (
        r".*does not have many workers which may be a bottleneck.*",  # num_workers is the user's choice
        r".*The number of training batches.*is smaller than the logging interval.*",
        r".*is an instance of `nn.Module` and is already saved during checkpointing.*",
        r".*isinstance\(treespec, LeafSpec\).*",
        r".*Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
        r".*WeightAveraging callback, but loading a checkpoint outside.*",  # which holds the average
        r".*could not find the monitored key in the returned metrics.*",  # no validation: see `tell_end`
        r".*The dirpath has changed from .*",  # see `BestSoFar`; test results have a folder of their own
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*Experiment logs directory .* exists and is not empty.*",  # no table is there: see `go_on`
    ):
        warnings.filterwarnings("ignore", message=message)
    # An advertisement, printed at the start of every run.
    announcements = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    announcements.addFilter(lambda record: "litlogger" not in record.getMessage())
