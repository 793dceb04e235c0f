"""Work in other threads, and waiting for it so that Ctrl-C is always heard.

``Future.result`` and ``as_completed`` wait on a condition without an end. A signal that comes just before the
wait begins is then noticed only when the next piece of work is done, and one that comes while the wait ends
turns into ``RuntimeError: release unlocked lock``. A ``SimpleQueue`` asked again and again has neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

_A = TypeVar("_A")
_R = TypeVar("_R")

_PATIENCE = 0.2  # seconds after which a signal is heard at the latest


def as_finished(futures: Collection[Future[_R]]) -> Iterator[Future[_R]]:
    """Give each future when it is done, whatever its outcome.

    Args:
        futures: What has been handed to a pool.

    Yields:
        The futures, the first to end first.
    """
    ended: SimpleQueue[Future[_R]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    left = len(futures)
    while left:
        try:
            future = ended.get(timeout=_PATIENCE)
        except Empty:
            continue
        left -= 1
        yield future


def result_of(future: Future[_R]) -> _R:
    """Wait for a future and give its result, or raise its error."""
    (ended,) = as_finished([future])
    return ended.result()


def in_threads(function: Callable[[_A], _R], items: Iterable[_A], workers: int) -> Iterator[_R]:
    """Call a function for each item, several at the same time.

    What has not begun when the caller goes away is not begun any more.

    Args:
        function: What is called; its first error is raised here.
        items: Its argument in each call.
        workers: Number of threads.

    Yields:
        The results, in the order of the items.
    """
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                yield result_of(future)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def usable_cores() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
