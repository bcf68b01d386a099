"""The clock: waiting is accelerated, computing and idling are not, and waits end when the local AWS does."""

from __future__ import annotations

import math
import threading
import time

import pytest

from ekyc.localaws.clock import Clock, Interrupted, Signal
from tests.waiting import ENOUGH

DAY = 86400
EXACT = 0.01  # seconds by which two clocks of a machine may differ


def test_sleep_is_accelerated() -> None:
    # Given a clock that is 600 times faster
    clock = Clock(speed=600)
    # When a minute is slept
    began, began_real = clock.now(), time.monotonic()
    clock.sleep(60)
    # Then a minute has passed for the services, and no less than a tenth of a second really
    assert clock.now() - began >= 60
    assert time.monotonic() - began_real >= 0.1


def test_a_sleeper_is_on_time_however_fast_the_clock_is() -> None:
    # Given a clock that goes so fast that years pass before a thread is awake
    clock = Clock(speed=1e12)
    # When a thread sleeps for a minute
    began_real, began = time.monotonic(), clock.now()
    clock.sleep(60)
    # Then a minute has passed, and no more than the real time besides
    assert 60 <= clock.now() - began <= 60 + time.monotonic() - began_real + EXACT


def test_an_infinitely_fast_clock_jumps_to_the_next_due_time() -> None:
    # Given three sleepers, who wake in another order than they fall asleep
    clock = Clock(speed=math.inf)
    began = clock.now()
    woken: list[tuple[str, int]] = []

    def sleeper(name: str, days: float) -> None:
        clock.sleep(days * DAY)
        woken.append((name, round((clock.now() - began) / DAY)))

    # When they sleep for months
    with clock.computing():
        threads = [clock.background(sleeper, name, days) for name, days in (("c", 60), ("a", 1), ("b", 30))]
    for thread in threads:
        thread.join(ENOUGH)
    # Then each woke at its day
    assert woken == [("a", 1), ("b", 30), ("c", 60)]


@pytest.mark.parametrize("speed", [6000.0, math.inf])
def test_a_fresh_clock_is_right_and_idles_at_real_pace(speed: float) -> None:
    # Given a clock without sleepers
    clock = Clock(speed)
    # When a moment passes
    time.sleep(0.2)
    # Then it shows the real time
    before, shown, after = time.time(), clock.now(), time.time()
    assert before - EXACT <= shown <= after + EXACT
    assert clock.ahead() < EXACT


@pytest.mark.parametrize("speed", [6000.0, math.inf])
def test_a_clock_idles_at_real_pace_after_a_wait(speed: float) -> None:
    # Given a clock that accelerated waiting left ahead
    clock = Clock(speed)
    clock.sleep(3600)
    assert clock.ahead() > 3000
    # When the clock has had no sleepers for a second
    began_real, began = time.monotonic(), clock.now()
    time.sleep(0.2)
    # Then about a second has passed
    assert 0.15 < clock.now() - began <= time.monotonic() - began_real + EXACT


def test_a_wait_that_a_signal_ends_early_leaves_no_fast_clock() -> None:
    # Given a wait that a signal has ended long before its time
    clock = Clock(speed=6000)
    signal = Signal(clock)
    waiter = threading.Thread(target=signal.wait, args=(30 * DAY,))
    waiter.start()
    time.sleep(0.05)
    signal.set()
    waiter.join()
    # When the last sleeper is gone
    began_real, began = time.monotonic(), clock.now()
    time.sleep(0.2)
    # Then the clock idles
    assert clock.now() - began <= time.monotonic() - began_real + EXACT


def test_an_idle_clock_returns_to_real_time_without_going_back() -> None:
    # Given a clock that is a tenth of a second ahead
    clock = Clock(speed=math.inf)
    clock.sleep(0.1)
    assert clock.ahead() > 0
    # When it idles
    shown, deadline = [clock.now()], time.monotonic() + ENOUGH
    while clock.ahead() > EXACT:
        assert time.monotonic() < deadline, "it stays ahead"
        time.sleep(0.02)
        shown.append(clock.now())
    # Then it has come back to the real time, and has always gone forward
    assert shown == sorted(shown)
    assert clock.now() >= time.time() - 1


