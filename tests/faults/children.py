"""Commands in processes forked from this one, which has imported everything: that saves seconds each."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tracknet.cli.main import main

LONGEST = 600.0
"""Seconds after which a command counts as hanging."""


class Child:
    """A command that runs.

    Args:
        pid: Its process, which leads a group of its own.
        output: The file with all that it prints.
    """

    def __init__(self, pid: int, output: Path) -> None:
        self.pid = pid
        self.output = output
        self._code: int | None = None

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.output.read_text(errors="replace")

    def ended(self) -> bool:
        """Say whether it is over, without waiting."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def send(self, number: int) -> None:
        """Send a signal to it and to its own children, as a terminal does."""
        if not self.ended():
            os.killpg(self.pid, number)

    def wait(self, seconds: float = LONGEST) -> int:
        """Wait for its exit code, negative for a signal; one that hangs is killed, and its code is -9."""
        until = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > until:
                with self.output.open("a") as file:
                    file.write("\nhangs\n")
                self.send(signal.SIGKILL)
            time.sleep(0.005)
        assert self._code is not None
        return self._code


def start(folder: Path, words: list[str], output: Path, prepare: Callable[[], object] | None = None) -> Child:
    """Start ``tracknet WORDS`` in a folder; returns once it has begun.

    Args:
        folder: Its working folder.
        words: The command line.
        output: The file for all that it prints.
        prepare: Called in the process before.
    """
    heard, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        os.read(heard, 1)
        os.close(heard)
        return Child(pid, output)
    code = 99
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if prepare is not None:
            prepare()
        os.write(tell, b".")
        os.close(tell)
        code = main(words)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
