"""All that is wrong with a configuration at once, key by key, without building anything."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_origin

from tracknet.configs.composition import COMMAND_LINE
from tracknet.configs.options import (
    Option,
    Options,
    choosable,
    concrete,
    find_class,
    load,
    members,
    parameters,
)
from tracknet.configs.tree import Origin
from tracknet.configs.wording import accepts, refusal
from tracknet.errors import nearest
from tracknet.trust import refusal_of

KeyPath = tuple["str | int", ...]
_SHAPE = ("class_path", "init_args", "dict_kwargs")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: Where it is: names, and places in lists, such as ``("trainer", "callbacks", 1)``.
        message: What is wrong, what is allowed and the nearest valid name.
        owner: Whom it is said of, where that is not the key itself: what has no such key.
    """

    path: KeyPath
    message: str
    owner: KeyPath | None = None

    @property
    def key(self) -> str:
        """The dotted key, with ``init_args`` and places in lists, as origins name it."""
        return ".".join(map(str, self.path))

    @property
    def of_key(self) -> bool:
        """Whether the key itself is wrong, not its value."""
        owned = self.owner is not None and len(self.owner) < len(self.path)
        return owned and self.path[-1] != "class_path"

    def __str__(self) -> str:
        """The key as the command line has it, and the message."""
        key = shown(self.path if self.owner is None else self.owner)
        return f"{key}: {self.message}" if key else self.message


def shown(path: KeyPath) -> str:
    """Give the key of a path as the command line has it: without ``init_args`` and places in lists."""
    return ".".join(str(one) for one in path if one != "init_args" and not isinstance(one, int))


START = "start from --config configs/base.yaml"
"""What to do where neither model nor data are chosen."""


def find_faults(options: Options, values: Mapping[str, Any], start: str = START) -> list[Fault]:
    """Judge every key and value by the types of the signatures.

    Args:
        options: What the command takes.
        values: The merged configuration, as YAML gives it.
        start: What to do where a choice is missing.

    Returns:
        All faults, in the order of the configuration; what is missing comes last.
    """
    return list(_Judge(options, values, start).faults())


def told(fault: Fault, origins: Mapping[str, Sequence[Origin]]) -> str:
    """Write a fault after the place where it was written.

    Args:
        fault: The fault.
        origins: Key -> places that set it, as `tracknet.configs.Composed` has them.

    Returns:
        ``FILE:LINE:COLUMN: KEY: MESSAGE``; the name of the environment variable instead of the file; nothing
        before the key where the command line set it or nothing did.
    """
    whole = ".".join(map(str, fault.path))
    below = [places[-1] for key, places in origins.items() if places and key.startswith(f"{whole}.")]
    if not origins.get(whole) and below and all(one.source == COMMAND_LINE for one in below):
        return str(fault)  # a group of keys that only the command line has
    for length in range(len(fault.path), 0, -1):
        places = origins.get(".".join(map(str, fault.path[:length])))
        if places:
            at = places[-1]
            if at.line is not None:
                of_key = fault.of_key and length == len(fault.path) and at.key_column is not None
                return f"{at.source}:{at.line}:{at.key_column if of_key else at.column}: {fault}"
            return str(fault) if at.source == COMMAND_LINE else f"{at.source}: {fault}"
    return str(fault)


