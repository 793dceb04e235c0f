"""A Ctrl-C that waits until nothing is half done."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typing_extensions import Self


class HeldInterrupt:
    """Lets Ctrl-C wait until it is looked for; a second one does not wait.

    Raised anywhere, a KeyboardInterrupt falls into the midst of what belongs together, and in what Python
    deletes at that moment it is lost.
    """

    def __init__(self) -> None:
        self._heard = False
        self._before: Any = None

    def __enter__(self) -> Self:
        """Begin to hold."""
        self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Hold no longer."""
        signal.signal(signal.SIGINT, self._before)

    def heed(self) -> None:
        """Look for it.

        Raises:
            KeyboardInterrupt: It has come.
        """
        if self._heard:
            raise KeyboardInterrupt

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Hold nothing for a while, where what runs can be interrupted.

        Raises:
            KeyboardInterrupt: It has come.
        """
        signal.signal(signal.SIGINT, self._before)
        try:
            self.heed()
            yield
        finally:
            if not self._heard:
                signal.signal(signal.SIGINT, self._hear)

    def _hear(self, *_: object) -> None:
        self._heard = True
        signal.signal(signal.SIGINT, self._before)
