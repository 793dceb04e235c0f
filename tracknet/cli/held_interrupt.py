"""A Ctrl-C that waits until nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typing_extensions import Self


def is_heard(number: int) -> bool:
    """Say whether this thread may listen to a signal, and nobody has this process ignore it.

    Shells have what scripts start in the background ignore Ctrl-C: it is meant for others.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(number) is not signal.SIG_IGN


class HeldInterrupt:
    """Lets Ctrl-C wait until it is looked for; a second one does not wait.

    Raised anywhere, a KeyboardInterrupt falls into the midst of what belongs together, and in what Python
    deletes at that moment it is lost.
    """

    def __init__(self) -> None:
        self._heard = self._holds = False
        self._before: Any = None

    def __enter__(self) -> Self:
        """Begin to hold, where it is heard at all."""
        self._holds = is_heard(signal.SIGINT)
        self._before = signal.getsignal(signal.SIGINT)
        self._listen(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Hold no longer."""
        self._listen(self._before)

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
        self._listen(self._before)
        try:
            self.heed()
            yield
        finally:
            if not self._heard:
                self._listen(self._hear)

    def _hear(self, *_: object) -> None:
        self._heard = True
        self._listen(self._before)

    def _listen(self, handler: Any) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, handler)
