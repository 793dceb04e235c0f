"""What a YAML file must be before its values are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tracknet.errors import UsageError

_MOST_VALUES = 100_000
_NAMES = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")  # what keys are in YAML


@contextmanager
def yaml_faults(path: Path) -> Iterator[None]:
    """Report what cannot be read of a YAML file.

    Args:
        path: The file, for the message.

    Raises:
        UsageError: The block failed because the file cannot be read, or is not YAML.
    """
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise UsageError(f"{path}:{place}: not valid YAML: {error.problem}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: not valid YAML: its lists or mappings are nested too deeply") from error
    # A value such as the date 2026-13-45 is a ValueError.
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def well_formed(path: Path) -> Path:
    """Look at the shape of a file.

    Args:
        path: The file.

    Returns:
        The same path.

    Raises:
        UsageError: It cannot be read, is not YAML or no mapping, has a key twice, or refers to itself.
    """
    with yaml_faults(path):
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{path}: expected keys such as trainer and model, found {_found(node)}")
        if _count(path, node, {}) > _MOST_VALUES:
            raise UsageError(
                f"{path}: its anchors (&) and aliases (*) unfold to more than {_MOST_VALUES:,} values; "
                "write out what is meant"
            )
        for key, _ in node.value:
            if key.tag not in _NAMES:
                raise UsageError(f"{_place(path, key)}: expected the name of a key, found {_found(key)}")
        _refuse_repeated(path, node)
    return path


def _found(node: yaml.Node | None) -> str:
    if node is None:
        return "nothing"
    if isinstance(node, yaml.ScalarNode):
        return f"{node.value!r}, which YAML does not take for text" if node.tag not in _NAMES else "text"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _count(path: Path, node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a tree with all aliases unfolded; refuses what holds itself."""
    if id(node) in known:
        if not known[id(node)]:
            raise UsageError(f"{_place(path, node)}: this anchor (&) holds an alias (*) of itself")
        return known[id(node)]
    known[id(node)] = 0
    below: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        below = node.value
    elif isinstance(node, yaml.MappingNode):
        below = [one for pair in node.value for one in pair]
    known[id(node)] = 1 + sum(_count(path, one, known) for one in below)
    return known[id(node)]


def _refuse_repeated(path: Path, node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_repeated(path, one)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{_place(path, key)}: expected the name of a key, found {_found(key)}")
            line = key.start_mark.line + 1
            if key.value in seen and key.value != "<<":
                raise UsageError(f"{_place(path, key)}: {key.value!r} is in line {seen[key.value]} already")
            seen[str(key.value)] = line
            _refuse_repeated(path, value)


def _place(path: Path, node: yaml.Node) -> str:
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
