"""The clock: waiting is accelerated, and ends when the local AWS does."""

from __future__ import annotations

import threading
import time

import pytest

from ekyc.localaws.clock import Clock, Interrupted


def test_sleep_is_accelerated() -> None:
    # Given a clock that is 600 times faster
    clock = Clock(speed=600)
    # When a minute is slept
    started = time.monotonic()
    clock.sleep(60)
    # Then a tenth of a second has passed
    assert 0.1 <= time.monotonic() - started < 0.5
    assert clock.service_seconds(clock.real_seconds(7)) == pytest.approx(7)


def test_interrupt_ends_sleepers_and_what_they_would_do_next() -> None:
    # Given work in the background that sleeps for a day, twice
    clock = Clock(speed=1)
    woken: list[str] = []

    def work() -> None:
        try:
            clock.sleep(86400)
        except Interrupted:
            woken.append("first")
            clock.sleep(86400)

    thread = clock.background(work)
    # When the clock is interrupted
    clock.interrupt()
    # Then the work has ended, and only what began before is interrupted
    assert not thread.is_alive()
    assert woken == ["first"]
    clock.sleep(0.01)


def test_interrupt_reaches_threads_that_the_clock_did_not_start() -> None:
    # Given a plain thread that sleeps on the clock
    clock = Clock(speed=1)
    sleeping = threading.Event()

    def work() -> None:
        sleeping.set()
        with pytest.raises(Interrupted):
            clock.sleep(86400)

    thread = threading.Thread(target=work)
    thread.start()
    sleeping.wait()
    time.sleep(0.05)
    # When the clock is interrupted, then it ends
    clock.interrupt()
    thread.join(5)
    assert not thread.is_alive()
