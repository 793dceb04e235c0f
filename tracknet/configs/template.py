"""A commented configuration for a chosen task, network, data set and environment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from tracknet.configs.composition import compose
from tracknet.configs.options import (
    Option,
    Options,
    choosable,
    concrete,
    find_class,
    members,
    parameters,
    summary,
)
from tracknet.configs.tree import inline_yaml
from tracknet.configs.wording import accepts
from tracknet.errors import UsageError, nearest

_WIDTH = 100


@dataclass(frozen=True)
class Chosen:
    """What a template is written for.

    Attributes:
        task: Class of the module.
        network: Class of the network.
        data: Class of the data.
        env: Name of an environment.
    """

    task: str = "HeatmapTracker"
    network: str = "CompactTrackNet"
    data: str = "FlatVideoDataModule"
    env: str = "cpu"


def write_template(options: Options, chosen: Chosen) -> str:
    """Write a configuration that can be used as it is.

    What every training needs comes from ``base.yaml`` and the environment; parameters of the chosen classes
    that are left at their defaults are there as comments.

    Args:
        options: What the command takes.
        chosen: What it is for.

    Returns:
        YAML text; its comments come from the docstrings.

    Raises:
        UsageError: There is no such class or environment.
    """
    network, data, env = chosen.network, chosen.data, chosen.env
    module = _one(chosen.task, choices(options, "model"), "task")
    values = compose([f"+env={env}"], "fit").values
    wanted = options.of_class(module, "model")
    given = _kept(_arguments(values["model"]), wanted)
    if "network" in wanted:
        net = _one(network, choices_of(wanted["network"]), "network")
        needed = _needed(options.of_class(net, "model.network"))
        given["network"] = {"class_path": net.__name__, "init_args": needed}
    for name, value in _needed(wanted).items():
        given.setdefault(name, value)
    values["model"] = {"class_path": module.__name__, "init_args": given}
    source = _one(data, choices(options, "data"), "data")
    taken = options.of_class(source, "data")
    kept = {**_needed(taken), **_kept(_arguments(values["data"]), taken)}
    values["data"] = {"class_path": source.__name__, "init_args": kept}
    header = [
        f"# {module.__name__} with {network}, {data} and the settings of configs/env/{env}.yaml.",
        "# Lines that begin with '# name:' are defaults: take the mark away to change them.",
        "#   tracknet config check THIS_FILE; tracknet fit --config THIS_FILE",
    ]
    return "\n".join([*header, *_Writer(options).top(values)]) + "\n"


def choices(options: Options, key: str, parameter: str | None = None) -> list[type]:
    """Give the classes that may stand at a key of a command, or at a parameter of those classes."""
    classes = choices_of(options.keys[key])
    if parameter is None:
        return classes
    inner = [options.of_class(cls, key) for cls in classes]
    found = [cls for one in inner if parameter in one for cls in choices_of(one[parameter])]
    return list(dict.fromkeys(found))


def choices_of(option: Option) -> list[type]:
    """Give the classes that an option chooses from."""
    return list(dict.fromkeys(cls for base in choosable(option.type) for cls in concrete(base)))


def _one(name: str, classes: list[type], what: str) -> type:
    found = find_class(name, classes)
    if found not in classes or found is None:
        known = [cls.__name__ for cls in classes]
        raise UsageError(f"--{what}: no class {name!r}{nearest(name, known)} (those are {', '.join(known)})")
    return found


def _arguments(value: Mapping[str, Any]) -> dict[str, Any]:
    return dict(value.get("init_args") or {})


def _kept(given: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """Give the values of a base that another class takes too."""
    kept: dict[str, Any] = {}
    for name, value in given.items():
        bases = choosable(options[name].type) if name in options else []
        path = value.get("class_path") if isinstance(value, Mapping) else value
        if find_class(str(path), bases) if bases else name in options and accepts(options[name].type, value):
            kept[name] = value
    return kept


def _needed(options: Mapping[str, Option]) -> dict[str, Any]:
    """Give values for what cannot be left out."""
    return {name: _stand_in(option.type) for name, option in options.items() if option.required}


def _stand_in(hint: Any) -> Any:
    first = members(hint)[0]
    if get_origin(first) is Literal:
        return get_args(first)[0]
    if get_origin(first) is list:
        return [_stand_in(get_args(first)[0])]
    if choosable(first):
        cls = choices_of(Option("", first, None, True, ""))[0]
        needed = _needed(parameters(cls))
        return {"class_path": cls.__name__, "init_args": needed} if needed else cls.__name__
    if isinstance(first, type) and issubclass(first, (int, float)):
        return 1
    return "data" if isinstance(first, type) and issubclass(first, (str, Path)) else None


class _Writer:
    def __init__(self, options: Options) -> None:
        self.options = options

    def top(self, values: Mapping[str, Any]) -> Iterator[str]:
        for key, value in values.items():
            yield ""
            if key in self.options.groups:
                inner = self.options.groups[key]
                yield f"{key}:"
                for name, one in value.items():
                    option = self.options.keys[f"{key}.{name}"] if name in inner else None
                    yield from self.entry(option, name, one, key, 1)
            else:
                yield from self.entry(self.options.keys.get(key), key, value, "", 0)

    def entry(self, option: Option | None, name: str, value: Any, above: str, depth: int) -> Iterator[str]:
        indent = "  " * depth
        key = f"{above}.{name}" if above else name
        bases = choosable(option.type) if option else []
        if option and option.doc and not (bases and depth == 0):
            yield from _comment(_first(option.doc), indent)
        if bases and isinstance(value, list):
            yield f"{indent}{name}:"
            for one in value:
                whole = one if isinstance(one, Mapping) else {"class_path": one}
                yield from self.chosen(bases, whole, key, depth + 2, item=True)
        elif bases and (isinstance(value, Mapping) or _is_class(value, bases)):
            yield f"{indent}{name}:"
            whole = value if isinstance(value, Mapping) else {"class_path": value}
            yield from self.chosen(bases, whole, key, depth + 1)
        else:
            yield f"{indent}{name}: {inline_yaml(_plain(value))}"

    def chosen(
        self, bases: list[type], value: Mapping[str, Any], key: str, depth: int, item: bool = False
    ) -> Iterator[str]:
        """A class with its parameters; those at their defaults as comments, where the class is ours."""
        indent = "  " * depth
        name = str(value["class_path"]).rpartition(".")[2]
        cls = find_class(str(value["class_path"]), bases)
        others = [c.__name__ for base in bases for c in concrete(base) if c is not cls]
        if cls is not None:
            yield from _comment(summary(cls), indent[:-2] if item else indent)
        if others and not item and len(others) < 30:
            yield from _comment(f"Or: {', '.join(others)}.", indent)
        yield f"{indent[:-2]}- class_path: {name}" if item else f"{indent}class_path: {name}"
        if cls is None:
            return
        given = _arguments(value)
        taken = self.options.of_class(cls, key)
        ours = cls.__module__.startswith("tracknet.") and not item
        left = {name: option for name, option in taken.items() if name not in given} if ours else {}
        if given or left:
            empty = "" if given else "# "
            yield f"{indent}{empty}init_args:"
        for name, one in given.items():
            yield from self.entry(taken.get(name), name, one, key, depth + 1)
        for name, option in left.items():
            yield from _comment(_first(option.doc), f"{indent}  ")
            yield f"{indent}  # {name}: {inline_yaml(_plain(option.default))}"


def _is_class(value: Any, bases: list[type]) -> bool:
    return isinstance(value, str) and find_class(value, bases) is not None


def _comment(text: str, indent: str) -> Iterator[str]:
    mark = f"{indent}# "
    yield from textwrap.wrap(text, _WIDTH, initial_indent=mark, subsequent_indent=mark)


def _first(doc: str) -> str:
    """Give the first sentence of a docstring."""
    head, dot, _ = doc.partition(". ")
    return f"{head}." if dot else doc


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)
