"""Types and defaults in words, as the messages of the commands have them."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from tracknet.configs.wording import in_words

_PLAIN = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


def words_of(action: argparse.Action) -> str:
    """Say what may stand at an option."""
    hint = getattr(action, "_typehint", None)
    if hint is not None:
        return in_words(hint).removesuffix(" or null")
    if action.choices:
        return f"one of {', '.join(map(str, action.choices))}"
    if action.nargs == 0:
        return ""
    kind: Any = action.type
    word = _PLAIN.get(kind) or (in_words(kind) if isinstance(kind, type) else "")
    return f"{word}, several" if action.nargs in ("+", "*", 2) else word


def shown(value: Any) -> str:
    """Write a default as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(shown(one) for one in value)}]"
    if inspect.isroutine(value) or inspect.isclass(value):
        return str(value.__name__)
    if isinstance(value, float) and value == int(value) and abs(value) < 1e6:
        return str(value)
    return str(value) or '""'
