"""Usage errors of jsonargparse as one message: key, what was found, what was expected, the nearest name."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from tracknet.cli.explaining import HIDDEN, explain
from tracknet.cli.stubs import look_in_this_process
from tracknet.configs import COMMAND_LINE, Composed
from tracknet.configs.check import START, Fault, find_faults, told
from tracknet.configs.options import Options, family, options_of
from tracknet.errors import UsageError

look_in_this_process()


class SettingError(UsageError):
    """A key that does not exist, or that has a wrong value.

    Args:
        key: The key, such as ``trainer.max_epochs``; empty where the report names none.
        message: What is wrong with it.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class TrackNetParser(LightningArgumentParser):
    """Reports a wrong key or value in a line or two instead of the usage of a hundred options.

    Args:
        args: See `jsonargparse.ArgumentParser`.
        kwargs: See `jsonargparse.ArgumentParser`; abbreviated options are refused unless asked for, since
            ``--trainer.max_epoch`` would silently be ``--trainer.max_epochs``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("prog", "tracknet")
        super().__init__(*args, **kwargs)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as a usage error.

        Args:
            message: jsonargparse's report.
            ex: What it came from.

        Raises:
            SettingError: Always.
        """
        if not self.exit_on_error:
            # A parser for one class inside another: the outermost one reports.
            super().error(message, ex)
        raise SettingError(*explain(message, option_names(self), class_names())) from ex


def command_options(parser: ArgumentParser, command: str | None) -> Options:
    """Read what a training command takes.

    Args:
        parser: The parser of all training commands.
        command: One of them; None for a parser without sub-commands.

    Returns:
        Its keys.
    """
    if command is not None:
        subcommands = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
        parser = subcommands.choices[command]
    return options_of(parser, HIDDEN)


def located(error: SettingError, options: Options, composed: Composed) -> UsageError:
    """Say all that is wrong with a configuration, each with file, line and column.

    Args:
        error: What jsonargparse ran into first.
        options: What the command takes.
        composed: The configuration.

    Returns:
        The error to raise: what a walk over all keys finds, or else the one given.
    """
    faults = find_faults(options, composed.values, _start(composed.words))
    return refusal(faults, composed) if faults else _placed(error, composed)


def refuse_nulls(options: Options, composed: Composed) -> None:
    """Refuse null where a class does not take it: jsonargparse takes it for "not given" and hands it on.

    Settings of the trainer itself are Lightning's to judge, which takes null for some of them.

    Args:
        options: What the command takes.
        composed: The configuration.

    Raises:
        UsageError: There is one; all are told.
    """
    if not _has_null(composed.values):
        return
    wrong = [
        one
        for one in find_faults(options, composed.values)
        if len(one.path) > (2 if one.path[:1] == ("trainer",) else 1)
        and not one.of_key
        and _is_null(composed.values, one)
    ]
    if wrong:
        raise refusal(wrong, composed)


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return value is None
    return any(_has_null(one) for one in value)


def _is_null(values: Any, fault: Fault) -> bool:
    for name in fault.path:
        try:
            values = values[name]
        except (KeyError, IndexError, TypeError):
            return False
    return values is None


def _start(words: list[str]) -> str:
    """Say what to start from where model and data are not chosen."""
    if any(word.partition("=")[0] == "--ckpt_path" for word in words):
        return "the checkpoint tells no configuration: name it with --config"
    return f"{START}, or from +experiment=compact_cpu --data.root FOLDER"


def refusal(faults: list[Fault], composed: Composed) -> UsageError:
    """Make one error of faults, one a line."""
    lines = [told(fault, composed.origins) for fault in faults]
    return UsageError(lines[0] if len(lines) == 1 else f"{len(lines)} faults\n  " + "\n  ".join(lines))


def _placed(error: SettingError, composed: Composed) -> UsageError:
    place = composed.place(error.key)
    if place is None or place.source == COMMAND_LINE:
        return UsageError(str(error))
    column = "" if place.column is None else f":{place.column}"
    return UsageError(f"{place}{column}: {error}")


def option_names(parser: ArgumentParser) -> list[str]:
    """List the keys that a parser and its sub-commands take.

    Args:
        parser: The parser.

    Returns:
        Keys such as ``trainer.max_epochs``.
    """
    names: list[str] = []
    for action in parser._actions:
        if action.option_strings:
            names.append(action.dest)
        if isinstance(action, argparse._SubParsersAction):
            for chosen in action.choices.values():
                names += option_names(chosen)
    return names


def class_names() -> list[str]:
    """List the names of the classes that a configuration may choose."""
    from lightning.pytorch import Callback, LightningDataModule, LightningModule
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tracknet.evaluation.decoding import HeatmapDecoder
    from tracknet.models.network import HeatmapNetwork
    from tracknet.training.losses import HeatmapLoss
    from tracknet.training.targets import HeatmapTarget

    bases: list[type] = [HeatmapNetwork, HeatmapLoss, HeatmapTarget, HeatmapDecoder, LightningModule]
    bases += [LightningDataModule, Callback, Logger, Optimizer, LRScheduler]
    return sorted({cls.__name__ for base in bases for cls in family(base)})
