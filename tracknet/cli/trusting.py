"""The flag ``--trust`` of the commands that build what a checkpoint names."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tracknet.trust import TRUST_VARIABLE

TRUST_FLAG = "--trust"
TRUST_HELP = (
    "Let the checkpoints that are loaded name any class that Python finds, and not only those of trusted and "
    "installed packages: for code of your own that a training on another machine used. SECURITY.md says more."
)
"""What `TRUST_FLAG` is for, for every ``--help``."""

TRUSTING = (
    ("fit",),
    ("validate",),
    ("test",),
    ("predict",),
    ("track",),
    ("export",),
    ("checkpoint", "verify"),
    ("sweep",),
    ("profile",),
)
"""First words of the commands that take `TRUST_FLAG`; of a training, a callback may load a checkpoint."""


def add_trust(parser: ArgumentParser) -> None:
    """Show the flag in the help of a command, its page and the completion of shells.

    What it does is done before the parser sees the words, by `trusting`.

    Args:
        parser: Reads the words of a command of `TRUSTING`.
    """
    parser.add_argument(TRUST_FLAG, action="store_true", default=SUPPRESS, help=TRUST_HELP)


@contextmanager
def trusting(words: Sequence[str]) -> Iterator[list[str]]:
    """Let the checkpoints of a command, and of the processes that it starts, name any class on request.

    Args:
        words: Words after ``tracknet``.

    Yields:
        The words without `TRUST_FLAG`, where the command takes it.
    """
    takes = any(tuple(words[: len(first)]) == first for first in TRUSTING)
    if not takes or TRUST_FLAG not in words:
        yield list(words)
        return
    before = os.environ.get(TRUST_VARIABLE)
    os.environ[TRUST_VARIABLE] = "1"
    try:
        yield [word for word in words if word != TRUST_FLAG]
    finally:
        if before is None:
            del os.environ[TRUST_VARIABLE]
        else:
            os.environ[TRUST_VARIABLE] = before
