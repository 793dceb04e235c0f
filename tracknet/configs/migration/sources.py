"""Which old configuration the words of a command name, recognised by its contents."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from jsonargparse import get_loader

from tracknet.configs.composition import COMMAND_LINE
from tracknet.configs.library import find_config
from tracknet.configs.migration import legacy, tracknetv3, wasb
from tracknet.configs.tree import Node, read_tree
from tracknet.errors import UsageError, first_few, nearest

Source = Literal["legacy", "tracknetv3", "wasb"]
"""What configurations are converted from."""

SOURCES: tuple[Source, ...] = get_args(Source)

_SUFFIXES = (".yaml", ".yml")
_OURS = {"trainer", "class_path", "seed_everything", "optimizer.class_path"}
_CLASS = {"class_path", "init_args"}


@dataclass
class Found:
    """An old configuration.

    Attributes:
        source: Where it is from.
        values: Nested values, by section or group; flags and their values for ``tracknetv3``.
        places: Dotted key -> where it was written.
        filed: Sections of which files gave values.
    """

    source: Source
    values: dict[str, Any]
    places: dict[str, str] = field(default_factory=dict)
    filed: frozenset[str] = frozenset()


def read_old(words: Sequence[str], source: Source | None = None) -> Found:
    """Read an old configuration.

    Args:
        words: Files, and values as ``KEY=VALUE`` that count more, for WASB also ``GROUP=NAME``, which names
            the file of a group; or a command line of TrackNetV3's ``train.py``, as words or as one.
        source: Where it is from; default what the contents tell.

    Returns:
        The configuration.

    Raises:
        UsageError: A file is missing or wrong, or is of no known source, or several sources are mixed.
    """
    if not words:
        raise UsageError("migrate: name the old files, or give the old command line in quotes")
    if source in (None, "tracknetv3") and (command := _command(words)) is not None:
        return Found("tracknetv3", tracknetv3.read_flags(command))
    named = [word for word in words if "=" not in word or Path(word).is_file()]
    overrides = [word for word in words if word not in named]
    if not named:
        source = source or "legacy"
    parts = [_section(Path(name), source) for name in named]
    kinds = {kind for kind, _ in parts}
    if len(kinds) > 1:
        raise UsageError(f"migrate: the files are of different sources: {' and '.join(sorted(kinds))}")
    found = Found(next(iter(kinds)) if kinds else source or "legacy", {})
    for name, (_, section) in zip(named, parts, strict=True):
        _add(found, Path(name), section)
    if found.source == "wasb":
        overrides = _choose(found, named, [word.lstrip("+") for word in overrides])
        for name in named:
            _follow_defaults(found, Path(name))
    _override(found, overrides)
    return found


def read_sections(files: Mapping[str, Path], overrides: Sequence[str]) -> Found:
    """Read a configuration of the older tracknet whose sections are known.

    Args:
        files: File of each section.
        overrides: Values as ``KEY=VALUE`` that count more.

    Returns:
        The configuration.

    Raises:
        UsageError: A file is no YAML mapping.
    """
    found = Found("legacy", {})
    for section, path in files.items():
        _add(found, find_config(str(path)), section)
    _override(found, overrides)
    return found


def _override(found: Found, overrides: Sequence[str]) -> None:
    found.filed = frozenset(key for key, value in found.values.items() if value)
    for word in overrides:
        key, _, text = word.partition("=")
        _put(found.values, key.split("."), get_loader("yaml")(text))
        found.places[key] = COMMAND_LINE
    found.values = _resolved(found)


def _command(words: Sequence[str]) -> list[str] | None:
    """Give the words of a command line of ``train.py``, if they are one or name a script with one."""
    if len(words) == 1 and Path(words[0]).is_file():
        if Path(words[0]).suffix in _SUFFIXES:
            return None
        try:
            return tracknetv3.command_in(Path(words[0]).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{words[0]}: cannot be read: {error}") from error
    split = shlex.split(words[0]) if len(words) == 1 else list(words)
    called = any(Path(word).name == "train.py" for word in split)
    return split if called or any(word.startswith("--model_name") for word in split) else None


def _section(path: Path, source: Source | None) -> tuple[Source, str]:
    """Say whose file it is, and of which section; the section is empty for a merged file."""
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.suffix in _SUFFIXES)
        inside = first_few([str(one) for one in files], 3)
        expected = f"the files in it: {inside}" if inside else "YAML files, of which it holds none"
        raise UsageError(f"migrate: {path} is a folder; expected {expected}")
    if not path.is_file():
        near = [str(one) for one in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise UsageError(f"migrate: no file {str(path)!r}{nearest(str(path), near)}")
    values = _read(find_config(str(path))).plain()
    keys = set(values)
    scores: dict[tuple[Source, str], float] = {}
    if source in (None, "legacy"):
        nested = {key for key in keys & {*legacy.SECTIONS, "runtime"} if isinstance(values[key], Mapping)}
        scores["legacy", ""] = 2.0 * len(nested) - 3.0 * len(
            keys & {"dataset", "dataloader", "runner", "defaults"}
        )
        for section in legacy.SECTIONS:
            known = {rule.old.split(".")[1] for rule in legacy.RULES if rule.old.startswith(f"{section}.")}
            scores["legacy", section] = len(keys & known) + 0.5 * (path.parent.name == section)
    if source in (None, "wasb"):
        main = {"defaults", "hydra"} | {key for key in wasb.GROUPS if isinstance(values.get(key), Mapping)}
        scores["wasb", ""] = 1.5 * len(keys & main)
        for group in wasb.GROUPS:
            known = {rule.old.split(".")[1] for rule in wasb.RULES if rule.old.startswith(f"{group}.")}
            telling = wasb.GROUPS[group] & keys
            scores["wasb", group] = (
                len(keys & known) * bool(telling) + len(telling) + 1.5 * (path.parent.name == group)
            )
    best = max(scores, key=lambda one: scores[one])
    if scores[best] < 1:
        listed = ", ".join(map(str, sorted(keys, key=str)[:5]))
        raise UsageError(
            f"{path}: not recognised by its keys ({listed}); known are data, model and training files of the "
            "older tracknet, files of WASB and command lines of TrackNetV3 (--from legacy, wasb, tracknetv3)"
        )
    return best


def _add(found: Found, path: Path, section: str) -> None:
    tree = _read(path)
    values = tree.plain()
    _merge(found.values, {section: values} if section else values)
    for key, node in tree.walk(section):
        found.places[key] = str(node.origins[-1])


def _read(path: Path) -> Node:
    """Read a file, which must be none of ours."""
    tree = read_tree(path)
    values = tree.plain()
    classes = any(isinstance(below, Mapping) and below.keys() & _CLASS for below in values.values())
    if classes or values.keys() & _OURS:
        raise UsageError(f"{path}: is no old configuration; tracknet fit --config takes it as it is")
    return tree


def _follow_defaults(found: Found, path: Path) -> None:
    """Read the files that a main file of Hydra names, where they lie beside it and are not given."""
    for entry in found.values.get("defaults") or []:
        for group, name in entry.items() if isinstance(entry, Mapping) else ():
            file = path.parent / str(group) / f"{name}.yaml"
            if group in wasb.GROUPS and group not in found.values and file.is_file():
                _add(found, find_config(str(file)), str(group))


def _choose(found: Found, named: Sequence[str], words: Sequence[str]) -> list[str]:
    """Read the files that ``GROUP=NAME`` names, each in place of what is given of its group.

    Returns:
        The other words.
    """
    others = []
    for word in words:
        group, _, name = word.partition("=")
        if group not in wasb.GROUPS:
            others.append(word)
            continue
        files = [Path(one).parent / group / f"{name}.yaml" for one in named]
        file = next((path for path in files if path.is_file()), None)
        if file is None:
            known = [path.stem for one in files for path in one.parent.glob("*.yaml")]
            expected = " or ".join(map(str, files)) or "a main file, beside which it lies"
            raise UsageError(f"migrate: {word}: expected {expected}{nearest(name, known)}")
        found.values.pop(group, None)
        _add(found, find_config(str(file)), group)
    return others


def _merge(earlier: dict[str, Any], later: Mapping[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, Mapping) and isinstance(earlier.get(key), dict):
            _merge(earlier[key], value)
        else:
            earlier[key] = dict(value) if isinstance(value, Mapping) else value


def _put(values: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        if not isinstance(values.get(name), dict):
            values[name] = {}
        values = values[name]
    below = values.get(names[-1])
    if isinstance(below, dict) and below and not (value is None or isinstance(value, Mapping)):
        key, first = ".".join(names), next(iter(below))
        raise UsageError(f"migrate: {key}={value}: {key} has settings; expected one, as {key}.{first}=VALUE")
    values[names[-1]] = value


def _resolved(found: Found) -> dict[str, Any]:
    """Resolve references of OmegaConf, such as ``${data.root}``; those of Hydra itself stay."""
    own = {key: value for key, value in found.values.items() if key != "hydra"}
    if "${" not in str(own):
        return found.values
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    around = legacy.around(found.filed) if found.source == "legacy" else {}
    try:
        tree: Any = OmegaConf.merge(around, own)
        # Only what was given: the rest is there to be referred to, and may itself refer to nothing.
        resolved = {key: _plain(tree[key], value) for key, value in own.items()}
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        place = found.places.get(key, "")
        raise UsageError(
            f"migrate: {f'{place}: ' if place else ''}{key}: {str(error).splitlines()[0]}"
        ) from error
    return {**found.values, **resolved}


def _plain(node: Any, given: Any) -> Any:
    """Give the resolved values of what was given."""
    if isinstance(given, Mapping):
        return {key: _plain(node[key], value) for key, value in given.items()}
    from omegaconf import OmegaConf

    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
