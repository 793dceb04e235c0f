"""Which parameters of one class another class takes too, as its signature tells."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from tracknet.configs.tree import Node
from tracknet.trust import refusal_of


def same_class(one: Any, other: Any) -> bool:
    """Whether two names are of the same class: ``Report`` and ``tracknet.training.callbacks.Report`` are."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    if one == other:
        return True
    if one.rpartition(".")[2] != other.rpartition(".")[2]:
        return False
    if "." not in one or "." not in other:
        return True
    first = _load(one)
    return first is not None and first is _load(other)


def misfits(root: Node | None, key: str, name: str, arguments: dict[str, Any]) -> list[str]:
    """List the arguments that a class does not take.

    Args:
        root: The whole configuration, whose classes tell what kind of class belongs at the key.
        key: Dotted key of the class, such as ``model.init_args.network``.
        name: The class, by its path or by its name alone.
        arguments: Values by name.

    Returns:
        Names that the class does not have, or whose values it does not accept; none where the class cannot
        be found, which the parser reports.
    """
    if not arguments:
        return []
    cls = _load(name) if "." in name else _named(name, list(_bases(root, key.split("."))))
    if cls is None:
        return []
    taken = _taken(cls)
    return [
        arg for arg, value in arguments.items() if arg not in taken or not _accepts(cls, arg, value, taken)
    ]


def _load(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    if refusal_of(path):
        return None
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _taken(cls: type) -> set[str]:
    parser = ArgumentParser(exit_on_error=False)
    added = parser.add_class_arguments(cls, "it", fail_untyped=False)
    return {one.split(".")[1] for one in added}


def _accepts(cls: type, name: str, value: Any, taken: set[str]) -> bool:
    if "${" in str(value):
        return True
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "it", fail_untyped=False, skip=taken - {name})
    try:
        parser.parse_object({"it": {name: value}})
    except (ArgumentError, ValueError, TypeError):
        return False
    return True


def _named(name: str, bases: list[type]) -> type | None:
    return next((cls for base in bases for cls in _family(base) if cls.__name__ == name), None)


def _family(base: type) -> Iterator[type]:
    yield base
    children: list[type] = type.__subclasses__(base)
    for child in children:
        yield from _family(child)


def _bases(root: Node | None, keys: list[str]) -> Iterator[type]:
    """Give the classes that the signatures name at a key."""
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.cli import ReduceLROnPlateau
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    tops: dict[str, tuple[type, ...]] = {
        "model": (LightningModule,),
        "data": (LightningDataModule,),
        "optimizer": (Optimizer,),
        "lr_scheduler": (ReduceLROnPlateau, LRScheduler),
    }
    keys = [key for key in keys if key != "init_args" and not key.isdigit()]
    if keys[:1] == ["trainer"]:
        kinds, rest, walked = _hinted(Trainer, keys[1]) if len(keys) > 1 else (), keys[2:], ["trainer"]
    else:
        kinds, rest, walked = tops.get(keys[0], ()), keys[1:], []
    walked += keys[len(walked) : len(keys) - len(rest)]
    for key in rest:
        node = _seek(root, walked)
        named = node.child("class_path") if node is not None and node.is_mapping else node
        cls = None
        if named is not None and isinstance(named.value, str):
            cls = _load(named.value) if "." in named.value else _named(named.value, list(kinds))
        kinds = _hinted(cls, key) if cls is not None else ()
        walked.append(key)
    yield from kinds


def _seek(root: Node | None, keys: list[str]) -> Node | None:
    node = root
    for key in keys:
        if node is not None and node.child("init_args") is not None:
            node = node.child("init_args")
        node = node.child(key) if node is not None else None
    return node


def _hinted(cls: type, parameter: str) -> tuple[type, ...]:
    for owner in cls.__mro__:
        init = owner.__dict__.get("__init__")
        try:
            hints = get_type_hints(init) if init is not None else {}
        except (NameError, TypeError):
            hints = {}
        if parameter in hints:
            return tuple(_classes(hints[parameter]))
    return ()


def _classes(hint: Any) -> Iterator[type]:
    arguments = get_args(hint)
    if isinstance(hint, type) and not arguments and hint.__module__ != "builtins" and hint is not type(None):
        yield hint
    for one in arguments:
        yield from _classes(one)
