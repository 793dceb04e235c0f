"""A page for each kind of class that a configuration may choose, from signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import docstring_parser

from site_pages import rst
from site_pages.values import shown
from tracknet.cli.explaining import HIDDEN
from tracknet.cli.list import bases_of_kinds, classes_of, source
from tracknet.configs.options import Option, class_path, parameters, summary
from tracknet.configs.wording import in_words


@dataclass(frozen=True)
class Kind:
    """Classes that may stand at one key.

    Attributes:
        name: Name of the page.
        title: Its heading.
        key: Where in a configuration they are chosen.
        bases: What they are subclasses of.
    """

    name: str
    title: str
    key: str
    bases: tuple[type, ...]


_TITLES = {
    "networks": ("Networks", "model.init_args.network"),
    "losses": ("Losses", "model.init_args.loss"),
    "targets": ("Targets", "model.init_args.target"),
    "decoders": ("Decoders", "model.init_args.decoder"),
    "metrics": ("Metrics of a training", "model.init_args.metrics"),
    "datasets": ("Data", "data"),
    "callbacks": ("Callbacks", "trainer.callbacks"),
    "loggers": ("Loggers", "trainer.logger"),
}


def kinds() -> list[Kind]:
    """Give the kinds: those of ``tracknet list``, and what the command leaves to Lightning and PyTorch."""
    from lightning.pytorch import LightningModule
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from tracknet.data.augmentation import Augmentation
    from tracknet.data.crops import RandomCrop

    listed = []
    for name, base in bases_of_kinds().items():
        title, key = _TITLES.get(name, (name.capitalize(), name))
        listed.append(Kind(name, title, key, (base,)))
    return [
        Kind("modules", "Trackers and rectifiers", "model", (LightningModule,)),
        *listed,
        Kind("augmentation", "Crops and augmentation", "data.init_args", (RandomCrop, Augmentation)),
        Kind("optimizers", "Optimizers", "optimizer", (Optimizer,)),
        Kind("schedules", "Learning-rate schedules", "lr_scheduler", (LRScheduler,)),
    ]


def class_pages() -> dict[str, str]:
    """Write a page for each kind, and their list."""
    all_kinds = kinds()
    pages = {f"reference/classes/{kind.name}.rst": _page(kind) for kind in all_kinds}
    rows = []
    for kind in all_kinds:
        ours = [cls.__name__ for cls in _classes(kind) if source(cls) == "tracknet"]
        named = ", ".join(f":ref:`{name} <class-{kind.name}-{name}>`" for name in ours)
        rows.append((f":doc:`{kind.title} <{kind.name}>`", f"``{kind.key}``", named or "those of PyTorch"))
    pages["reference/classes/index.rst"] = "\n".join(
        [
            rst.heading("Classes"),
            "What a configuration may choose, with all that each class takes. ``tracknet list KIND`` prints "
            "the same for what is installed, plugins included; ``tracknet config show`` explains one.\n",
            rst.table(("kind", "key", "classes"), rows, "stacked"),
            rst.toctree((kind.name for kind in all_kinds), hidden=""),
            rst.onward(
                ":doc:`/reference/configs`: YAML files that choose among them",
                ":doc:`/guides/configuration`: how files are merged",
            ),
        ]
    )
    return pages


def _classes(kind: Kind) -> list[type]:
    found = [cls for base in kind.bases for cls in classes_of(base)]
    return [cls for cls in found if not source(cls).startswith("plugin")]


def _page(kind: Kind) -> str:
    parts = [
        rst.label(f"classes-{kind.name}"),
        rst.heading(kind.title),
        f"Chosen at the key ``{kind.key}``, by its name alone or as ``class_path`` with ``init_args``.\n",
    ]
    classes = _classes(kind)
    others = [cls for cls in classes if source(cls) != "tracknet"]
    for cls in classes:
        if cls not in others:
            parts += _of_ours(kind, cls)
    if others:
        parts += [rst.heading("Of other packages", "-"), "May be chosen the same way.\n"]
        for cls in _by_name(others):
            parts += _of_others(kind, cls)
    parts.append(
        rst.onward(
            ":doc:`/reference/classes/index`: the other kinds",
            ":doc:`/reference/configs`: YAML files that choose these",
            ":doc:`/reference/keys`: all keys of a training",
        )
    )
    return "\n".join(parts)


def _by_name(classes: list[type]) -> list[type]:
    """Leave out what has the name of another: Lightning wraps one of PyTorch's schedules."""
    return list({cls.__name__: cls for cls in reversed(classes)}.values())[::-1]


def _of_ours(kind: Kind, cls: type) -> Iterator[str]:
    doc = docstring_parser.parse(inspect.getdoc(cls) or "", docstring_parser.DocstringStyle.GOOGLE)
    yield rst.label(f"class-{kind.name}-{cls.__name__}")
    yield rst.heading(cls.__name__, "-")
    yield f"{doc.short_description or ''}\n"
    if doc.long_description:
        yield f"{doc.long_description}\n"
    yield f"``{class_path(cls)}``; its methods: :py:class:`{cls.__module__}.{cls.__qualname__}`\n"
    yield from _parameters(kind, cls)


def _of_others(kind: Kind, cls: type) -> Iterator[str]:
    yield rst.label(f"class-{kind.name}-{cls.__name__}")
    yield rst.heading(cls.__name__, "~")
    yield rst.plain(summary(cls).removeprefix("r")) + "\n"
    yield f"``{class_path(cls)}``\n"
    yield from _parameters(kind, cls)


def _parameters(kind: Kind, cls: type) -> Iterator[str]:
    hidden = HIDDEN.get(kind.key, {})
    taken = [option for name, option in parameters(cls).items() if name not in hidden]
    if taken:
        rows = [_row(option) for option in taken]
        yield rst.table(("parameter", "type", "default", "what it is"), rows, "stacked parameters")
    else:
        yield "It takes nothing.\n"
    for name, why in hidden.items():
        if name in parameters(cls):
            yield f"``{name}`` is not set by hand: {rst.plain(why)}.\n"


def _row(option: Option) -> tuple[str, str, str, str]:
    default = "required" if option.required else f"``{shown(option.default)}``"
    return f"``{option.name}``", rst.plain(in_words(option.type)), default, rst.plain(option.doc)
