"""The clock of the local AWS. It accelerates waits, but not computing.

While something computes (a function, an execution between two states, a service), the clock runs at normal speed, so a
slow machine misses no deadline. While something waits (Wait states, retry delays, heartbeats, the services' own delays)
and nothing computes, it runs `speed` times as fast until the next moment at which something is due. There it stops
until the thread that waits is awake. With an infinite speed it jumps to that moment. All deadlines therefore end in the
same order as on AWS, on a busy machine too.

An idle clock, for which nothing waits, runs at normal speed. Accelerated waits put the clock ahead of the real time. It
never runs backwards, because effects would then have earlier dates than their causes. While it is idle and ahead, it
runs at IDLE_PACE until the real time has caught up. It is never behind the real time.
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

# The pace of an idle clock that is ahead of the real time. It is close to 1 because clients' call rates depend on it:
# at half the pace, a client could make only half of the calls a second that Rekognition allows.
IDLE_PACE = 0.8


class Interrupted(SystemExit):
    """The local AWS stops or is reset, so this thread must end.

    A SystemExit passes every `except Exception` and ends a thread without a traceback.
    """


class Clock:
    """Service time. `speed` is the factor by which waits are shortened."""

    def __init__(self, speed: float = 60.0) -> None:
        self._scheduler = _Scheduler(speed)
        self._own = threading.local()
        self._interruption = Signal(self)
        self._threads: set[threading.Thread] = set()

    # Time

    def now(self) -> float:
        """Seconds since the epoch. Never less than an earlier result, and never less than the real time."""
        with self._scheduler.changed:
            return self._scheduler.now()

    def ahead(self) -> float:
        """Seconds by which the clock is ahead of the real time."""
        with self._scheduler.changed:
            return max(0.0, self._scheduler.now() - time.time())

    def utc(self) -> datetime.datetime:
        """The time as an aware datetime."""
        return datetime.datetime.fromtimestamp(self.now(), datetime.UTC)

    def set_to_real_time(self, speed: float) -> None:
        """Set the clock to the real time and this speed. Only for a local AWS in which nothing has a date yet."""
        with self._scheduler.changed:
            self._scheduler.set(time.time(), speed)

    @property
    def speed(self) -> float:
        """Can be changed while threads wait."""
        return self._scheduler.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        with self._scheduler.changed:
            self._scheduler.set(self._scheduler.now(), speed)

    # Waiting and computing

    def sleep(self, seconds: float, until: Signal | None = None) -> None:
        """Wait `seconds` of service time, or until `until` is set.

        Raises Interrupted if the local AWS stops or is reset.
        """
        interruption = getattr(threading.current_thread(), "_interruption", self._interruption)
        self._wait([interruption, until] if until else [interruption], seconds)
        if interruption.is_set():
            raise Interrupted

    def wait(self, *signals: Signal) -> None:
        """Wait for one of `signals` to be set."""
        self._wait(signals, None)

    def sleep_real(self, seconds: float) -> None:
        """Wait real seconds for something outside the local AWS, such as a training process. Raises Interrupted.

        During the wait, the clock runs at its speed, or stands still if the speed is infinite.
        """
        if math.isinf(self._scheduler.speed):
            with self.computing():
                time.sleep(seconds)
            self.sleep(0)
        else:
            self.sleep(seconds * self._scheduler.speed)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """A context in which this thread computes."""
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
    def waiting_for_others(self) -> Iterator[None]:
        """A context in which this thread only waits for other threads, which compute or wait for the clock."""
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
        """A context in which the clock runs at normal speed, for the time in which people label."""
        self._begin_computing()
        try:
            yield
        finally:
            self._end_computing()

    def background(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Run `work(*arguments)` in a daemon thread, which computes unless it waits. `interrupt` ends its waits."""
        thread = threading.Thread(target=self._run, args=(work, arguments), name=work.__name__, daemon=True)
        with self._scheduler.changed:
            thread._interruption = self._interruption  # type: ignore[attr-defined]
            self._threads.add(thread)
        self._begin_computing()  # already now, so that the clock does not look idle until the thread has started
        thread.start()
        return thread

    def interrupt(self, timeout: float = 5.0) -> None:
        """Raise Interrupted in every waiting thread.

        Then wait up to `timeout` real seconds for each background thread.
        """
        with self._scheduler.changed:
            interruption, self._interruption = self._interruption, Signal(self)
            threads, self._threads = self._threads, set()
            driver = self._scheduler.driver
        interruption.set()
        with self._scheduler.changed:
            self._scheduler.changed.notify()  # no thread waits any more, so the driver ends
        for thread in [*threads, driver]:
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout)

    def _run(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._own.computes = True
        try:
            with contextlib.suppress(Interrupted):
                work(*arguments)
        finally:
            with self._scheduler.changed:
                self._threads.discard(threading.current_thread())
            self._end_computing()

    def _wait(self, signals: Sequence[Signal], seconds: float | None) -> None:
        """Wait until one of `signals` is set, at most `seconds` of service time."""
        with self._scheduler.changed:
            if any(signal._is_set for signal in signals) or (seconds is not None and seconds <= 0):
                return
            waiter = _Waiter(signals, self._computes())
            for signal in signals:
                signal._waiters.add(waiter)
            if seconds is not None:
                self._scheduler.add_timer(self._scheduler.now() + seconds, waiter)
            if waiter.computes:
                self._scheduler.count(-1)
        waiter.gate.acquire()

    def _computes(self) -> bool:
        return getattr(self._own, "computes", False)

    def _begin_computing(self) -> None:
        with self._scheduler.changed:
            self._scheduler.count(1)

    def _end_computing(self) -> None:
        with self._scheduler.changed:
            self._scheduler.count(-1)


class _Scheduler:
    """The time, its pace, and the timers of the threads that wait. All callers hold the lock `changed`."""

    def __init__(self, speed: float) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.speed = speed
        self.computing = 0  # how many threads compute
        self.driver: threading.Thread | None = None
        self._set_at = time.monotonic()
        self._time = time.time()  # the time of the clock at _set_at
        self._timers: list[_Timer] = []  # a heap
        self._numbers = itertools.count()

    @property
    def _pace(self) -> float:
        if self.computing:
            return 1.0
        if not self._next_timer():
            return IDLE_PACE
        return 1.0 if math.isinf(self.speed) else self.speed

    def now(self) -> float:
        """The current time.

        Must be called before each change of the pace, because it applies the old pace until now.
        """
        passed = time.monotonic() - self._set_at
        self._set_at += passed
        shown = self._time + passed * self._pace
        if not self.computing and (timer := self._next_timer()):
            shown = min(shown, max(self._time, timer.due))  # until the waiter is awake
        self._time = max(time.time(), shown)
        return self._time

    def set(self, time_now: float, speed: float) -> None:
        """Continue from this time, at this speed."""
        self._time, self._set_at, self.speed = time_now, time.monotonic(), speed
        self.changed.notify()

    def count(self, change: int) -> None:
        """Change the number of threads that compute."""
        if self.computing in (0, -change):  # the first or the last
            self.now()
        self.computing += change
        if not self.computing:
            self.changed.notify()

    def wake(self, waiter: _Waiter) -> None:
        if not waiter.woken:
            self.now()
            if waiter.computes:
                self.count(1)  # before it runs, so that the clock does not accelerate in between
            waiter.woken = True
            for signal in waiter.signals:
                signal._waiters.discard(waiter)
            waiter.gate.release()

    def _next_timer(self) -> _Timer | None:
        """The timer that is due next. Removes timers whose waiters are awake."""
        while self._timers and self._timers[0].waiter.woken:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None

    def add_timer(self, due: float, waiter: _Waiter) -> None:
        heapq.heappush(self._timers, _Timer(due, next(self._numbers), waiter))
        if self.driver is None:
            self.driver = threading.Thread(target=self._drive, name="clock", daemon=True)
            self.driver.start()
        elif self._timers[0].waiter is waiter:
            self.changed.notify()

    def _drive(self) -> None:
        """Wake each thread that is due. Ends when no thread waits."""
        with self.changed:
            while timer := self._next_timer():
                now = self.now()
                if timer.due <= now:
                    self.wake(timer.waiter)
                elif math.isinf(self.speed) and not self.computing:
                    self._time, self._set_at = timer.due, time.monotonic()
                else:
                    self.changed.wait(min((timer.due - now) / self._pace, threading.TIMEOUT_MAX))
            self.driver = None


class Signal:
    """Like threading.Event, but with time-outs in service seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_set = False
        self._waiters: set[_Waiter] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Wake all waiting threads, and let later waits return at once until `clear`."""
        with self._clock._scheduler.changed:
            self._is_set = True
            for waiter in list(self._waiters):
                self._clock._scheduler.wake(waiter)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for `set`, at most `seconds` of service time. Returns whether it is set."""
        self._clock._wait([self], seconds)
        return self._is_set


class _Waiter:
    """A waiting thread. `gate` opens when the thread is woken."""

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
