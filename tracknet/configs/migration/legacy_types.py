"""What values of the older tracknet had to be, which checked none of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Read = Callable[[Any], Any]
"""Gives a value as it was meant; raises ValueError with what was expected."""


def number(value: Any) -> int | float:
    """Read a number from 0."""
    return _number(value, "a number from 0", lambda given: 0 <= given < math.inf)


def positive(value: Any) -> int | float:
    """Read a number above 0."""
    return _number(value, "a number above 0", lambda given: 0 < given < math.inf)


def factor(value: Any) -> int | float:
    """Read a number above 0 that changes what it multiplies or divides."""
    return _number(value, "a number above 0 other than 1", lambda given: 0 < given < math.inf and given != 1)


def share(value: Any) -> int | float:
    """Read a number from 0 to 1."""
    return _number(value, "a number from 0 to 1", lambda given: 0 <= given <= 1)


def whole(least: int) -> Read:
    """Make what reads whole numbers.

    Args:
        least: The smallest.
    """
    expected = f"a whole number from {least}"
    return lambda value: int(_number(value, expected, lambda given: given == given // 1 and given >= least))


def _number(value: Any, expected: str, fits: Callable[[float], bool]) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits(value):
        raise ValueError(expected)
    return value


def flag(value: Any) -> bool:
    """Read true or false; null was as good as false."""
    if value in (0, 1, None):
        return bool(value)
    raise ValueError("true or false")


def text(value: Any) -> str:
    """Read text, such as a path; a number is meant as its digits."""
    if isinstance(value, (bool, list, dict)) or value is None or value == "":
        raise ValueError("text")
    return str(value)


def names(value: Any) -> list[str]:
    """Read a list of names; one alone is a list of one, and null an empty one."""
    listed = [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    try:
        return [text(one) for one in listed]
    except ValueError:
        raise ValueError("a list of names") from None


def wholes(count: int) -> Read:
    """Make what reads lists of whole numbers from 1.

    Args:
        count: How many.
    """

    def read(value: Any) -> list[int]:
        try:
            if isinstance(value, (list, tuple)) and len(value) == count:
                return [whole(1)(one) for one in value]
        except ValueError:
            pass
        raise ValueError(f"{count} whole numbers from 1")

    return read


def size(value: Any) -> list[int]:
    """Read the width and the height of pictures."""
    try:
        made: list[int] = wholes(2)(value)
        return made
    except ValueError:
        raise ValueError("[width, height], whole numbers from 1") from None


def one_of(*choices: str) -> Read:
    """Make what reads one of several words.

    Args:
        choices: The words.
    """

    def read(value: Any) -> Any:
        if value not in choices:
            raise ValueError(" or ".join(choices))
        return value

    return read


def null_or(read: Read) -> Read:
    """Make what reads null, too.

    Args:
        read: What reads the other values.
    """

    def also(value: Any) -> Any:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise ValueError(f"{error}, or null") from None

    return also


def or_0(read: Read) -> Read:
    """Make what reads null as 0, which was off.

    Args:
        read: What reads the other values.
    """

    def also(value: Any) -> Any:
        return read(0 if value is None else value)

    return also


def seed(value: Any) -> Any:
    """Read a seed; null or false is none."""
    try:
        return False if value is None or value is False else whole(0)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or null") from None
