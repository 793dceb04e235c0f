"""Failures that are reported as one clear message instead of a traceback."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence


class TrackNetError(Exception):
    """Something that the user can mend: the command ends with this message and exit code 1."""

    exit_code = 1


class UsageError(TrackNetError):
    """A wrong option, key or value: the command ends with this message and exit code 2."""

    exit_code = 2


def printable(text: str) -> str:
    r"""Give a name as it can be written anywhere: file names may hold bytes that are no text.

    Args:
        text: The name as Python has it.

    Example:
        >>> printable("court\udce9")
        'court\\xe9'
    """
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def refuse_second_import() -> None:
    """Refuse to begin while a process that multiprocessing has just started imports the script of its parent.

    Raises:
        UsageError: It does so: the script would do everything once more in each process that it starts.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise UsageError(
            "a process that this script starts imports the script: put what it does behind "
            'if __name__ == "__main__":'
        )


def reasons(error: BaseException) -> Iterator[BaseException]:
    """Give an exception, what it was raised because of, and so on down to the first one.

    Args:
        error: The last of them.

    Example:
        >>> try:
        ...     try:
        ...         1 / 0
        ...     except ZeroDivisionError as error:
        ...         raise ValueError from error
        ... except ValueError as error:
        ...     print([type(reason).__name__ for reason in reasons(error)])
        ['ValueError', 'ZeroDivisionError']
    """
    reason: BaseException | None = error
    while reason is not None:
        yield reason
        reason = reason.__cause__ or reason.__context__


def first_few(names: Sequence[str], most: int, between: str = ", ") -> str:
    """List the first few of many names.

    Args:
        names: All of them.
        most: How many to list.
        between: What stands between two.

    Example:
        >>> first_few(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    return between.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def nearest(word: str, options: Iterable[str]) -> str:
    """Suggest the valid name nearest to a mistyped one.

    Args:
        word: What was found.
        options: The names that would have been valid.

    Returns:
        ``"; did you mean 'x'?"``, or an empty string when nothing is close.

    Example:
        >>> nearest("badmington", ["badminton", "tennis"])
        "; did you mean 'badminton'?"
    """
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""