class _Judge:
    def __init__(self, options: Options, values: Mapping[str, Any], start: str) -> None:
        self.options = options
        self.values = values
        self.start = start

    def faults(self) -> Iterator[Fault]:
        groups = self.options.groups
        older = self.older()
        for key, value in self.values.items():
            if key in self.options.keys:
                yield from self.value((key,), self.options.keys[key].type, value)
            elif key in groups:
                yield from self.group(key, groups[key], value)
            elif key in older and len(older) > 1:
                if key == older[0]:
                    yield Fault((key,), f"no option {key!r}; {_are_of_older(older)}", ())
            else:
                yield from self.stranger(str(key), value, _PERHAPS_OLDER * (key in older))
        missing = [key for key in self.options.required if self.values.get(key) is None]
        if missing:
            wanted = " and ".join(missing)
            yield Fault((), f"nothing says which {wanted} to take; {self.start}")

    def older(self) -> list[str]:
        """Give the keys of a file that is the model, data or training section of the older tracknet."""
        known = {*self.options.keys, *self.options.groups}
        strangers = [key for key in self.values if key not in known]
        return _of_older_section(strangers, self.values) if strangers else []

    def stranger(self, key: str, value: object, perhaps: str = "") -> Iterator[Fault]:
        known = list(dict.fromkeys(name.partition(".")[0] for name in self.options.keys))
        if _is_of_older(key, value):
            yield Fault((key,), f"no option {key!r}; {_are_of_older([key])}", ())
        elif hint := nearest(key, known):
            yield Fault((key,), f"no option {key!r}{hint}{perhaps}", ())
        else:
            hint = self.elsewhere(key, ()) or _listed(known)
            yield Fault((key,), f"no option {key!r}{hint}{perhaps}", ())

    def group(self, group: str, names: list[str], value: object) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield Fault((group,), f"expected keys such as {names[0]}, found {value!r}")
            return
        for name, one in value.items():
            path = (group, name)
            if name in names:
                yield from self.value(path, self.options.keys[f"{group}.{name}"].type, one)
            else:
                full = f"{group}.{name}"
                near = nearest(full, [f"{group}.{one}" for one in names])
                yield Fault(path, f"no option {full!r}{self.elsewhere(str(name), path) or near}", ())

    def value(self, path: KeyPath, hint: Any, value: object) -> Iterator[Fault]:
        bases = choosable(hint)
        if bases and isinstance(value, Mapping) and not _takes(hint, dict):
            yield from self.chosen(path, bases, value)
        elif bases and isinstance(value, list) and _takes(hint, list):
            for place, one in enumerate(value):
                yield from self.value((*path, place), _union(bases), one)
        elif bases and isinstance(value, str) and not _takes(hint, str):
            yield from self.chosen(path, bases, {"class_path": value})
        elif not accepts(hint, value):
            yield Fault(path, refusal(hint, value))

    def chosen(self, path: KeyPath, bases: list[type], value: Mapping[str, Any]) -> Iterator[Fault]:
        """Judge the choice of a class and its parameters."""
        name = value.get("class_path")
        if name is None:
            mistyped = difflib.get_close_matches("class_path", map(str, value), n=1, cutoff=0.75)
            if mistyped:
                yield Fault(
                    (*path, mistyped[0]), f"no option {mistyped[0]!r}; did you mean 'class_path'?", path
                )
                return
            buildable = [cls for cls in bases if cls in concrete(cls)]
            if not buildable or "init_args" in value:
                yield Fault(path, f"no class_path says which {bases[0].__name__} to take{_classes(bases)}")
            else:
                yield from self.arguments(path, buildable[0], value)
            return
        cls = find_class(str(name), bases)
        written = (*path, "class_path") if len(value) > 1 else path
        if cls is not None and (reason := refusal_of(f"{cls.__module__}.{cls.__qualname__}")):
            yield Fault(written, f"no class {name!r}: {reason}", path)
            return
        if cls is None:
            yield Fault(written, _no_class(str(name), bases), path)
            return
        for key in value:
            if key not in _SHAPE:
                given = self.options.of_class(cls, shown(path))
                hint = f"; write it below init_args of {cls.__name__}" if key in given else ""
                hint = hint or nearest(str(key), _SHAPE[:2]) or self.elsewhere(str(key), path)
                yield Fault((*path, key), f"no option {key!r} beside class_path{hint}", path)
        arguments = value.get("init_args") or {}
        if isinstance(arguments, Mapping):
            yield from self.arguments((*path, "init_args"), cls, arguments, bool(value.get("dict_kwargs")))
        else:
            yield Fault(
                (*path, "init_args"), f"expected the parameters of {cls.__name__}, found {arguments!r}"
            )

    def arguments(
        self, path: KeyPath, cls: type, given: Mapping[str, Any], open_end: bool = False
    ) -> Iterator[Fault]:
        known = self.options.of_class(cls, shown(path))
        hidden = self.options.hidden.get(shown(path), {})
        groups = {name.partition(".")[0] for name in known if "." in name}
        for name, value in given.items():
            if name in groups:
                continue  # a group of settings inside a class, which the parser judges
            if name in known:
                yield from self.value((*path, name), known[name].type, value)
            elif name in hidden:
                yield Fault((*path, name), hidden[name])
            else:
                hint = self.elsewhere(str(name), path) or nearest(str(name), known)
                hint = hint or _by_meaning(str(name), known)
                taken = f" (it takes {', '.join(known)})" if known else ""
                wrong = f"{cls.__name__} has no option {name!r}{hint}{taken}"
                yield Fault((*path, name), wrong, path)
        missing = [
            name
            for name, option in known.items()
            if option.required and "." not in name and name not in given
        ]
        if missing and not open_end:
            at = path[:-1] if path[-1:] == ("init_args",) else path
            yield Fault(at, f"{cls.__name__} needs {', '.join(missing)}{_what(known, missing)}")

    def elsewhere(self, name: str, path: KeyPath) -> str:
        """Say where a key belongs, when it is right by name but in the wrong place."""
        listed = [at for at, cls in self._classes() if cls.__name__ == name and isinstance(at[-1], int)]
        if listed:
            return f"; that is one of {shown(listed[0])}, of which flags set the last: set it in a file"
        places = [key for key in self.options.keys if key == name or key.endswith(f".{name}")]
        places += [shown((*at, name)) for at, cls in self._classes() if name in self._settable(cls, at)]
        places = [place for place in dict.fromkeys(places) if place != shown((*path, name))]
        return f"; did you mean {places[0]!r}?" if places else ""

    def _settable(self, cls: type, at: KeyPath) -> Collection[str]:
        return self.options.of_class(cls, shown(at))

    def _classes(self) -> Iterator[tuple[KeyPath, type]]:
        """Give all classes that the configuration chooses, with their places."""
        stack: list[tuple[KeyPath, Any, list[type]]] = [
            ((*key.split("."),), _at(self.values, key), choosable(option.type))
            for key, option in reversed(list(self.options.keys.items()))
        ]
        while stack:
            path, value, bases = stack.pop()
            for place, one in enumerate(value) if isinstance(value, list) else ():
                stack.append(((*path, place), one, bases))
            chosen = value.get("class_path") if isinstance(value, Mapping) else value
            cls = find_class(chosen, bases) if isinstance(chosen, str) and bases else None
            if cls is None:
                continue
            yield path, cls
            given = (value.get("init_args") or {}) if isinstance(value, Mapping) else {}
            if isinstance(given, Mapping):
                for name, option in parameters(cls).items():
                    if name in given:
                        stack.append(((*path, "init_args", name), given[name], choosable(option.type)))


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _takes(hint: Any, kind: type) -> bool:
    """Say whether a hint has a plain kind of value among its alternatives."""
    kinds = [get_origin(part) or part for part in members(hint)]
    return kind in kinds or (kind is list and Iterable in kinds)


