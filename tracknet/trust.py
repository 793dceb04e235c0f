"""Which classes a file of somebody else may name, and how much may come out of it.

Classes are limited to those of packages that were installed for that.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tracknet.errors import TrackNetError

PACKAGES = ("torch", "lightning", "torchmetrics", "tracknet")
"""Packages whose classes any file may name."""

PLUGINS = "tracknet.plugins"
"""Entry-point group of the packages that were installed to be used with ours."""

TRUST_VARIABLE = "TRACKNET_TRUST"
"""Variable that lets checkpoints name any class; the flag ``--trust`` sets it for one command."""

_OWN = "own_modules"
_allowed: ContextVar[frozenset[str] | None] = ContextVar("allowed", default=None)


def trusts_all() -> bool:
    """Say whether `TRUST_VARIABLE` lets checkpoints name any class."""
    return os.environ.get(TRUST_VARIABLE, "0").lower() not in ("", "0", "false")


@cache
def trusted_packages() -> tuple[str, ...]:
    """Give `PACKAGES` and the packages of installed plugins."""
    from importlib.metadata import entry_points  # takes a while, and light commands do without

    named = (plugin.module.partition(".")[0] for plugin in entry_points(group=PLUGINS))
    return tuple(dict.fromkeys((*PACKAGES, *sorted(named))))


def refusal_of(class_path: str) -> str:
    """Say why a class may not be imported now.

    Args:
        class_path: Import path of the class.

    Returns:
        The reason, in words; empty where it may be imported, as everything may outside of `limited`.
    """
    allowed = _allowed.get()
    if allowed is None or "." not in class_path or _package(class_path) in allowed:
        return ""
    return (
        f"{_package(class_path)} is not a trusted package (those are {', '.join(sorted(allowed))}); install "
        "it as a plugin, or, if you have read the file and its code, give --trusted-only=false"
    )


@contextmanager
def limited(on: bool = True, more: Iterable[str] = ()) -> Iterator[None]:
    """Import no classes but those of trusted packages for a while, whatever a file names.

    jsonargparse refuses them by its own list, which has to be put back afterwards; what of ours imports
    classes by name asks `refusal_of`. Classes in the place of any value are not built at all.

    Args:
        on: Whether to do that; otherwise nothing changes.
        more: Packages that are trusted besides.
    """
    if not on:
        yield
        return
    from jsonargparse import set_parsing_settings
    from jsonargparse._common import parsing_settings

    packages = (*trusted_packages(), *more)
    # Nothing public tells the settings or takes one of them back.
    before = dict(parsing_settings)
    token = _allowed.set(frozenset(packages))
    try:
        set_parsing_settings(
            import_path_denylist=["*"],
            import_path_allowlist=list(packages),
            instantiate_subclass_spec_in_any=False,
        )
        yield
    finally:
        _allowed.reset(token)
        parsing_settings.update(before)


def check_recipe(source: Path, recipe: Any, trust: bool = False) -> list[str] | None:
    """Judge the classes that a checkpoint names for what builds it again.

    Besides those of `trusted_packages`, a class may be of a module that this process has imported already,
    that lies among the installed packages, or that a training of this user has used here (`remember`).

    Args:
        source: The checkpoint, for the message.
        recipe: Class paths and their arguments, as plain values.
        trust: Let it name any class; also where ``TRACKNET_TRUST`` is set.

    Returns:
        Packages that are trusted besides, for `limited`; None where there are to be no limits.

    Raises:
        TrackNetError: It names a class of another module.
    """
    if trust or trusts_all():
        return None
    more = []
    for class_path in class_paths(recipe):
        package = _package(class_path)
        if "." not in class_path or package in (*trusted_packages(), *sys.stdlib_module_names):
            continue  # of the standard library nothing is ever imported
        place = _place(package)
        if package not in sys.modules:
            if place is None:
                continue  # there is nothing to import
            if not _is_installed(place) and str(place) not in _own():
                raise TrackNetError(
                    f"{source}: not built: it names the class {class_path}, and {place} is neither an "
                    "installed package nor code that a training of yours has used on this machine; if you "
                    "know that code and where the checkpoint comes from: --trust"
                )
        more.append(package)
    return more


def class_paths(recipe: Any) -> Iterator[str]:
    """Give the class paths in plain values, at any depth.

    Args:
        recipe: Mappings, lists and plain values.
    """
    if isinstance(recipe, Mapping):
        for name, value in recipe.items():
            if name in ("class_path", "_class_path") and isinstance(value, str):
                yield value
            else:
                yield from class_paths(value)
    elif isinstance(recipe, (list, tuple)):
        for value in recipe:
            yield from class_paths(value)


def is_boundless(values: Any, most: int, deepest: int = 200) -> bool:
    """Tell whether plain values unfold to more than any file is meant to hold.

    A file of some bytes can hold lists of one list of one list, which takes for ever to look through, or a
    list that holds itself.

    Args:
        values: Mappings, lists and plain values.
        most: Values that it may be, each as often as it is found.
        deepest: How deep they may be nested.

    Example:
        >>> is_boundless({"size": [288, 512]}, most=10)
        False
        >>> endless = []
        >>> endless.append(endless)
        >>> is_boundless(endless, most=10)
        True
    """
    known: dict[int, int] = {}

    def count(value: Any, depth: int) -> int:
        below = value
        if isinstance(value, dict):
            below = dict.values(value)  # a file can give an OrderedDict another `values`
        elif isinstance(value, Mapping):
            below = value.values()
        elif not isinstance(value, (list, tuple)):
            return 1
        if id(value) not in known:
            known[id(value)] = most + 1  # until it is known: what holds itself has no end
            if depth <= deepest:
                known[id(value)] = 1 + sum(count(one, depth + 1) for one in below)
        return known[id(value)]

    return count(values, 0) > most


def remember(recipe: Any) -> None:
    """Note the modules of one's own that a training uses, so that its checkpoints may name them here.

    They are kept in ``$XDG_STATE_HOME/tracknet``, by default below ``~/.local/state``; where nothing can be
    written, they are not, and ``--trust`` is needed.

    Args:
        recipe: See `class_paths`.
    """
    packages = {_package(one) for one in class_paths(recipe)} - {*trusted_packages(), "__main__"}
    places = {str(place) for one in packages if (place := _place(one)) and not _is_installed(place)}
    with suppress(OSError):
        if new := sorted(places - _own()):
            _register().parent.mkdir(parents=True, exist_ok=True)
            with _register().open("a", encoding="utf-8") as file:
                file.writelines(f"{place}\n" for place in new)


def _package(class_path: str) -> str:
    return class_path.partition(".")[0]


def _register() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "tracknet" / _OWN


def _own() -> set[str]:
    try:
        return set(_register().read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()


def _place(package: str) -> Path | None:
    """Find the file or folder of a package without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [])
    if spec.origin is not None and not places:
        places = [spec.origin]
    return Path(places[0]).resolve() if places else None


def _is_installed(place: Path) -> bool:
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    return any(place.is_relative_to(root) for root in roots)
