"""What a key or a class is: its type, its default and its docstring."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from tracknet.configs.options import Option, Options, choosable, concrete, summary
from tracknet.configs.wording import in_words
from tracknet.errors import UsageError, nearest

_WIDTH = 100


def show(options: Options, key: str) -> str:
    """Explain a key, a group of keys or a class.

    Args:
        options: What the command takes.
        key: Such as ``trainer.max_epochs``, ``model.network.frames``, ``optimizer``, ``AdamW`` or
            ``AdamW.lr``; ``init_args`` may be left out.

    Returns:
        Lines for a person.

    Raises:
        UsageError: There is no such key.
    """
    names = [name for name in key.split(".") if name not in ("init_args", "class_path")]
    group = options.groups.get(names[0])
    if group and len(names) == 1:
        return _listing(f"{key}:", [options.keys[f"{key}.{name}"] for name in group])
    first = ".".join(names[:2]) if group else names[0]
    if first in options.keys:
        found = {"": options.keys[first]}
        rest = names[2:] if group else names[1:]
    elif cls := _class(options, names[0]):
        if len(names) == 1:
            return _of_class(cls, options.of_class(cls, ""))
        first, rest = names[0], names[2:]
        found = _in_classes([cls], names[1], options, "", key)
    else:
        known = [*options.keys, *options.groups, *_all_classes(options)]
        raise UsageError(f"no key or class {key!r}{nearest(first, known)}")
    place = first
    for name in rest:
        classes = [
            cls for option in found.values() for base in choosable(option.type) for cls in concrete(base)
        ]
        found = _in_classes(classes, name, options, place, key)
        place = f"{place}.{name}"
    return "\n\n".join(_of_option(key, who, option) for who, option in found.items())


def _in_classes(classes: list[type], name: str, options: Options, place: str, key: str) -> dict[str, Option]:
    """Find a parameter in classes; classes that agree on it are named together."""
    agreed: dict[str, tuple[list[str], Option]] = {}
    known: list[str] = []
    for cls in dict.fromkeys(classes):
        taken = options.of_class(cls, place)
        known += taken
        if name in taken:
            option = taken[name]
            same = f"{option.type} {option.default} {option.doc}"
            agreed.setdefault(same, ([], option))[0].append(cls.__name__)
    if not agreed:
        raise UsageError(f"no key {key!r}: {place or key} has no {name!r}{nearest(name, known)}")
    return {", ".join(who): option for who, option in agreed.values()}


def _of_option(key: str, who: str, option: Option) -> str:
    lines = [f"{key}  (of {who})" if who else key]
    lines.append(f"  type:     {in_words(option.type) or option.type}")
    lines.append(f"  default:  {'none: it must be set' if option.required else _value(option.default)}")
    lines += _wrapped(option.doc, "  ")
    classes = [cls for base in choosable(option.type) for cls in concrete(base)]
    if classes:
        lines.append("  classes:")
        lines += [_line(cls.__name__, summary(cls), max(len(c.__name__) for c in classes)) for cls in classes]
    return "\n".join(lines)


def _of_class(cls: type, taken: Mapping[str, Option]) -> str:
    lines = [cls.__name__, *_wrapped(summary(cls), "  ")]
    return "\n".join([*lines, _listing("  parameters:", taken.values())])


def _listing(title: str, options: Iterable[Option]) -> str:
    shown = [(option.name, option) for option in options]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join([title, *(_line(name, _brief(option), width) for name, option in shown)])


def _line(name: str, text: str, width: int) -> str:
    return textwrap.shorten(f"    {name:<{width}}  {text}", _WIDTH, placeholder=" ...").replace(
        name, f"    {name:<{width}} ", 1
    )


def _brief(option: Option) -> str:
    default = "required" if option.required else f"default {_value(option.default)}"
    return f"{default}. {option.doc}"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _all_classes(options: Options) -> dict[str, type]:
    """Give the classes that may be chosen anywhere, by name."""
    found: dict[str, type] = {}
    waiting = [base for option in options.keys.values() for base in choosable(option.type)]
    seen: set[type] = set()
    while waiting:
        base = waiting.pop()
        if base in seen:
            continue
        seen.add(base)
        for cls in concrete(base):
            found.setdefault(cls.__name__, cls)
            if cls.__module__.startswith("tracknet."):
                waiting += [b for one in options.of_class(cls, "").values() for b in choosable(one.type)]
    return found


def _class(options: Options, name: str) -> type | None:
    return _all_classes(options).get(name)
