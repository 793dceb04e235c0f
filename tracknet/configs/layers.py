"""Which files the words of a command name, in the order in which they apply."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tracknet.configs.library import find_config, find_piece, is_file, library
from tracknet.configs.tree import Node, read_tree, tree_of
from tracknet.errors import UsageError
from tracknet.trust import trusts_all

CONFIG_FLAGS = ("--config", "-c")
ENV_FLAG = "--env"
ENV_VARIABLE = "TRACKNET_ENV"
EXTENDS = "extends"
"""Key of a file that names the file or files it starts from."""

SHARED = "shared"
"""Key of a file that says it was made to be given away: its classes are limited to trusted packages."""

TRUSTED_FLAG = "--trusted-only"
TRUSTED_VARIABLE = "TRACKNET_TRUSTED_ONLY"

_PIECE = re.compile(r"\+(\w+)=(.+)")


@dataclass
class Layers:
    """What the words of a command name.

    Args:
        files: The files, the first the weakest, each with its tree.
        words: The words that name no files.
        trusted_only: Whether classes are limited to trusted packages.
    """

    files: list[tuple[Path, Node]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    trusted_only: bool = False


@dataclass(frozen=True)
class Start:
    """A configuration to start from: that of a checkpoint's run.

    Args:
        path: The file.
        text: YAML that is in it, where it is no YAML itself but a checkpoint. Its classes are limited to
            trusted packages, like all that a checkpoint names.
    """

    path: Path
    text: str | None = None


def read_layers(words: Sequence[str], start: Start | None = None) -> Layers:
    """Find the files that words name, and the files that those extend.

    The order is: base, environment, experiment, then pieces and ``--config`` files as they are written.
    ``base.yaml`` is the start where the first file named is a piece.

    Args:
        words: Words of a command line.
        start: A configuration to start from instead of ``base.yaml``.

    Returns:
        Files in order, the other words, and whether classes are limited: the flag ``--trusted-only`` says so,
        else the variable ``TRACKNET_TRUSTED_ONLY``, else a file with ``shared: true``.

    Raises:
        UsageError: A file is nowhere to be found, is no YAML mapping or extends itself.
    """
    named = _read_words(words)
    chain = _Chain()
    if start is not None and start.text is not None:
        chain.files.append((start.path, tree_of(start.text, start.path)))
    elif start is not None:
        chain.add(start.path)
    for path in [*named.experiments, *named.others]:
        chain.add(path)
    files = chain.files
    if named.starts_from_base and start is None and not any(path.name == "base.yaml" for path, _ in files):
        files = [*_Chain(find_config("configs/base.yaml")).files, *files]
    if named.env is not None:
        first = files[0][0] if files else None
        begins = first is not None and (first.name == "base.yaml" or (start and first == start.path))
        place = 1 if begins else 0
        files[place:place] = _Chain(named.env).files
    shared = [_is_shared(tree) for _, tree in files]
    shared.append(start is not None and start.text is not None and not trusts_all())
    return Layers(files, named.rest, any(shared) if named.limited is None else named.limited)


@dataclass
class _Named:
    """What words name, before any of it is read."""

    experiments: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    env: Path | None = None
    starts_from_base: bool = False
    limited: bool | None = None
    rest: list[str] = field(default_factory=list)


def _read_words(words: Sequence[str]) -> _Named:
    found = _Named(limited=_yes(os.environ.get(TRUSTED_VARIABLE) or "", TRUSTED_VARIABLE))
    left = iter(words)
    for word in left:
        flag, equals, value = word.partition("=")
        if piece := _PIECE.fullmatch(word):
            found.starts_from_base |= not found.others
            group, name = piece.groups()
            path = find_piece(group, name, f"+{group}={name}")
            if group == "env":
                found.env = path
            else:
                (found.experiments if group == "experiment" else found.others).append(path)
        elif flag == TRUSTED_FLAG:
            found.limited = _yes(value if equals else "true", TRUSTED_FLAG)
        elif flag in (*CONFIG_FLAGS, ENV_FLAG):
            name = value if equals else next(left, "")
            if not name:
                found.rest.append(flag)
            elif flag == ENV_FLAG:
                found.starts_from_base |= not found.others
                found.env = find_piece("env", name, f"{ENV_FLAG} {name}")
            else:
                found.others.append(find_config(name))
        else:
            found.rest.append(word)
    variable = os.environ.get(ENV_VARIABLE)
    if found.env is None and variable:
        found.env = find_piece("env", variable, f"{ENV_VARIABLE}={variable}")
    return found


class _Chain:
    """Files and those they extend, each before what extends it, and each of those once."""

    def __init__(self, *paths: Path) -> None:
        self.files: list[tuple[Path, Node]] = []
        for path in paths:
            self.add(path)

    def add(self, path: Path, extended: bool = False, by: tuple[Path, ...] = ()) -> None:
        """Add a file after the files it extends."""
        if path in by:
            names = " -> ".join(str(one) for one in (*by[by.index(path) :], path))
            raise UsageError(f"{path}: extends itself: {names}")
        if extended and any(path == there for there, _ in self.files):
            return
        tree = read_tree(path)
        for parent in _parents(path, tree.value.pop(EXTENDS, None)):
            self.add(parent, True, (*by, path))
        self.files.append((path, tree))


def _is_shared(tree: Node) -> bool:
    node = tree.value.pop(SHARED, None)
    if node is None:
        return False
    if not isinstance(node.value, bool):
        raise UsageError(f"{node.origins[-1]}: {SHARED}: expected true or false, found {node.plain()!r}")
    return node.value


def _yes(value: str, asked: str) -> bool | None:
    if not value:
        return None
    if value.lower() in ("1", "true", "yes"):
        return True
    if value.lower() in ("0", "false", "no"):
        return False
    raise UsageError(f"{asked}: expected true or false, found {value!r}")


def _parents(path: Path, node: Node | None) -> Iterator[Path]:
    if node is None:
        return
    names = node.value if isinstance(node.value, list) else [node.value]
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{node.origins[-1]}: {EXTENDS}: expected names of files, found {name!r}")
        yield _parent(path, name, f"{node.origins[-1]}: {EXTENDS}")


def _parent(path: Path, name: str, asked: str) -> Path:
    """Find an extended file: beside the file, in its folder ``configs``, then as ``--config`` does."""
    file = name if name.endswith((".yaml", ".yml")) else f"{name}.yaml"
    roots = [path.parent]
    roots += [parent for parent in path.resolve().parents if parent in (library(), library().resolve())][:1]
    roots += [parent for parent in path.parents if parent.name == "configs"][:1]
    roots.append(library() / path.parent.name)  # one's own experiment extends a packaged one
    for root in roots:
        if is_file(root / file) and (root / file) != path:
            return find_config(str(root / file))
    return find_config(file, asked)
