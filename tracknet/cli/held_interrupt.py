"""A Ctrl-C, and what means the same, that waits until nothing is half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every command imports this module, and none waits for what it does not need
    from typing_extensions import Self

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells have them."""


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

    Args:
        also: Further signals that mean the same here.
        tell: Called with the first one, for who waits and does not look; it must do next to nothing.
    """

    def __init__(self, *also: signal.Signals, tell: Callable[[], None] | None = None) -> None:
        self._numbers = (signal.SIGINT, *also)
        self._tell = tell
        self._heard = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Begin to hold those that are heard at all."""
        self._before = {number: signal.getsignal(number) for number in self._numbers if is_heard(number)}
        self._listen(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Hold no longer."""
        self._give_back()

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
        self._give_back()
        try:
            self.heed()
            yield
        finally:
            if not self._heard:
                self._listen(self._hear)

    def _hear(self, *_: object) -> None:
        self._heard = True
        self._listen(signal.default_int_handler)
        if self._tell is not None:
            self._tell()

    def _listen(self, handler: Any) -> None:
        for number in self._before:
            signal.signal(number, handler)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
