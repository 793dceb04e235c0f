"""A YAML file as a tree whose values know the file, line and column they were written at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from tracknet.configs.well_formed import yaml_faults

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Children = dict[Any, tuple[yaml.Node, yaml.Node]]

# Names of clips such as 00017 or -017 are text; YAML 1.1 takes them for octal numbers, here 15. Where
# a later jsonargparse keeps its loader elsewhere, such names need quotes.
with suppress(ImportError, AttributeError, LookupError, TypeError):
    from jsonargparse._loaders_dumpers import get_yaml_default_loader

    for _first in "0-+":
        get_yaml_default_loader().yaml_implicit_resolvers[_first].insert(  # type: ignore[no-untyped-call]
            0, ("tag:yaml.org,2002:str", re.compile("[-+]?0[0-9_]+$"))
        )


@dataclass(frozen=True)
class Origin:
    """Where a value was set.

    Args:
        source: Path of a file, name of an environment variable, or ``command line``.
        line: Line in the file, from 1.
        column: Column of the value in the file, from 1.
        key_column: Column of its key.
    """

    source: str
    line: int | None = None
    column: int | None = None
    key_column: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """``FILE:LINE``, or the source alone where there are no lines."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class Node:
    """A value and where it was set.

    Args:
        value: Children by key; a list of children, if one of them is a mapping; or a plain value.
        origins: All places that set it, the last of which won.
        lost: What it held while it was of other classes, where it is a class with its arguments.
    """

    value: Any
    origins: list[Origin] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    @property
    def is_mapping(self) -> bool:
        """Whether it has children by key."""
        return isinstance(self.value, dict)

    @property
    def is_list_of_nodes(self) -> bool:
        """Whether it has children in a list."""
        return isinstance(self.value, list) and any(isinstance(one, Node) for one in self.value)

    def plain(self) -> Any:
        """Give the value without its places."""
        if self.is_mapping:
            return {key: child.plain() for key, child in self.value.items()}
        if self.is_list_of_nodes:
            return [child.plain() for child in self.value]
        return self.value

    def child(self, *keys: str) -> Node | None:
        """Give the node below these keys, if there is one."""
        node: Node | None = self
        for key in keys:
            node = node.value.get(key) if node is not None and node.is_mapping else None
        return node

    def walk(self, key: str = "") -> Iterator[tuple[str, Node]]:
        """Give all nodes below, parents first, with keys such as ``trainer.callbacks.0.class_path``."""
        children: list[tuple[Any, Node]] = []
        if self.is_mapping:
            children = list(self.value.items())
        elif self.is_list_of_nodes:
            children = list(enumerate(self.value))
        for name, child in children:
            below = f"{key}.{name}" if key else str(name)
            yield below, child
            yield from child.walk(below)


@dataclass(frozen=True)
class Lost:
    """An argument that went when another class was chosen, which does not take it.

    Args:
        class_path: The class that took it.
        name: The argument.
        node: Its value.
        note: Where it is said that it went; empty where it is not.
    """

    class_path: str
    name: str
    node: Node
    note: str


def read_tree(path: Path) -> Node:
    """Read a file that `tracknet.configs.find_config` has found.

    Args:
        path: The file.

    Returns:
        Its tree. Numbers and text are told apart as jsonargparse does it.

    Raises:
        UsageError: A value cannot be made of what is written.
    """
    with yaml_faults(path):
        return tree_of(path.read_text(encoding="utf-8"), path)


def tree_of(text: str, path: Path) -> Node:
    """Read YAML that comes from a file; raises as `read_tree`."""
    with yaml_faults(path):
        values = get_loader("yaml")(text)
        if not isinstance(values, dict):
            # jsonargparse takes `trainer:` alone for text.
            values = yaml.load(text, Loader=_Loader)
        root = yaml.compose(text, Loader=_Loader)
    return Node(values) if root is None else _grow(values, None, root, str(path))


class _Quoting(yaml.SafeDumper):
    """Quotes all text, since jsonargparse takes 1e-3 for a number and others do not."""


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def write_yaml(values: dict[str, Any]) -> str:
    """Write values so that every loader reads the same ones."""
    return str(yaml.dump(values, Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=10**9))


def inline_yaml(value: Any) -> str:
    """Write a plain value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


def plant(value: Any, origin: Origin) -> Node:
    """Make a tree of a plain value, all of which was set at one place."""
    if isinstance(value, dict):
        return Node({key: plant(one, origin) for key, one in value.items()}, [origin])
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return Node([plant(one, origin) for one in value], [origin])
    return Node(value, [origin])


def _grow(value: Any, key: yaml.Node | None, node: yaml.Node, source: str) -> Node:
    mark = node.start_mark if key is None or isinstance(node, yaml.ScalarNode) else key.start_mark
    key_column = None if key is None else key.start_mark.column + 1
    origin = Origin(source, mark.line + 1, mark.column + 1, key_column)
    if isinstance(node, yaml.MappingNode) and isinstance(value, dict):
        written = _children(node)
        grown = {name: _grow(one, *_found(written, name, node), source) for name, one in value.items()}
        return Node(grown, [origin])
    if isinstance(node, yaml.SequenceNode) and any(isinstance(one, dict) for one in value):
        items = zip(value, node.value, strict=True)
        return Node([_grow(one, None, item, source) for one, item in items], [origin])
    return Node(value, [origin])


def _found(written: _Children, name: Any, parent: yaml.Node) -> tuple[yaml.Node, yaml.Node]:
    return written.get(str(name)) or (parent, parent)


def _children(node: yaml.MappingNode) -> _Children:
    """Give the nodes of keys and values, those of merged anchors included."""
    found: _Children = {}
    for key, value in node.value:
        if key.value == "<<":
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                found = {**_children(merged), **found}
    own = {str(key.value): (key, value) for key, value in node.value if key.value != "<<"}
    return {**found, **own}
