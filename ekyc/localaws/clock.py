"""The clock of the local AWS: one time for everything in it, in which waiting is accelerated and computing is not.

While something computes (a function, an execution between two states, a service at work) the clock goes as fast as a
real one, so a slow machine makes nothing late. While something waits for a moment (Wait states, retry delays,
heartbeats, the services' own delays) and nothing computes, it goes `speed` times as fast to the next moment at which
something is due, and stands there until the thread that waits for it is awake; with an infinite speed it jumps there.
Deadlines, wherever they are computed, so end as on AWS, on a busy machine too.

An idle clock, for which nothing waits, goes like a real one. Accelerated waiting leaves it ahead of the real time. It
never goes back, because then effects would have earlier dates than their causes; while it is idle and ahead it goes at
IDLE_PACE until the real time has caught up. It is never behind the real time.
"""

from __future__ import annotations

import contextlib
import datetime
import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

# How fast an idle clock goes while it is ahead of the real time. It is near 1, because clients see this clock too: at
# half the pace a client could make only half of the calls a second that Rekognition allows.
IDLE_PACE = 0.8


class Interrupted(SystemExit):
    """The local AWS stops or is reset: end this thread.

    A SystemExit, because that passes every `except Exception` and ends a thread without a traceback.
    """


class Clock:
    """Service time. `speed`: how many times faster than a real clock it goes while something waits and nothing
    computes."""

    def __init__(self, speed: float = 60.0) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._speed = speed
        self._computing = 0  # how many threads compute
        self._set_at = time.monotonic()
        self._time = time.time()  # what the clock showed then
        self._timers: list[_Timer] = []  # a heap
        self._numbers = itertools.count()
        self._driver: threading.Thread | None = None
        self._own = threading.local()
        self._interruption = Signal(self)
        self._threads: set[threading.Thread] = set()

    # Time

    def now(self) -> float:
        """Epoch seconds. Never less than an earlier answer, and never less than the real time."""
        with self._changed:
            return self._now()

    def ahead(self) -> float:
        """Seconds by which the clock is ahead of the real time."""
        with self._changed:
            return max(0.0, self._now() - time.time())

    def utc(self) -> datetime.datetime:
        """The same as an aware datetime."""
        return datetime.datetime.fromtimestamp(self.now(), datetime.UTC)

    def set_to_real_time(self, speed: float) -> None:
        """Begin anew with the real time and this speed; for a local AWS in which nothing has a date yet."""
        with self._changed:
            self._speed, self._time, self._set_at = speed, time.time(), time.monotonic()
            self._changed.notify()

    @property
    def speed(self) -> float:
        """May be changed while things wait."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self._changed:
            self._now()
            self._speed = speed
            self._changed.notify()

    # Waiting and computing

    def sleep(self, seconds: float, until: Signal | None = None) -> None:
        """Wait `seconds` of service time, or for `until` to be set. Raises Interrupted when the local AWS stops or is
        reset meanwhile."""
        interruption = getattr(threading.current_thread(), "_interruption", self._interruption)
        self._wait([interruption, until] if until else [interruption], seconds)
        if interruption.is_set():
            raise Interrupted

    def sleep_real(self, seconds: float) -> None:
        """Wait real seconds for something beside the local AWS, such as a process that learns: the clock goes on at its
        speed meanwhile, and an infinitely fast one holds. Raises Interrupted as `sleep` does."""
        if math.isinf(self._speed):
            with self.computing():
                time.sleep(seconds)
            self.sleep(0)
        else:
            self.sleep(seconds * self._speed)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """While the context is open, this thread computes."""
        if self._computes():
            yield
            return
        self._begin_computing()
        self._own.computes = True
        try:
            yield
        finally:
            self._own.computes = False
            self._end_computing()

    @contextlib.contextmanager
    def leaving_to_others(self) -> Iterator[None]:
        """While the context is open, this thread only waits for others that compute or wait for the clock."""
        if not self._computes():
            yield
            return
        self._own.computes = False
        self._end_computing()
        try:
            yield
        finally:
            self._begin_computing()
            self._own.computes = True

    @contextlib.contextmanager
    def at_real_pace(self) -> Iterator[None]:
        """While the context is open, the clock goes like a real one, whoever waits: for people who are waited for."""
        self._begin_computing()
        try:
            yield
        finally:
            self._end_computing()

    def background(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Run `work(*arguments)` in a daemon thread, which computes unless it waits; `interrupt` ends its sleeps."""
        thread = threading.Thread(target=self._run, args=(work, arguments), name=work.__name__, daemon=True)
        with self._changed:
            thread._interruption = self._interruption  # type: ignore[attr-defined]
            self._threads.add(thread)
        self._begin_computing()  # from now on: it must not look idle until the thread has started
        thread.start()
        return thread

    def interrupt(self, timeout: float = 5.0) -> None:
        """Wake every sleeper with Interrupted and wait up to `timeout` real seconds for each background thread."""
        with self._changed:
            interruption, self._interruption = self._interruption, Signal(self)
            threads, self._threads = self._threads, set()
            driver = self._driver
        interruption.set()
        with self._changed:
            self._changed.notify()  # the driver has nobody to wake any more
        for thread in [*threads, driver]:
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout)

    def _run(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._own.computes = True
        try:
            with contextlib.suppress(Interrupted):
                work(*arguments)
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
            self._end_computing()

    def _wait(self, signals: Sequence[Signal], seconds: float | None) -> None:
        """Wait for one of `signals` to be set, at most `seconds` of service time."""
        with self._changed:
            if any(signal._is_set for signal in signals) or (seconds is not None and seconds <= 0):
                return
            waiter = _Waiter(signals, self._computes())
            for signal in signals:
                signal._waiters.add(waiter)
            if seconds is not None:
                self._add_timer(self._now() + seconds, waiter)
            if waiter.computes:
                self._count(-1)
        waiter.gate.acquire()

    def _computes(self) -> bool:
        return getattr(self._own, "computes", False)

    def _begin_computing(self) -> None:
        with self._changed:
            self._count(1)

    def _end_computing(self) -> None:
        with self._changed:
            self._count(-1)

    # With the lock held

    @property
    def _pace(self) -> float:
        if self._computing:
            return 1.0
        if not self._next_timer():
            return IDLE_PACE
        return 1.0 if math.isinf(self._speed) else self._speed

    def _now(self) -> float:
        """What the clock shows. It goes on from there, so this is called before each change of its pace."""
        passed = time.monotonic() - self._set_at
        self._set_at += passed
        shown = self._time + passed * self._pace
        if not self._computing and (timer := self._next_timer()):
            shown = min(shown, max(self._time, timer.due))  # until the waiter is awake
        self._time = max(time.time(), shown)
        return self._time

    def _count(self, change: int) -> None:
        if self._computing in (0, -change):  # the first or the last
            self._now()
        self._computing += change
        if not self._computing:
            self._changed.notify()

    def _wake(self, waiter: _Waiter) -> None:
        if not waiter.woken:
            self._now()
            if waiter.computes:
                self._count(1)  # before it runs: the clock must not go on in between
            waiter.woken = True
            for signal in waiter.signals:
                signal._waiters.discard(waiter)
            waiter.gate.release()

    def _next_timer(self) -> _Timer | None:
        """The timer that is due next; forgets those whose waiters are awake."""
        while self._timers and self._timers[0].waiter.woken:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None

    def _add_timer(self, due: float, waiter: _Waiter) -> None:
        heapq.heappush(self._timers, _Timer(due, next(self._numbers), waiter))
        if self._driver is None:
            self._driver = threading.Thread(target=self._drive, name="clock", daemon=True)
            self._driver.start()
        elif self._timers[0].waiter is waiter:
            self._changed.notify()

    def _drive(self) -> None:
        """Wake whoever is due; ends when nobody waits for a moment."""
        with self._changed:
            while timer := self._next_timer():
                now = self._now()
                if timer.due <= now:
                    self._wake(timer.waiter)
                elif math.isinf(self._speed) and not self._computing:
                    self._time, self._set_at = timer.due, time.monotonic()
                else:
                    self._changed.wait(min((timer.due - now) / self._pace, threading.TIMEOUT_MAX))
            self._driver = None


class Signal:
    """Like threading.Event, with time-outs in service seconds: a flag that ends waits for the clock early."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_set = False
        self._waiters: set[_Waiter] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all who wait, now and until `clear`."""
        with self._clock._changed:
            self._is_set = True
            for waiter in list(self._waiters):
                self._clock._wake(waiter)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for `set`, at most `seconds` of service time; whether it was set."""
        self._clock._wait([self], seconds)
        return self._is_set


class _Waiter:
    """A thread that waits; `gate` opens when it is woken."""

    def __init__(self, signals: Sequence[Signal], computes: bool) -> None:
        self.signals = signals
        self.computes = computes
        self.woken = False
        self.gate = threading.Lock()
        self.gate.acquire()


class _Timer(NamedTuple):
    """When a waiter is due. `number` orders the waiters of the same moment: the first to wait is the first to wake."""

    due: float
    number: int
    waiter: _Waiter


clock = Clock()