def _union(bases: list[type]) -> Any:
    hint: Any = bases[0]
    for base in bases[1:]:
        hint = hint | base
    return hint


def _no_class(name: str, bases: list[type]) -> str:
    short = name.rpartition(".")[2]
    known = [cls.__name__ for base in bases for cls in concrete(base)]
    if reason := _not_imported(name):
        return f"no class {name!r}: {reason}"
    begun = any(one.startswith(short) for one in known)
    if isinstance(load(name), type) or (_named(short) and not begun):
        return f"{name!r} is not a {bases[0].__name__}{_classes(bases)}"
    return f"no class {name!r}{nearest(short, known) or _classes(bases)}"


def _not_imported(name: str) -> str:
    """Say why the module of an import path cannot be imported; nothing where it can or there is none."""
    module = name.rpartition(".")[0]
    if reason := refusal_of(name):
        return reason
    try:
        if module:
            import_module(module)
    except Exception as error:
        return str(error)
    return ""


def _named(name: str) -> bool:
    """Say whether a class of that name is among those that configurations choose from elsewhere."""
    rooms = [
        module
        for path, module in list(sys.modules.items())
        if path.startswith(("tracknet.", "lightning.pytorch.", "torch.optim"))
    ]
    return any(isinstance(vars(room).get(name), type) for room in rooms)


def _classes(bases: list[type]) -> str:
    return _listed(cls.__name__ for base in bases for cls in concrete(base))


def _listed(names: Iterable[str]) -> str:
    known = ", ".join(dict.fromkeys(names))
    return f" (those are {known})" if known else ""


def _by_meaning(name: str, known: Mapping[str, Option]) -> str:
    """Suggest the parameter whose docstring begins with a name: ``learning_rate`` is ``lr``."""
    words = name.count("_") + 1
    meant = {" ".join(option.doc.lower().split()[:words]): one for one, option in known.items()}
    near = difflib.get_close_matches(name.lower().replace("_", " "), meant, n=1, cutoff=0.8)
    return f"; did you mean {meant[near[0]]!r}?" if near else ""


def _what(known: Mapping[str, Option], missing: list[str]) -> str:
    """Name the classes to choose from, where a class is missing."""
    bases = [base for name in missing for base in choosable(known[name].type)]
    return _classes(bases)


def _is_of_older(key: str, value: object) -> bool:
    """Tell whether a key is one of the top of a configuration of the older tracknet, and none of ours."""
    if key not in ("training", "runtime") or not isinstance(value, Mapping):
        return False
    from tracknet.configs.migration.legacy import RULES  # only what is wrong waits for it

    names = {rule.old.split(".")[1] for rule in RULES if rule.old.startswith(f"{key}.")}
    return "*" in names or (bool(value) and names >= value.keys())


def _of_older_section(strangers: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Give those of the keys that no command has which are of one section of the older tracknet.

    One of its groups of settings has to be there: ``epochs`` alone is what anybody would write.
    """
    groups = {key: one for key, one in values.items() if isinstance(one, Mapping) and one}
    told = [key for key in groups if key in strangers or (key == "optimizer" and "name" in groups[key])]
    if not told and "model_name" not in strangers:
        return []
    from tracknet.configs.migration.legacy import RULES, SECTIONS

    for section in SECTIONS:
        rules = [rule for rule in RULES if rule.old.startswith(f"{section}.")]
        names = {rule.old.split(".")[1] for rule in rules}
        whole = any(
            all(any(rule.covers(f"{section}.{key}.{name}") for rule in rules) for name in groups[key])
            for key in told
        )
        if whole or ("model_name" in names and "model_name" in strangers):
            return [key for key in strangers if key in names]
    return []


# One group alone, such as early_stopping, may be what somebody tries in a file of today.
_PERHAPS_OLDER = "; if the file is of the older tracknet, `tracknet config migrate` converts it"


def _are_of_older(keys: Sequence[str]) -> str:
    others = len(keys) - 1
    are = f"it and {others} other key{'' if others == 1 else 's'} are" if others else "it is"
    return f"{are} of the older tracknet, whose files `tracknet config migrate` converts"
