"""Type hints in words: what is allowed at a key."""

from __future__ import annotations

import datetime
import enum
import inspect
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentParser

from tracknet.configs.options import choosable, members
from tracknet.errors import nearest

IN_WORDS = {
    "NoneType": "null",
    "bool": "true or false",
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number from 0",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number from 0",
    "ClosedUnitInterval": "a number from 0 to 1",
    "OpenUnitInterval": "a number between 0 and 1",
    "JpegQuality": "a whole number from 1 to 100",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "dict": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "collections.abc.Iterable": "a list",
    "Tensor": "",
}
"""What types expect, in words."""


def accepts(hint: Any, value: object) -> bool:
    """Say whether jsonargparse takes a value of a configuration file for a type hint.

    Args:
        hint: The type hint.
        value: The value, as YAML gives it.

    Returns:
        Whether it does.
    """
    if value is None:
        # jsonargparse takes null for "not given"; the class that is built would not.
        return hint is Any or type(None) in members(hint)
    try:
        _judge(hint).parse_object({"value": value})
    except Exception:
        # What fails inside, for example in the constructor of a registered type, is a refusal too.
        return False
    return True


def in_words(hint: Any) -> str:
    """Say what a type hint allows.

    Args:
        hint: The type hint.

    Returns:
        Such as ``a whole number above 0 or null``, ``one of refuse, mask`` or ``a list of 2``.
    """
    named = choices(hint)
    words = [f"one of {', '.join(named)}"] if named else []
    words += [_one(part) for part in members(hint) if get_origin(part) is not Literal]
    return " or ".join(dict.fromkeys(word for word in words if word))


def choices(hint: Any) -> list[str]:
    """Give the values of the literals and enumerations in a type hint."""
    found: list[str] = []
    for part in members(hint):
        if get_origin(part) is Literal:
            found += [str(value) for value in get_args(part)]
        elif inspect.isclass(part) and issubclass(part, enum.Enum):
            found += [member.name for member in part]
    return list(dict.fromkeys(found))


def refusal(hint: Any, value: object) -> str:
    """Say that a value is none that a type hint allows.

    Args:
        hint: The type hint.
        value: The value, as YAML gives it.

    Returns:
        What is expected, what was found, and the nearest valid value.
    """
    hint, value = _culprit(hint, value)
    shown = str(value) if isinstance(value, (str, int, float, list, tuple)) else _kind(value)
    if isinstance(value, bool) or value is None:
        shown = {True: "true", False: "false", None: "null"}[value]
    said = f"expected {in_words(hint)}, found {shown!r}" + nearest(shown, choices(hint))
    if not choices(hint) and "text" in in_words(hint) and isinstance(value, (int, float)):
        said += to_quote(shown)
    return said


def to_quote(text: str) -> str:
    """Say how to write a number that is to be text; a list on the command line has quotes already."""
    return f' (quote text that looks like a number, within the quotes of the shell, too: "{text}")'


def _culprit(hint: Any, value: object) -> tuple[Any, object]:
    """Go down to the element of a list that is refused, where the rest of it is right."""
    if isinstance(value, (list, tuple)):
        for part in members(hint):
            inner = get_args(part)
            if get_origin(part) is list and inner:
                wrong = [one for one in value if not accepts(inner[0], one)]
                return (inner[0], wrong[0]) if wrong else (hint, value)
            if get_origin(part) is tuple and len(inner) == len(value) and Ellipsis not in inner:
                pairs = zip(inner, value, strict=True)
                return next(((one, v) for one, v in pairs if not accepts(one, v)), (hint, value))
    return hint, value


def _one(part: Any) -> str:
    origin = get_origin(part)
    if origin is tuple:
        inner = get_args(part)
        return "a list" if Ellipsis in inner else f"a list of {len(inner)}"
    if origin is dict:
        return "a mapping"
    if origin is not None:
        return "a list"
    if not isinstance(part, type) or choices(part):
        return "" if isinstance(part, type) else str(part).replace("typing.", "")
    if part is datetime.timedelta:
        return "a length of time as DD:HH:MM:SS"
    if issubclass(part, Path):
        return "a path"
    if choosable(part):
        return f"a {part.__name__}"
    return IN_WORDS.get(part.__name__, part.__name__)


def _kind(value: object) -> str:
    return "a mapping" if isinstance(value, dict) else type(value).__name__


@cache
def _judge_of(hint: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    return parser


def _judge(hint: Any) -> ArgumentParser:
    try:
        return _judge_of(hint)
    except TypeError:  # a hint that cannot be hashed
        return _judge_of.__wrapped__(hint)
