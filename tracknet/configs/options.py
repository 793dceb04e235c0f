"""What a command takes, read from signatures and docstrings through jsonargparse."""

from __future__ import annotations

import argparse
import inspect
import re
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from tracknet.trust import refusal_of


@dataclass(frozen=True)
class Option:
    """One key and what may stand there.

    Attributes:
        name: Name of the parameter, or dotted key such as ``trainer.max_epochs``.
        type: Its type hint.
        default: Its default; None also where there is none.
        required: Whether it has no default.
        doc: What its docstring says.
    """

    name: str
    type: Any
    default: Any
    required: bool
    doc: str


@dataclass(frozen=True)
class Options:
    """All keys of a command.

    Attributes:
        keys: Dotted key -> option, in the order of the command's help.
        hidden: Dotted key -> parameters of the class chosen there that cannot be set, and why.
        required: Keys that cannot be left out.
    """

    keys: Mapping[str, Option]
    hidden: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    required: Collection[str] = ()

    @property
    def groups(self) -> dict[str, list[str]]:
        """Keys that hold keys, such as ``trainer``, and the names in them."""
        found: dict[str, list[str]] = {}
        for key in self.keys:
            group, dot, name = key.partition(".")
            if dot:
                found.setdefault(group, []).append(name)
        return found

    def of_class(self, cls: type, key: str) -> dict[str, Option]:
        """Give the parameters of a class chosen at a key, without those that cannot be set there."""
        hidden = self.hidden.get(key, {})
        return {name: option for name, option in parameters(cls).items() if name not in hidden}


def options_of(parser: ArgumentParser, hidden: Mapping[str, Mapping[str, str]]) -> Options:
    """Read the keys of a parser.

    Args:
        parser: Parser of one command, for example ``fit``.
        hidden: See `Options`.

    Returns:
        The keys, without those that only the command line has, such as ``--help``.
    """
    keys = {one.name: one for one in _options(parser)}
    # Of a class to choose, jsonargparse requires the name without an action that says so.
    wanted = {*parser._extra_required_keys, *(key for key, option in keys.items() if option.required)}
    return Options(keys, hidden, sorted(wanted & keys.keys()))


@cache
def parameters(cls: type) -> dict[str, Option]:
    """Give the parameters of a class, also those that it hands on to its bases.

    Args:
        cls: The class.

    Returns:
        Name -> option, in the order of the signature; empty where a signature cannot be read.
    """
    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_class_arguments(cls, as_group=False, fail_untyped=False)
    except (ValueError, TypeError):
        return {}
    return {one.name: one for one in _options(parser)}


def choosable(hint: Any) -> list[type]:
    """Give the classes in a type hint whose subclasses are chosen by ``class_path``.

    Numbers, text, paths, enumerations and tensors are values, not choices; ``list[Callback]`` gives
    ``Callback``.
    """
    if isinstance(hint, type) and get_origin(hint) is None:
        return [hint] if _is_choice(hint) else []
    if get_origin(hint) is None:
        return []
    found = [cls for one in get_args(hint) for cls in choosable(one)]
    return list(dict.fromkeys(found))


def members(hint: Any) -> list[Any]:
    """Give the alternatives of a union, nested unions opened; a single hint is its only one."""
    if get_origin(hint) in (Union, types.UnionType):
        return [one for part in get_args(hint) for one in members(part)]
    return [hint]


@cache
def concrete(base: type) -> tuple[type, ...]:
    """Give a class and its imported subclasses that can be built, ours first, each group by name."""
    found = {cls for cls in family(base) if not inspect.isabstract(cls) and not cls.__name__.startswith("_")}
    found = {cls for cls in found if not _unfinished(cls)}
    if len(found) > 1 and base.__module__.startswith(("lightning.", "torch.")):
        # Not abstract by the letter, but building one is never what is wanted.
        found -= {base}
    public = {cls for cls in found if "._" not in f".{cls.__module__}" or _importable(cls)}
    return tuple(sorted(public, key=lambda cls: (not cls.__module__.startswith("tracknet."), cls.__name__)))


def find_class(name: str, bases: Collection[type]) -> type | None:
    """Find the class that a name means at a place where subclasses of some bases may stand.

    Args:
        name: Short name such as ``AdamW``, or import path.
        bases: What `choosable` gives.

    Returns:
        The class; None when there is none, or one of another kind.
    """
    short = name.rpartition(".")[2]
    named = [
        cls for cls in (*bases, *(one for base in bases for one in family(base))) if cls.__name__ == short
    ]
    if "." not in name:
        return named[0] if named else None
    exact = [cls for cls in named if f"{cls.__module__}.{cls.__qualname__}" == name]
    found = exact[0] if exact else load(name)
    return found if isinstance(found, type) and issubclass(found, tuple(bases)) else None


def load(path: str) -> Any:
    """Import what an import path names; None where that fails for whatever reason, or is not allowed."""
    module, _, name = path.rpartition(".")
    if refusal_of(path):
        return None
    try:
        return getattr(__import__(module, fromlist=[name]), name, None) if module else None
    except Exception:
        # A module of the user's own may fail in any way while it is imported.
        return None


def class_path(cls: type) -> str:
    """Give the shortest import path under which a class is found again."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts)):
        short = ".".join(parts[:length])
        if load(f"{short}.{cls.__name__}") is cls:
            return f"{short}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def summary(thing: Any) -> str:
    """Give the first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _options(parser: ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        hint = getattr(action, "_typehint", None)
        if hint is None or action.dest.endswith(".help"):
            continue
        default = None if action.default == argparse.SUPPRESS else action.default
        doc = " ".join(re.sub(r"``?", "", action.help or "").split())
        yield Option(action.dest, hint, default, bool(action.required), "" if doc == "==SUPPRESS==" else doc)


def family(base: type) -> Iterator[type]:
    """Give a class and all that inherit from it."""
    yield base
    children: list[type] = type.__subclasses__(base)
    for child in children:
        yield from family(child)


def _unfinished(cls: type) -> bool:
    """Say whether a class declares class attributes that only its subclasses have."""
    declared = vars(cls).get("__annotations__", {})
    return any("ClassVar" in str(hint) and not hasattr(cls, name) for name, hint in declared.items())


def _is_choice(hint: type) -> bool:
    if hint.__module__ in ("builtins", "pathlib", "datetime", "enum", "os", "typing"):
        return False
    plain = (str, int, float, bytes, dict, list, tuple)
    return not issubclass(hint, plain) and hint.__name__ not in ("Tensor", "Namespace", "Path")


def _importable(cls: type) -> bool:
    return class_path(cls) != f"{cls.__module__}.{cls.__qualname__}"
