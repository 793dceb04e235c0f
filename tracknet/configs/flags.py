"""What flags set, shown in the tree of a configuration; the parser is the one to judge them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml
from jsonargparse import get_loader

from tracknet.configs.merging import APPEND, CALLBACKS, append, merge
from tracknet.configs.tree import Node, Origin, plant

_NOT_SETTINGS = ("print_config", "help")
_OF_A_CLASS = ("class_path", "init_args", "dict_kwargs")


def joined(words: Sequence[str]) -> Iterator[str]:
    """Write ``--key value`` as ``--key=value``.

    Args:
        words: Words of a command line.

    Yields:
        The words, flags with their values.
    """
    place = 0
    while place < len(words):
        word = words[place]
        value = words[place + 1 : place + 2]
        takes_one = word.startswith("--") and "=" not in word and word[2:] not in _NOT_SETTINGS
        if takes_one and value and not value[0].startswith("--"):
            word = f"{word}={value[0]}"
            place += 1
        yield word
        place += 1


def overlay(tree: Node, word: str, origin: Origin, notes: list[str]) -> Node:
    """Show in a tree what a flag sets.

    Args:
        tree: The configuration so far; it stays as it is.
        word: A word such as ``--optimizer.lr=3e-4``; others change nothing.
        origin: Where it was written.
        notes: Receives a line for everything that is dropped.

    Returns:
        The changed tree.
    """
    flag, equals, text = word.partition("=")
    key = flag[2:]
    if not equals or not flag.startswith("--") or key in _NOT_SETTINGS or key.endswith(".help"):
        return tree
    try:
        value = get_loader("yaml")(text) if text else ""
    except yaml.YAMLError:
        value = text
    if key == CALLBACKS and isinstance(value, (str, list)):
        # As the parser does, one name is a list of one, and what follows is of the last one.
        items = value if isinstance(value, list) else [value]
        value = [{"class_path": one} if isinstance(one, str) else one for one in items]
    return _set(tree, key.split("."), plant(value, origin), "", notes, tree)


def _set(node: Node | None, keys: list[str], value: Node, at: str, notes: list[str], root: Node) -> Node:
    if not keys:
        listed = node is not None and isinstance(node.value, list)
        if node is None or listed or isinstance(value.value, list):
            # Unlike a file, a flag replaces the callbacks.
            return Node(value.value, [*(node.origins if node else []), *value.origins])
        return merge(node, value, at, notes, root)
    name, rest = keys[0], keys[1:]
    if node is not None and node.is_list_of_nodes:
        last = _set(node.value[-1], keys, value, f"{at}.{len(node.value) - 1}", notes, root)
        return Node([*node.value[:-1], last], node.origins)
    if node is None or not node.is_mapping:
        named = node is not None and isinstance(node.value, str)
        node = Node({"class_path": node}, node.origins) if node is not None and named else Node({})
    if "class_path" in node.value and name not in _OF_A_CLASS:
        name, rest = "init_args", keys
    below = f"{at}.{name}" if at else name
    if not rest and name.endswith(APPEND):
        name = name[: -len(APPEND)]
        changed = append(node.value.get(name), value, below[: -len(APPEND)], notes)
    else:
        changed = _set(node.value.get(name), rest, value, below, notes, root)
    return Node({**node.value, name: changed}, node.origins)
