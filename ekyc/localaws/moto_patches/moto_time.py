"""Makes moto use the clock of the local AWS for all dates and durations.

moto reads the time in hundreds of places, through the names `datetime` and `time` that its modules import. These names
are replaced in each module of moto, including modules that are imported later. Other libraries keep the real time.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from ekyc.localaws.clock import clock


def patch() -> None:
    """Patch moto's time, for the life of this process."""
    for name, module in list(sys.modules.items()):
        if name.startswith("moto."):
            _replace_time(module)
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Imports moto's modules as Python does, then replaces the time in each."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.startswith("moto.") else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            _replace_time(module)

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec


class _StandIn:
    """A proxy for a class or module in which `own` replaces some functions."""

    def __init__(self, original: Any, **own: Any) -> None:
        self._original = original
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._original(*arguments, **named)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._original)


def _now(tz: datetime.tzinfo | None = None) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.now(), tz)


_DATE = _StandIn(datetime.date, today=lambda: _now().date())
_DATETIME = _StandIn(datetime.datetime, now=_now, today=_now, utcnow=lambda: _now(datetime.UTC).replace(tzinfo=None))
_STAND_INS = (
    (datetime, _StandIn(datetime, date=_DATE, datetime=_DATETIME)),
    (datetime.datetime, _DATETIME),
    (datetime.date, _DATE),
    (time, _StandIn(time, time=clock.now)),
    (time.time, clock.now),
)


def _replace_time(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        for original, stand_in in _STAND_INS:
            if value is original:
                setattr(module, name, stand_in)