@pytest.mark.parametrize("speed", [6000.0, math.inf])
def test_the_clock_runs_in_real_time_while_a_function_computes(speed: float) -> None:
    # Given a thread that sleeps for an hour while another computes
    clock = Clock(speed)
    began = clock.now()
    with clock.computing():
        thread = clock.background(clock.sleep, 3600)
        time.sleep(0.2)
        # Then hardly any time has passed, however fast the clock is
        assert clock.now() - began < 600
        assert thread.is_alive()
    # And when the computation has ended, the hour passes
    thread.join(ENOUGH)
    assert clock.now() - began >= 3600


def test_a_signal_ends_a_wait_early_and_its_time_does_not_pass() -> None:
    # Given a thread that waits up to a day for a signal
    clock = Clock(speed=math.inf)
    signal = Signal(clock)
    results: list[tuple[bool, float]] = []
    began = clock.now()

    def listen() -> None:
        results.append((signal.wait(DAY), clock.now() - began))

    with clock.computing():
        listener = clock.background(listen)
        time.sleep(0.05)
        # When it is given
        signal.set()
    listener.join(ENOUGH)
    # Then it was heard, long before the day was over
    ((was_set, seconds),) = results
    assert was_set
    assert seconds < 3600
    # And without one the wait lasts its time
    signal.clear()
    assert not signal.wait(DAY)
    assert clock.now() - began >= DAY


def test_a_sleep_ends_by_a_signal_and_by_an_interruption() -> None:
    # Given two who sleep on a clock that hardly moves, each until a signal of their own
    clock = Clock(speed=0.001)
    first, second = Signal(clock), Signal(clock)
    over: list[str] = []

    def sleeper(name: str, signal: Signal) -> None:
        clock.sleep(DAY, until=signal)
        over.append(name)

    threads = [clock.background(sleeper, name, signal) for name, signal in (("first", first), ("second", second))]
    # When one signal is given, then that sleep is over and the other is not
    first.set()
    threads[0].join(ENOUGH)
    assert over == ["first"]
    assert threads[1].is_alive()
    # And when the local AWS stops, the other thread ends
    clock.interrupt()
    assert not threads[1].is_alive()
    assert over == ["first"]


def test_real_waiting_passes_at_the_clocks_speed() -> None:
    # Given a process beside the local AWS that takes a tenth of a second
    fast, infinite = Clock(speed=6000), Clock(speed=math.inf)
    sleeper = infinite.background(infinite.sleep, DAY)
    # When it is waited for, then its time is accelerated with the clock
    began = fast.now()
    fast.sleep_real(0.1)
    assert fast.now() - began >= 600
    # And an infinitely fast clock, for which no time would be too short, waits for it
    with infinite.computing():
        began = infinite.now()
        infinite.sleep_real(0.1)
        assert infinite.now() - began < 3600
    sleeper.join(ENOUGH)


def test_the_speed_may_change_during_a_sleep() -> None:
    # Given a thread that sleeps for a day on a real-time clock
    clock = Clock(speed=1)
    thread = clock.background(clock.sleep, DAY)
    time.sleep(0.05)
    # When the clock is made fast, then the sleeper wakes
    clock.speed = math.inf
    thread.join(ENOUGH)
    assert not thread.is_alive()


def test_interrupt_ends_sleepers_and_what_they_would_do_next() -> None:
    # Given work in the background that sleeps for a day, twice
    clock = Clock(speed=1)
    woken: list[str] = []

    def work() -> None:
        try:
            clock.sleep(DAY)
        except Interrupted:
            woken.append("first")
            clock.sleep(DAY)

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
            clock.sleep(DAY)

    thread = threading.Thread(target=work)
    thread.start()
    sleeping.wait()
    # When the clock is interrupted once it sleeps, then it ends
    deadline = time.monotonic() + ENOUGH
    while thread.is_alive():
        assert time.monotonic() < deadline, "it sleeps on"
        clock.interrupt()
        thread.join(0.01)


def test_the_clock_runs_in_real_time_while_people_label() -> None:
    # Given a service that waits a day for people, on a clock that jumps while everybody waits
    clock = Clock(speed=math.inf)
    began = clock.now()
    done = Signal(clock)

    def service() -> None:
        with clock.at_real_pace():
            clock.sleep(DAY, until=done)

    # When they are done after a moment
    thread = clock.background(service)
    time.sleep(0.2)
    waited = thread.is_alive()
    done.set()
    thread.join(ENOUGH)
    # Then the service has waited for them, and its day has not passed
    assert waited
    assert not thread.is_alive()
    assert clock.now() - began < DAY
    # And from then on the clock jumps again
    clock.sleep(DAY)
    assert clock.now() - began >= DAY
