"""A configuration that is being written, addressed by keys as on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tracknet.configs.library import library
from tracknet.configs.tree import read_tree

Path = tuple["str | int", ...]


class Draft:
    """Nested values of a new configuration, with comments beside some of them.

    Keys are those of the command line: ``data.batch_size`` is ``init_args.batch_size`` of the chosen class,
    and ``trainer.callbacks.EarlyStopping.patience`` belongs to the callback of that class, which is added
    when it is not there.

    Args:
        values: Where to start from, with the ``class_path`` of every class whose parameters are put.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.comments: dict[Path, str] = {}

    def put(self, key: str, value: Any, comment: str = "") -> None:
        """Set a value.

        Args:
            key: As on the command line; an empty key sets nothing.
            value: The value; a class by its name, or as ``class_path`` and ``init_args``.
            comment: What to write beside it.
        """
        node: Any = self.values
        path: list[str | int] = []
        *names, last = key.split(".")
        for name in names:
            node, path = self._below(node, path)
            if isinstance(node, list):
                node, path = self._callback(node, path, name)
            else:
                node, path = node.setdefault(name, {}), [*path, name]
        if isinstance(node, list):
            node, _ = self._callback(node, path, last)
            node.setdefault("init_args", {}).update(value)
            return
        if last != "class_path":
            node, path = self._below(node, path)
        node[last] = value
        if comment:
            path.append(last)
            self.comments[tuple(path)] = comment

    def text(self, header: str = "") -> str:
        """Write the configuration.

        Args:
            header: Lines of comment before it, without their ``#``.

        Returns:
            YAML, with the comments beside their values.
        """
        text = yaml.dump(
            self.values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9
        ).rstrip("\n")
        lines = text.split("\n")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        for path, comment in self.comments.items():
            place = _line(root, path)
            if place is not None:
                lines[place] = f"{lines[place]} # {comment}"
        top = [f"# {line}".rstrip() for line in header.splitlines()]
        return "\n".join([*top, *lines]) + "\n"

    @staticmethod
    def _callback(callbacks: list[Any], path: list[str | int], name: str) -> tuple[Any, list[str | int]]:
        place = next((n for n, one in enumerate(callbacks) if one["class_path"] == name), len(callbacks))
        if place == len(callbacks):
            callbacks.append({"class_path": name})
        return callbacks[place], [*path, place]

    @staticmethod
    def _below(node: Any, path: list[str | int]) -> tuple[Any, list[str | int]]:
        if isinstance(node, dict) and "class_path" in node:
            return node.setdefault("init_args", {}), [*path, "init_args"]
        return node, path


def _line(root: yaml.Node | None, path: Path) -> int | None:
    """Find the line in which the value at a path begins."""
    node, line = root, 0
    for name in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == name), None)
            if found is None:
                return None
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
            node = node.value[name]
            line = node.start_mark.line
        else:
            return None
    return line


class _Dumper(yaml.SafeDumper):
    """Lists of plain values in one line; quotes where text may be taken for a number."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = re.fullmatch(r"[A-Za-z_/][\w ./@-]*", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    flat = not any(isinstance(one, (Mapping, list)) for one in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def values_of(name: str) -> dict[str, Any]:
    """Give the values of a packaged configuration of today, for a draft to begin with.

    Args:
        name: Its name, such as ``base.yaml``.
    """
    values: dict[str, Any] = read_tree(library() / name).plain()
    return values
