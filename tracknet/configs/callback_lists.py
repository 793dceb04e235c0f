"""Callbacks of a later file add to or change those of an earlier one, instead of wiping them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracknet.configs.fitting import same_class
from tracknet.configs.tree import Node
from tracknet.errors import UsageError

TOLD_APART_BY = ("filename", "monitor")
"""What tells several callbacks of one class apart, such as the ModelCheckpoints ``best`` and ``last``."""

_Merge = Callable[[Node | None, Node, str], Node]


def merge_callbacks(earlier: Node | None, later: Node, merge: _Merge) -> Node:
    """Merge two lists of callbacks.

    A callback changes the earlier one of its class, in its place; if there are several of the class, the one
    of the same ``filename``, else the one of the same ``monitor``. Others are added at the end.

    Args:
        earlier: The list that is there, or nothing.
        later: One callback or a list of them, as names or with ``class_path`` and ``init_args``.
        merge: Merges two nodes at a key.

    Returns:
        The merged list.

    Raises:
        UsageError: It is unclear which of several callbacks of a class is meant.
    """
    there = [merge(None, one, "") for one in _items(earlier)]
    taken: set[int] = set()
    added: list[Node] = []
    for one in _items(later):
        place = None if earlier is None else _place(there, one, taken)
        if place is None:
            added.append(merge(None, one, ""))
        else:
            taken.add(place)
            there[place] = merge(there[place], _shortened(there[place], one), f"trainer.callbacks.{place}")
    return Node(there + added, [*(earlier.origins if earlier else []), *later.origins])


def remove_callbacks(earlier: Node | None, later: Node, notes: list[str]) -> Node:
    """Remove callbacks from a list.

    Args:
        earlier: The list that is there, or nothing.
        later: Class names, or ``class_path`` with the ``init_args`` that a callback must have to be removed.
        notes: Receives a line for every class that is not in the list.

    Returns:
        The rest of the list.
    """
    left = _items(earlier)
    for wanted in _items(later):
        rest = [one for one in left if not _fits(one, wanted)]
        if len(rest) == len(left):
            notes.append(f"{wanted.origins[-1]}: there is no {_describe(wanted)} to remove")
        left = rest
    return Node(left, [*(earlier.origins if earlier else []), *later.origins])


def _items(node: Node | None) -> list[Node]:
    """Give the callbacks of a node, each as a mapping with ``class_path``."""
    if node is None or node.value is None:
        return []
    many = node.value if isinstance(node.value, list) else [node]
    items = [one if isinstance(one, Node) else Node(one, list(node.origins)) for one in many]
    return [Node({"class_path": one}, one.origins) if isinstance(one.value, str) else one for one in items]


def _class(one: Node) -> Any:
    named = one.child("class_path")
    return None if named is None else named.value


def _argument(one: Node, name: str) -> Any:
    found = one.child("init_args", name)
    return None if found is None else found.value


def _place(there: list[Node], one: Node, taken: set[int]) -> int | None:
    """Find the earlier callback that a later one changes."""
    alike = [
        place
        for place, old in enumerate(there)
        if place not in taken and same_class(_class(old), _class(one))
    ]
    for name in TOLD_APART_BY:
        given = _argument(one, name)
        same = [place for place in alike if _argument(there[place], name) == given]
        if given is not None and same:
            return same[0]
        if given is not None and name == "filename":
            return None
    if len(alike) > 1:
        known = " and ".join(_describe(there[place]) for place in alike)
        raise UsageError(
            f"{one.origins[-1]}: trainer.callbacks: which one is meant, {known}? Name its filename, "
            "or add one more under the key callbacks+"
        )
    return alike[0] if alike else None


def _shortened(old: Node, new: Node) -> Node:
    """Leave the class as it was named first where the later name is only the shorter one."""
    if "." in str(_class(old)) and "." not in str(_class(new)):
        return Node({key: one for key, one in new.value.items() if key != "class_path"}, new.origins)
    return new


def _fits(one: Node, wanted: Node) -> bool:
    if not same_class(_class(one), _class(wanted)):
        return False
    arguments = wanted.child("init_args")
    given = arguments.value if arguments is not None and arguments.is_mapping else {}
    return all(_argument(one, name) == value.value for name, value in given.items())


def _describe(one: Node) -> str:
    named = [f"{name}={_argument(one, name)}" for name in TOLD_APART_BY if _argument(one, name) is not None]
    short = str(_class(one)).rpartition(".")[2]
    return f"{short}({', '.join(named[:1])})" if named else short
