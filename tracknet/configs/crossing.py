"""Settings that are right alone and wrong together, asked of the classes that a configuration chooses.

A class takes part with a class method::

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        if config.get("trainer.devices") == 1:
            yield f"{key}.init_args.gather", "there is nothing to gather with one device"

It gets the key at which it is chosen and the whole parsed configuration, defaults included, before anything
is built, and gives keys and what is wrong with them. Functions of the same form speak for classes of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jsonargparse import Namespace

from tracknet.configs.check import Fault
from tracknet.configs.options import load

Check = Callable[[str, Namespace], Iterator[tuple[str, str]]]


def crossing_faults(config: Namespace, checks: Iterable[Check] = ()) -> list[Fault]:
    """Ask all classes that a configuration chooses.

    Args:
        config: The parsed configuration of one command.
        checks: Functions that speak for classes of others; they are given an empty key.

    Returns:
        What is wrong.
    """
    found = [pair for check in checks for pair in check("", config)]
    for key, path in chosen_classes(config):
        check = getattr(load(path), "check_config", None)
        if check is not None:
            found += check(key, config)
    return [Fault(path_of(key), message) for key, message in dict.fromkeys(found)]


def chosen_classes(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Give the keys at which classes are chosen, and their import paths.

    Args:
        value: The parsed configuration, or a part of it.
        key: The key of the part.
    """
    if isinstance(value, list):
        for place, one in enumerate(value):
            yield from chosen_classes(one, f"{key}.{place}")
    elif isinstance(value, Namespace):
        inner = vars(value)
        if isinstance(inner.get("class_path"), str):
            yield key, inner["class_path"]
        for name, one in inner.items():
            yield from chosen_classes(one, f"{key}.{name}" if key else name)


def path_of(key: str) -> tuple[str | int, ...]:
    """Give the parts of a dotted key, places in lists as numbers."""
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))
