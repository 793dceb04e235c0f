"""The whole configuration, with where every value comes from and what it replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tracknet.configs.composition import Composed
from tracknet.configs.library import library
from tracknet.configs.tree import Node, Origin, inline_yaml, read_tree

_UNKNOWN = object()


def explain(composed: Composed, values: Mapping[str, Any]) -> str:
    """Write a configuration as YAML whose comments say where each value comes from.

    Args:
        composed: What files, environment variables and the command line set.
        values: The same with all defaults of the classes, plain values.

    Returns:
        YAML text: each value with ``FILE:LINE``, the environment variable, ``command line`` or
        ``default of CLASS``, and what it replaced.
    """
    lines = list(_Explainer(composed).lines(values, (), 0, "the command", ""))
    width = min(max((len(text) for text, _ in lines), default=0), 60)
    shown = [f"{text:<{width}}  # {comment}" if comment else text for text, comment in lines]
    return "\n".join([*(f"# {note}" for note in composed.notes), *shown])


def place(origin: Origin) -> str:
    """Write where a value was set; packaged files by the name that ``--config`` takes."""
    path = Path(origin.source)
    if origin.line is not None and path.is_relative_to(library()):
        return f"configs/{path.relative_to(library()).as_posix()}:{origin.line}"
    return str(origin)


class _Explainer:
    def __init__(self, composed: Composed) -> None:
        self.composed = composed

    def lines(
        self, values: Mapping[str, Any], path: tuple[str, ...], depth: int, owner: str, dash: str
    ) -> Iterator[tuple[str, str]]:
        """Give lines and their comments; ``dash`` begins the first line of an item of a list."""
        for name, value in values.items():
            here = (*path, str(name))
            indent = "  " * depth
            lead = f"{indent[:-2]}{dash}{name}:" if dash else f"{indent}{name}:"
            dash = ""
            if isinstance(value, Mapping) and value:
                yield lead, ""
                yield from self.lines(value, here, depth + 1, _owner(value, here, owner), "")
            elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
                yield lead, ""
                for number, one in enumerate(value):
                    at = (*here, str(number))
                    if isinstance(one, Mapping):
                        yield from self.lines(one, at, depth + 2, _owner(one, at, owner), "- ")
                    else:
                        yield f"{indent}  - {inline_yaml(one)}", self.origin(at, owner)
            else:
                yield f"{lead} {inline_yaml(value)}", self.origin(here, owner)

    def origin(self, path: tuple[str, ...], owner: str) -> str:
        """Say where a value comes from and what it replaced."""
        origins = self.composed.origins.get(".".join(path))
        if not origins and path[-1] == "class_path":
            origins = self.composed.origins.get(".".join(path[:-1]))  # a class by its name alone
        if not origins:
            return f"default of {owner}"
        said = place(origins[-1])
        for earlier in reversed(origins[:-1]):
            value = _value_at(earlier, path)
            before = "" if value is _UNKNOWN else f"{inline_yaml(value)} "
            said += f", replaced {before}({place(earlier)})"
        return said


def _owner(value: Mapping[str, Any], path: tuple[str, ...], owner: str) -> str:
    """Name the class whose defaults count inside a mapping."""
    if isinstance(value.get("class_path"), str):
        return str(value["class_path"]).rpartition(".")[2]
    return "Trainer" if path == ("trainer",) else owner


@cache
def _tree(source: str) -> Node:
    return read_tree(Path(source))


def _value_at(origin: Origin, path: tuple[str, ...]) -> Any:
    """Read again what an earlier place said."""
    if origin.line is None:
        return os.environ.get(origin.source, _UNKNOWN)
    for key, node in _tree(origin.source).walk():
        same = key.rpartition(".")[2].rstrip("+-!") in (path[-1], path[-2:-1][0] if len(path) > 1 else "")
        if same and node.origins[-1] == origin and not node.is_mapping:
            return node.plain()
    return _UNKNOWN
