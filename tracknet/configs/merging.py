"""How a later configuration changes an earlier one."""

from __future__ import annotations

from typing import Any

from tracknet.configs.callback_lists import merge_callbacks, remove_callbacks
from tracknet.configs.fitting import misfits, same_class
from tracknet.configs.tree import Lost, Node
from tracknet.errors import UsageError

APPEND, REMOVE, REPLACE = "+", "-", "!"
"""What a key may end with: ``callbacks+`` appends, ``callbacks-`` removes, ``callbacks!`` replaces."""

CALLBACKS = "trainer.callbacks"


def merge(earlier: Node | None, later: Node, key: str, notes: list[str], root: Node | None = None) -> Node:
    """Merge two trees.

    Mappings merge key by key, lists and single values replace, callbacks merge by class, and a changed
    ``class_path`` keeps the ``init_args`` that the new class takes too.

    Args:
        earlier: What is there already.
        later: What changes it.
        key: Dotted key of both, empty at the top.
        notes: Receives a line for everything that was dropped.
        root: The whole earlier tree, which tells what kind of class belongs at a key.

    Returns:
        The merged tree; the given ones stay as they are.

    Raises:
        UsageError: A list is appended to something that is none, or it is unclear which callback is meant.
    """
    root = earlier if root is None else root
    if key == CALLBACKS and later.value is not None:
        return merge_callbacks(earlier, later, lambda a, b, at: merge(a, b, at, notes, root))
    if later.is_mapping:
        return _merge_mappings(_as_class(earlier, later), later, key, notes, root)
    before = [] if earlier is None else earlier.origins
    if isinstance(later.value, str) and earlier is not None and earlier.child("class_path") is not None:
        named = Node({"class_path": later}, later.origins)
        return _merge_mappings(earlier, named, key, notes, root)
    if later.is_list_of_nodes:
        items = [merge(None, one, f"{key}.{n}", notes, root) for n, one in enumerate(later.value)]
        return Node(items, before + later.origins)
    return Node(later.value, before + later.origins)


def _merge_mappings(earlier: Node | None, later: Node, key: str, notes: list[str], root: Node | None) -> Node:
    merged: dict[Any, Node] = {}
    lost: list[Lost] = []
    if earlier is not None and earlier.is_mapping:
        merged, lost = _with_class(earlier, later, key, notes, root)
    for name, value in later.value.items():
        target, operator = _split(name)
        at = f"{key}.{target}" if key else str(target)
        there = merged.get(target)
        if operator == REPLACE:
            whole = merge(None, value, at, notes, root)
            merged[target] = Node(whole.value, [*(there.origins if there else []), *value.origins])
        elif operator == APPEND:
            merged[target] = append(there, value, at, notes)
        elif operator == REMOVE:
            if at != CALLBACKS:
                raise UsageError(f"{value.origins[-1]}: {name}: only {CALLBACKS} can be removed from a list")
            merged[target] = remove_callbacks(there, value, notes)
        else:
            merged[target] = merge(there, value, at, notes, root)
    before = [] if earlier is None else earlier.origins
    return Node(merged, before + later.origins, _still_lost(lost, merged, later))


def _still_lost(lost: list[Lost], merged: dict[Any, Node], later: Node) -> list[Lost]:
    """Leave out what the class that is chosen now has been given anew, be it one by one or as a whole."""
    named, arguments, whole = merged.get("class_path"), merged.get("init_args"), later.child("init_args")
    if not lost or named is None:
        return lost
    anew = f"init_args{REPLACE}" in later.value or (whole is not None and not whole.is_mapping)
    there = arguments.value if arguments is not None and arguments.is_mapping else {}
    return [
        one for one in lost if not ((anew or one.name in there) and same_class(named.value, one.class_path))
    ]


def _split(name: Any) -> tuple[Any, str]:
    if isinstance(name, str) and len(name) > 1 and name[-1] in (APPEND, REMOVE, REPLACE):
        return name[:-1].rstrip(), name[-1]
    return name, ""


def _as_class(earlier: Node | None, later: Node) -> Node | None:
    """Write a class that is there by its name alone in full, so that ``init_args`` can be added."""
    named = earlier is not None and isinstance(earlier.value, str)
    if earlier is not None and named and {"class_path", "init_args"} & later.value.keys():
        return Node({"class_path": earlier}, earlier.origins)
    return earlier


def _with_class(
    earlier: Node, later: Node, key: str, notes: list[str], root: Node | None
) -> tuple[dict[Any, Node], list[Lost]]:
    """Give the earlier children, without those that the class named later does not take, and all of those."""
    kept = dict(earlier.value)
    old, new = kept.get("class_path"), later.value.get("class_path")
    if old is None or new is None or same_class(old.value, new.value):
        return kept, earlier.lost
    kept.pop("dict_kwargs", None)
    arguments = kept.get("init_args")
    if arguments is None or not arguments.is_mapping:
        return kept, earlier.lost
    strangers = misfits(root, key, str(new.value), arguments.plain())
    lost, note = list(earlier.lost), ""
    if strangers:
        kept["init_args"] = Node(
            {name: one for name, one in arguments.value.items() if name not in strangers}, arguments.origins
        )
        # That a setting without a value is gone changes nothing: the configuration of a run holds them all.
        told = [(name, one) for name in strangers if (one := arguments.value[name]).value is not None]
        dropped = ", ".join(f"{name} (from {one.origins[-1]})" for name, one in told)
        if dropped:
            note = f"{new.origins[-1]}: {key} is now {new.value}, which does not take {dropped}: dropped"
            notes.append(note)
        lost += [Lost(str(old.value), name, arguments.value[name], note) for name in strangers]
    return kept, lost


def take_back(tree: Node, source: str, notes: list[str]) -> None:
    """Give classes back what a file has set of them, where other classes stood in between.

    A run's configuration that is followed by the experiment it comes from is such a case: the experiment
    begins with a file that chooses another logger.

    Args:
        tree: The merged tree; changed in place.
        source: The file.
        notes: Loses the lines about what is there again.
    """
    for _, node in tree.walk():
        named = node.child("class_path")
        for one in node.lost:
            if named is None or one.node.origins[-1].source != source:
                continue
            if same_class(named.value, one.class_path):
                arguments = node.value.get("init_args")
                if arguments is None or not arguments.is_mapping:
                    arguments = node.value["init_args"] = Node({}, list(one.node.origins))
                if one.name not in arguments.value:
                    arguments.value[one.name] = one.node
                    notes[:] = [note for note in notes if note != one.note]


def append(there: Node | None, value: Node, key: str, notes: list[str]) -> Node:
    """Append to a list.

    Args:
        there: The list that is there, if there is one.
        value: An item, or a list of items.
        key: Dotted key of the list.
        notes: Receives a line for everything that was dropped.

    Returns:
        The longer list.

    Raises:
        UsageError: What is there is no list.
    """
    added = merge(None, value, key, notes)
    if there is None or there.value is None:
        there = Node([], [])
    if not isinstance(there.value, list):
        if key != CALLBACKS:
            raise UsageError(f"{value.origins[-1]}: {key}+: {there.origins[-1]} has no list to append to")
        there = Node([there], there.origins)
    more = added.value if isinstance(added.value, list) else [added]
    items = [*there.value, *more]
    if any(isinstance(one, Node) for one in items):
        items = [one if isinstance(one, Node) else Node(one, list(added.origins)) for one in items]
    return Node(items, there.origins + value.origins)
