"""Values that refer to others: ``${trainer.max_epochs}``, ``${oc.env:DATA,default}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentParser, get_loader

from tracknet.configs.tree import Node, write_yaml
from tracknet.errors import UsageError

_WORDS = "words of the command"


def resolve(
    full: Node, files: Node, words: Sequence[str], left_out: Mapping[str, Node]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Put in the values that others refer to.

    Args:
        full: The whole configuration, with what environment variables and flags set.
        files: What the files alone set; they may refer to what a flag sets.
        words: Flags, which may refer to values too.
        left_out: What files set at the top for other commands; values may refer to it, too.

    Returns:
        The values of the whole, those of the files, and the flags.

    Raises:
        UsageError: A value refers to something that is not there.
    """
    values, merged = full.plain(), files.plain()
    text = f"{values}{merged}{words}"
    if "${" not in text:
        return values, merged, list(words)
    from omegaconf.errors import OmegaConfBaseException  # takes a while, and few configurations need it

    beside = {key: one.plain() for key, one in left_out.items() if key not in values and f"${{{key}" in text}
    document = write_yaml({**beside, **values, _WORDS: list(words)})
    try:
        values = _load(document)
    except OmegaConfBaseException as error:
        raise _explained(error, full) from error
    resolved = values.pop(_WORDS)
    values = {key: one for key, one in values.items() if key not in beside}
    return values, _filled(merged, values), resolved


def _load(document: str) -> dict[str, Any]:
    # jsonargparse has the loader of this mode from the first use on.
    ArgumentParser(parser_mode="omegaconf").parse_string("{}")
    loaded: dict[str, Any] = get_loader("omegaconf")(document)
    return loaded


_ABSENT = object()


def _filled(merged: Any, values: Any) -> Any:
    """Take the resolved values for those that refer to others; leave out those that a flag has removed."""
    if isinstance(merged, dict):
        there = values if isinstance(values, dict) else {}
        filled = {key: _filled(one, there.get(key, _ABSENT)) for key, one in merged.items()}
        return {key: one for key, one in filled.items() if one is not _ABSENT}
    if isinstance(merged, list):
        others = (
            values if isinstance(values, list) and len(values) >= len(merged) else [_ABSENT] * len(merged)
        )
        items = (_filled(*pair) for pair in zip(merged, others, strict=False))
        return [one for one in items if one is not _ABSENT]
    return values if isinstance(merged, str) and "${" in merged else merged


def _explained(error: Exception, full: Node) -> UsageError:
    key = str(getattr(error, "full_key", "") or "")
    reason = str(error).splitlines()[0]
    reason = reason.rpartition("resolving interpolation: ")[2].strip('"')
    nodes = dict(full.walk())
    parts = key.replace("[", ".").replace("]", "").split(".")
    # A list of plain values is one node.
    found = (nodes.get(".".join(parts[:end])) for end in (len(parts), len(parts) - 1))
    node = next((one for one in found if one is not None), None)
    place = f"{node.origins[-1]}: " if node is not None and node.origins else ""
    return UsageError(f"{place}{key}: {reason}" if not key.startswith(_WORDS) else reason)
