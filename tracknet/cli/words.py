"""The words of a training command: which YAML files they name, and where a setting was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from tracknet.configs import find_config
from tracknet.errors import UsageError, nearest

LINKS = {
    "frames": "frames",
    "outputs": "outputs",
    "needs_background": "background",
    "input_size": "size",
}
"""Attribute of the module -> parameter of the data: written once, at the model."""

FOUND_BY_LIGHTNING = ("last", "hpc")
"""Values of ``--ckpt_path`` that are no files: what a resumed training looks for in its own folder."""

_SET_AT = {"input_size": "model.input_size", "needs_background": "model.network.background"}
_CONFIG_FLAGS = ("--config", "-c")


def with_run_config(words: Sequence[str]) -> list[str]:
    """Name the configuration of the run that a checkpoint comes from, where no configuration is named.

    ``test --ckpt_path RUN/checkpoints/best.ckpt`` becomes ``test --config RUN/config.yaml --ckpt_path ...``.

    Args:
        words: Words of the command line, the command first.

    Returns:
        The words.

    Raises:
        UsageError: There is no such checkpoint.
    """
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag != "--ckpt_path" or not (value or place + 1 < len(words)):
            continue
        name = value or words[place + 1]
        if name in FOUND_BY_LIGHTNING or "://" in name or name.startswith("registry:"):
            continue
        path = Path(name)
        if not path.is_file():
            near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
            raise UsageError(f"--ckpt_path: no file {name!r}{nearest(name, near)}")
        config = path.parent.parent / "config.yaml"
        if not any(True for _ in _config_words(words)) and config.is_file():
            return [*words[:1], "--config", str(config), *words[1:]]
    return list(words)


def with_found_configs(words: Sequence[str]) -> list[str]:
    """Replace the names after ``--config`` by the files that `find_config` finds.

    Args:
        words: Words of the command line.

    Returns:
        The words with paths of existing files.

    Raises:
        UsageError: A configuration file is nowhere to be found.
    """
    found = list(words)
    for place, name in _config_words(words):
        path = str(find_config(name))
        found[place] = path if words[place] == name else f"{_CONFIG_FLAGS[0]}={path}"
    return found


def refuse_linked(words: Sequence[str]) -> None:
    """Refuse values that follow the model, which would otherwise be passed over without a word.

    Args:
        words: Words of the command line, as `with_found_configs` gives them.

    Raises:
        UsageError: An option or a configuration file sets such a value.
    """
    for attribute, parameter in LINKS.items():
        mend = f"it follows the model; set {_SET_AT.get(attribute, 'model.network.frames')} instead"
        for word in words:
            flag = word.partition("=")[0]
            if flag in (f"--data.{parameter}", f"--data.init_args.{parameter}"):
                raise UsageError(f"{flag}: {mend}")
        if place := written_at(f"data.{parameter}", words):
            raise UsageError(f"{place}: data.{parameter}: {mend}")


def written_at(key: str, words: Sequence[str]) -> str:
    """Say which configuration file sets a key, and in which line.

    Args:
        key: Key such as ``data.batch_size``; ``init_args`` may be left out.
        words: Words of the command line, as `with_found_configs` gives them.

    Returns:
        ``FILE:LINE`` of the last file that sets it; empty where a flag does, or nothing.
    """
    segments = [segment for segment in key.split(".") if segment != "init_args"]
    for word in words:
        flag = word.partition("=")[0].lstrip("-").removesuffix("+")
        if word.startswith("--") and [s for s in flag.split(".") if s != "init_args"] == segments:
            return ""
    for _, name in reversed(list(_config_words(words))):
        line = _line(yaml.compose(Path(name).read_text(encoding="utf-8")), segments)
        if line is not None:
            return f"{name}:{line}"
    return ""


def _config_words(words: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Give the places and the names of the configuration files."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if equals and flag in _CONFIG_FLAGS:
            yield place, value
        elif place and words[place - 1] in _CONFIG_FLAGS:
            yield place, word


def _line(node: yaml.Node | None, segments: list[str]) -> int | None:
    """Find the line of a key in a YAML file; lists, and ``init_args``, are looked through."""
    if isinstance(node, yaml.SequenceNode):
        return next((line for one in node.value if (line := _line(one, segments)) is not None), None)
    if not isinstance(node, yaml.MappingNode) or not segments:
        return None
    for key, value in node.value:
        if key.value == segments[0]:
            return key.start_mark.line + 1 if len(segments) == 1 else _line(value, segments[1:])
        if key.value == "init_args" and (line := _line(value, segments)) is not None:
            return line
    return None
