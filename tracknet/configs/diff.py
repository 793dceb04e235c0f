"""What two configurations differ in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracknet.configs.library import find_config
from tracknet.configs.tree import Node, Origin, read_tree


@dataclass(frozen=True)
class Difference:
    """A key whose value is not the same in both.

    Attributes:
        key: Dotted key without ``init_args``; items of lists by their class.
        before: Value and place in the first; None where it is not there.
        after: Value and place in the second; None where it is not there.
    """

    key: str
    before: tuple[Any, Origin] | None
    after: tuple[Any, Origin] | None

    def __str__(self) -> str:
        """One line: ``~`` changed, ``-`` only in the first, ``+`` only in the second."""
        if self.before is None or self.after is None:
            sign, (value, place) = ("+", self.after) if self.after else ("-", self.before or (None, ""))
            return f"{sign} {self.key}: {_shown(value)}  ({place})"
        (old, there), (new, here) = self.before, self.after
        return f"~ {self.key}: {_shown(old)} -> {_shown(new)}  ({there}, {here})"


def differences(first: Path, second: Path) -> list[Difference]:
    """Compare two files, value by value.

    Args:
        first: A YAML file, or the folder of a run.
        second: Another.

    Returns:
        The differences, in the order of the first file; what only the second has comes last.

    Raises:
        UsageError: A file is missing or no YAML mapping.
    """
    before, after = _flat(_tree(first)), _flat(_tree(second))
    keys = dict.fromkeys((*before, *after))
    return [
        Difference(key, before.get(key), after.get(key))
        for key in keys
        if key not in before or key not in after or before[key][0] != after[key][0]
    ]


def _tree(path: Path) -> Node:
    named = path / "config.yaml" if path.is_dir() else path
    return read_tree(find_config(str(named), "config diff"))


def _flat(tree: Node, key: str = "") -> dict[str, tuple[Any, Origin]]:
    """Give the values by key; a class alone is the same as a mapping with its ``class_path``."""
    found: dict[str, tuple[Any, Origin]] = {}
    if tree.is_mapping and tree.value:
        for name, node in tree.value.items():
            below = key if name in ("class_path", "init_args") else f"{key}.{name}" if key else str(name)
            found |= _flat(node, below)
    elif tree.is_list_of_nodes:
        seen: dict[str, int] = {}
        for node in tree.value:
            name = str(node.child("class_path").plain() if node.child("class_path") else node.plain())
            name = name.rpartition(".")[2]
            seen[name] = seen.get(name, 0) + 1
            found |= _flat(node, f"{key}.{name}" + (f"#{seen[name]}" if seen[name] > 1 else ""))
    else:
        found[key] = (tree.plain(), tree.origins[-1])
    return found


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
