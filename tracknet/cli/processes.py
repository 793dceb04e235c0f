"""Processes that do one job after another and may die without taking this one with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context
from typing import Any

from tracknet.data.threads import usable_cores

_PATIENCE = 10.0  # seconds that a process has to leave things in order, once told to stop

DIED = object()
"""What a worker that has died is taken to say."""


class Worker:
    """A process that is sent jobs and says what becomes of them.

    `multiprocessing`'s and `concurrent.futures`' pools give all jobs up when one process is killed; here the
    others go on.

    Args:
        target: What it runs: a function of a module, called with its end of the pipe and `args`. It is to
            end when nobody sends any more (``EOFError``).
        args: Further arguments; they must be picklable.
    """

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        # A fork of a process with threads, as PyTorch has them, can hang.
        context = get_context("spawn")
        self.said, there = context.Pipe()
        self.process = context.Process(target=target, args=(there, *args))
        self.process.start()
        there.close()

    def send(self, job: Any) -> None:
        """Give it something to do."""
        with suppress(OSError):  # it has died, and `hear` will say so
            self.said.send(job)

    def hear(self) -> Any:
        """Give what it says next, waiting for it; `DIED` when it has died."""
        try:
            return self.said.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE)
            return DIED

    def end_in_words(self) -> str:
        """Say how it died: ``signal 9 (SIGKILL)``."""
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"signal {-code} ({signal.Signals(-code).name})"

    def stop(self) -> None:
        """Tell it to leave things in order and end, by SIGTERM."""
        self.process.terminate()

    def end(self) -> None:
        """Wait until it has ended, with little patience."""
        self.said.close()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def take_share(place: int, workers: int) -> None:
    """Let this process use its share of the machine: some of the cores, and one of the GPUs in turn.

    Args:
        place: Number of the process among the workers, from 0.
        workers: How many there are.
    """
    import torch

    if (cards := torch.cuda.device_count()) > 1:
        named = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(cards)))).split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = named[place % len(named)]
    torch.set_num_threads(max(1, usable_cores() // workers))


def that_speak(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until one of the workers says something, or dies, and give all that do."""
    ready = connection.wait([one.said for one in workers])
    return [one for one in workers if one.said in ready]
