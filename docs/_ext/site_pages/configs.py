"""Pages of the packaged YAML files and of the keys of a training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from site_pages import rst
from site_pages.values import shown
from tracknet.cli.parsing import Parsing
from tracknet.configs.library import library
from tracknet.configs.options import Option, choosable
from tracknet.configs.wording import in_words

_PAGES = {
    "LightningModule": "modules",
    "LightningDataModule": "datasets",
    "Callback": "callbacks",
    "Logger": "loggers",
    "Optimizer": "optimizers",
    "LRScheduler": "schedules",
}
"""Class that a key wants -> page of those there are."""

_GROUPS = {
    "model": "Networks, losses and targets",
    "data": "Data sets",
    "optimizer": "Optimizers and schedules",
    "logging": "Loggers",
    "callbacks": "Callbacks",
    "env": "Machines",
    "experiment": "Whole trainings",
}


def config_pages() -> dict[str, str]:
    """Write the page of the files and that of the keys."""
    return {"reference/configs.rst": _files(), "reference/keys.rst": _keys()}


def _files() -> str:
    # Ours only: what plugins of this machine add is not part of the package.
    names = sorted(path.relative_to(library()).as_posix() for path in library().rglob("*.yaml"))
    parts = [
        rst.label("packaged-configs"),
        rst.heading("Packaged configurations"),
        "``+GROUP=NAME`` takes a file of a group, ``--config configs/GROUP/NAME.yaml`` too; the page "
        ":doc:`/guides/configuration` has the rules. ``tracknet config list`` prints this list.\n",
    ]
    ordered = sorted(names, key=lambda name: ("/" in name, _rank(name), name))
    for group, files in groupby(ordered, key=lambda name: name.rpartition("/")[0]):
        if group:
            parts += [rst.label(f"configs-{group}"), rst.heading(_GROUPS.get(group, group.capitalize()), "-")]
        for name in files:
            parts += _file(group, name)
    parts.append(
        rst.onward(
            ":doc:`/reference/keys`: every key of a training",
            ":doc:`/reference/classes/index`: the classes that these files choose",
            ":doc:`/guides/configuration`: merging, precedence, variables",
        )
    )
    return "\n".join(parts)


def _rank(name: str) -> int:
    group = name.partition("/")[0]
    return list(_GROUPS).index(group) if group in _GROUPS else len(_GROUPS)


def _file(group: str, name: str) -> Iterator[str]:
    text = (library() / name).read_text(encoding="utf-8")
    stem = name.rpartition("/")[2].removesuffix(".yaml")
    said = f"+{group}={stem}" if group else f"--config configs/{name}"
    yield f"**{stem}**: {rst.plain(text.partition(chr(10))[0].lstrip('# '))}\n"
    yield rst.directive(
        "dropdown", said, rst.directive("code-block", "yaml", text), name=f"config-{name[:-5]}"
    )


def _keys() -> str:
    options = Parsing("fit").options
    parts = [
        rst.label("configuration-keys"),
        rst.heading("Configuration keys"),
        "What a YAML file of a training may set; on the command line each is an option, as in "
        "``tracknet fit --trainer.max_epochs 5``. Keys of a chosen class stand below its ``init_args``, "
        "which options leave out: ``--model.network.frames 5``. ``tracknet config show KEY`` explains one.\n",
        rst.heading("At the top", "-"),
        _table(one for key, one in options.keys.items() if "." not in key),
    ]
    for group in options.groups:
        inside = [one for key, one in options.keys.items() if key.startswith(f"{group}.")]
        parts += [rst.label(f"keys-{group}"), rst.heading(group, "-"), _table(inside)]
    parts.append(
        rst.onward(
            ":doc:`/guides/configuration`: how files, variables and options come together",
            ":doc:`/reference/classes/index`: what ``model``, ``data``, ``trainer.callbacks`` may be",
            ":doc:`/reference/configs`: files to start from",
        )
    )
    return "\n".join(parts)


def _table(options: Iterator[Option] | list[Option]) -> str:
    rows = [(f"``{one.name}``", _type(one), _default(one), rst.plain(one.doc)) for one in options]
    return rst.table(("key", "type", "default", "what it is"), rows, "stacked parameters")


def _default(option: Option) -> str:
    return "required" if option.required else f"``{shown(option.default)}``"


def _type(option: Option) -> str:
    pages = [_PAGES[cls.__name__] for cls in choosable(option.type) if cls.__name__ in _PAGES]
    words = rst.plain(in_words(option.type))
    return "\n\n".join([words, *(f":doc:`{page} <classes/{page}>`" for page in dict.fromkeys(pages))])
