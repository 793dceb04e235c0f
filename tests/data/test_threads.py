"""Work in other threads: results in order, errors raised, Ctrl-C heard whenever it comes."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tracknet.data.threads import as_finished, in_threads, result_of


@pytest.fixture
def listening():
    """Ctrl-C raises KeyboardInterrupt, as in a command."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "wait",
    [lambda future: list(as_finished([future])), result_of],
    ids=["as_finished", "result_of"],
)
def test_a_signal_that_does_not_wake_the_waiting_thread_is_heard(listening, wait):
    begin, go_on, in_vain = threading.Event(), threading.Event(), []

    def work():
        begin.wait(60)
        # Taken by this thread, the signal leaves the main one asleep, as one does that comes just before the
        # main one falls asleep.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        in_vain.append(not go_on.wait(60))

    def begun_and_waited_for(future):
        begin.set()
        wait(future)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        with pytest.raises(KeyboardInterrupt):
            begun_and_waited_for(future)
        go_on.set()
    assert in_vain == [False]


def test_futures_come_as_they_end():
    first, second = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(first.wait, 60), pool.submit(second.wait, 60)]
        ends = as_finished(futures)
        second.set()
        assert next(ends) is futures[1]
        first.set()
        assert next(ends) is futures[0]
        assert list(ends) == []
    assert set(as_finished(futures)) == set(futures)


def test_results_come_in_the_order_of_the_items():
    assert list(in_threads(lambda n: (time.sleep(0.02 * (n % 2 == 0)), n)[1], range(7), 3)) == [*range(7)]
    assert list(in_threads(str, [], 3)) == []


def test_the_first_error_is_raised_and_nothing_more_is_begun():
    begun = []

    def fail(n):
        begun.append(n)
        if n == 1:
            raise ValueError(n)
        time.sleep(0.05)

    results = in_threads(fail, range(50), 1)
    assert next(results) is None
    with pytest.raises(ValueError, match="1"):
        next(results)
    assert len(begun) < 10
