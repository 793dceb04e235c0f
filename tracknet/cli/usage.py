"""Usage errors of jsonargparse as one message: key, what was found, what was expected, the nearest name."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from tracknet.errors import UsageError, nearest

_KEY = re.compile(r'(?:Parser key|Key) "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_STRANGER = re.compile(r"(?:does not accept option|[Uu]nrecognized arguments?:|Key) '?\"?-*([\w.]+)")
_NO_CLASS = re.compile(
    r"Expected a dot import path string: (\S+)|Import path (\S+)|No module named '([^']+)'"
)
_EXPECTED = re.compile(r"Expected an? <class '([\w.]+)'>")
_NESTED = re.compile(r"NestedArg\(key='[^']*', val='(.*)'\)")
_FOUND = re.compile(r"Given value(?: type)?: (.*)")


class TrackNetParser(LightningArgumentParser):
    """Reports a wrong key or value in a line or two instead of the usage of a hundred options.

    Args:
        args: See `jsonargparse.ArgumentParser`.
        kwargs: See `jsonargparse.ArgumentParser`; abbreviated options are refused unless asked for, since
            ``--trainer.max_epoch`` would silently be ``--trainer.max_epochs``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as a usage error.

        Args:
            message: jsonargparse's report.
            ex: What it came from.

        Raises:
            UsageError: Always.
        """
        if not self.exit_on_error:
            # A parser for one class inside another: the outermost one reports.
            super().error(message, ex)
        raise UsageError(explain(message, option_names(self), class_names())) from ex


def explain(message: str, options: Iterable[str], classes: Iterable[str]) -> str:
    """Condense a report of jsonargparse.

    Args:
        message: The report, of one or many lines.
        options: Keys that would have been valid.
        classes: Class names that would have been valid.

    Returns:
        Key, what was found, what was expected and the nearest valid name, as far as the report tells; reports
        of another form are passed on.
    """
    where = ".".join(_KEY.findall(message))
    owners = _CLASS.findall(message)
    prefix = f"{where}: " if where else ""
    if option := _OPTION.search(message):
        owner = owners[-1].rpartition(".")[2] if owners else "the class"
        known = _parameters(owners[-1]) if owners else []
        taken = f" (it takes {', '.join(known)})" if known else ""
        return f"{prefix}{owner} has no option {option[1]!r}{nearest(option[1], known)}{taken}"
    if stranger := _STRANGER.search(message):
        return f"no option {stranger[1]!r}{nearest(stranger[1], options)}"
    if missing := _NO_CLASS.search(message):
        name = next(group for group in missing.groups() if group)
        return f"{prefix}no class {name!r}{nearest(name.rpartition('.')[2], classes)}"
    expected = list(dict.fromkeys(_EXPECTED.findall(message)))
    found = _FOUND.findall(message)
    if expected and found:
        kinds = " or ".join("null" if kind == "NoneType" else kind for kind in expected)
        value = nested[1] if (nested := _NESTED.match(found[-1])) else found[-1]
        return f"{prefix}expected {kinds}, found {value!r}"
    return message


def option_names(parser: ArgumentParser) -> list[str]:
    """List the keys that a parser and its sub-commands take."""
    names: list[str] = []
    for action in parser._actions:
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
    return sorted({cls.__name__ for base in bases for cls in _family(base)})


def _family(base: type) -> Iterable[type]:
    yield base
    children: list[type] = base.__subclasses__()
    for child in children:
        yield from _family(child)


def _parameters(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        cls = getattr(__import__(module, fromlist=[name]), name)
        return [parameter for parameter in inspect.signature(cls).parameters if parameter != "self"]
    except (ImportError, AttributeError, ValueError, TypeError):
        return []
