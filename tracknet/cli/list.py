"""``tracknet list``: the classes that a configuration may choose, with what they take."""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from tracknet.cli.subcommands import usage_message
from tracknet.errors import UsageError, nearest

_EPILOG = (
    "Packages add classes through the entry-point group tracknet.plugins. "
    "`tracknet config show CLASS` explains a class and all it takes."
)


_WIDTH = 110


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet list``.

    Args:
        argv: The words after ``list``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There is no such kind of class.
    """
    parser = make_parser()
    try:
        kind = parser.parse_args(list(argv)).kind
    except argparse.ArgumentError as error:
        raise UsageError(f"{usage_message(str(error), parser)} (see tracknet list --help)") from error
    bases = bases_of_kinds()
    if kind is None:
        print(overview(bases))
        return 0
    if kind not in bases:
        raise UsageError(f"no kind {kind!r}{nearest(kind, bases)} (those are {', '.join(bases)})")
    print(listing(bases[kind]))
    return 0


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet list``."""
    parser = ArgumentParser(
        prog="tracknet list",
        description="List the classes that a configuration may choose, those of plugins included.",
        epilog=_EPILOG,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("kind", nargs="?", help="such as networks; left out: all kinds, counted")
    return parser


def bases_of_kinds() -> dict[str, type]:
    """Give the base class of each kind; its subclasses are what may be chosen.

    All that ships classes is imported here, plugins included, which are told of where they fail.
    """
    from lightning.pytorch import Callback, LightningDataModule
    from lightning.pytorch.loggers import Logger

    import tracknet.cli.train  # noqa: F401
    from tracknet.cli.plugins import import_plugins
    from tracknet.evaluation.decoding import HeatmapDecoder
    from tracknet.evaluation.metrics import BallMetrics
    from tracknet.models.network import HeatmapNetwork
    from tracknet.training.losses import HeatmapLoss
    from tracknet.training.targets import HeatmapTarget

    import_plugins()
    return {
        "networks": HeatmapNetwork,
        "losses": HeatmapLoss,
        "targets": HeatmapTarget,
        "decoders": HeatmapDecoder,
        "metrics": BallMetrics,
        "datasets": LightningDataModule,
        "callbacks": Callback,
        "loggers": Logger,
    }


def overview(bases: Mapping[str, type]) -> str:
    """Name the kinds, with how many classes there are of each.

    Args:
        bases: As `bases_of_kinds` gives them.

    Returns:
        A line for each kind, with the number from each source.
    """
    lines = []
    for kind, base in bases.items():
        counts: dict[str, int] = {}
        for cls in classes_of(base):
            counts[source(cls)] = counts.get(source(cls), 0) + 1
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        lines.append(f"{kind:<{max(map(len, bases))}} {sum(counts.values()):>3}  ({told})")
    return "\n".join([*lines, "", "`tracknet list KIND` lists them"])


def listing(base: type) -> str:
    """Describe the classes of a kind.

    Args:
        base: Base class of the kind.

    Returns:
        For each class its signature with defaults, where it comes from, and the first line of its docstring.
    """
    return "\n".join(line for cls in classes_of(base) for line in _described(cls))


def classes_of(base: type) -> list[type]:
    """Give the classes that may be chosen where `base` is wanted: ours, those of plugins, all others."""
    from tracknet.configs.options import concrete

    ranks = {"tracknet": 0, "plugin": 1}
    found = [cls for cls in concrete(base) if not getattr(cls, "__deprecated__", None)]
    return sorted(found, key=lambda cls: (ranks.get(source(cls).partition(" ")[0], 2), cls.__name__))


def source(cls: type) -> str:
    """Say where a class comes from: ``tracknet``, ``plugin NAME``, or the package that has it."""
    from tracknet.configs.plugins import plugin_of

    package = cls.__module__.partition(".")[0]
    plugin = None if package == "tracknet" else plugin_of(cls)
    return package if plugin is None else f"plugin {plugin}"


def _described(cls: type) -> Iterator[str]:
    from tracknet.configs.options import summary

    yield from textwrap.wrap(
        f"{cls.__name__}({', '.join(_parameters(cls))})  [{source(cls)}]",
        _WIDTH,
        subsequent_indent="        ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    # A docstring of its own only: what a base says would be wrong of the class.
    if sentence := summary(cls).partition(". ")[0].rstrip(".") if cls.__doc__ else "":
        yield "    " + textwrap.shorten(sentence, _WIDTH - 4, placeholder=" ...")


def _parameters(cls: type) -> Iterator[str]:
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield str(parameter.replace(annotation=parameter.empty))
        elif parameter.default is parameter.empty:
            yield parameter.name
        else:
            yield f"{parameter.name}={_shown(parameter.default)}"


def _shown(default: object) -> str:
    if inspect.isroutine(default):
        return default.__name__
    return repr(str(default) if isinstance(default, Path) else default)
