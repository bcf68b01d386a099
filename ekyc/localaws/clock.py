"""The clock of the local AWS: waiting is accelerated, computing is not.

Everything that only waits (Wait states, retry delays, heartbeats, the services' own delays) asks this clock, so that
three hours of training pass in minutes; everything that computes (a function, a detector that learns) takes the time
that it takes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any


class Interrupted(SystemExit):
    """The local AWS stops or is reset: end this thread.

    A SystemExit, because that passes every `except Exception` and ends a thread without a traceback.
    """


class Clock:
    """Service seconds run `speed` times faster than real ones."""

    def __init__(self, speed: float = 60.0) -> None:
        self.speed = speed
        self._lock = threading.Lock()
        self._interruption = threading.Event()
        self._threads: set[threading.Thread] = set()

    def real_seconds(self, service_seconds: float) -> float:
        """How long `service_seconds` take on the wall clock."""
        return service_seconds / self.speed

    def service_seconds(self, real_seconds: float) -> float:
        """How many seconds pass for the services while `real_seconds` pass on the wall clock."""
        return real_seconds * self.speed

    def sleep(self, seconds: float) -> None:
        """Wait `seconds` of service time. Raises Interrupted when the local AWS stops or is reset meanwhile."""
        interruption = getattr(threading.current_thread(), "_interruption", self._interruption)
        if interruption.wait(self.real_seconds(seconds)):
            raise Interrupted

    def background(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Run `work(*arguments)` in a daemon thread whose sleeps `interrupt` ends."""
        thread = threading.Thread(target=self._run, args=(work, arguments), name=work.__name__, daemon=True)
        with self._lock:
            thread._interruption = self._interruption  # type: ignore[attr-defined]
            self._threads.add(thread)
        thread.start()
        return thread

    def interrupt(self, timeout: float = 5.0) -> None:
        """Wake every sleeper with Interrupted and wait up to `timeout` real seconds for each background thread."""
        with self._lock:
            interruption, self._interruption = self._interruption, threading.Event()
            threads, self._threads = self._threads, set()
        interruption.set()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout)

    def _run(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            with contextlib.suppress(Interrupted):
                work(*arguments)
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())


clock = Clock()
