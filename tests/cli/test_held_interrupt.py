"""Ctrl-C that waits until it is looked for."""

from __future__ import annotations

import signal
import threading

import pytest

from tracknet.cli.held_interrupt import HeldInterrupt


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_waits_until_it_is_looked_for_and_a_second_one_does_not():
    before = signal.getsignal(signal.SIGINT)
    with HeldInterrupt() as interrupt:
        interrupt.heed()
        with interrupt.let_through():
            assert signal.getsignal(signal.SIGINT) is before
        press()
        with pytest.raises(KeyboardInterrupt):
            interrupt.heed()
        with pytest.raises(KeyboardInterrupt), interrupt.let_through():
            pytest.fail("was not looked for")
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_raised_at_once_where_it_is_let_through():
    with HeldInterrupt() as interrupt, pytest.raises(KeyboardInterrupt), interrupt.let_through():
        press()


def test_other_signals_mean_the_same_and_who_waits_is_told_once():
    numbers, told = (signal.SIGINT, signal.SIGTERM), []
    before = [signal.getsignal(number) for number in numbers]
    for first in numbers:
        with HeldInterrupt(signal.SIGTERM, tell=lambda: told.append("told")) as interrupt:
            with interrupt.let_through():
                assert [signal.getsignal(number) for number in numbers] == before
            signal.raise_signal(first)
            for number in numbers:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)
            with pytest.raises(KeyboardInterrupt):
                interrupt.heed()
        assert [signal.getsignal(number) for number in numbers] == before
    assert told == ["told", "told"]


def test_an_ignored_ctrl_c_stays_so_and_another_thread_listens_to_none():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with HeldInterrupt() as interrupt:
            press()
            with interrupt.let_through():
                press()
            interrupt.heed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    heeded = []

    def elsewhere():
        with HeldInterrupt() as interrupt, interrupt.let_through():
            heeded.append(interrupt.heed())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert heeded == [None]
