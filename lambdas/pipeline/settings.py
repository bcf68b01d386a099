"""Reads a function's settings from its environment, once, at its start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from pipeline.errors import SettingsInvalid

TRUE_WORDS = {"true": True, "false": False}


def _read(kind: Any, text: str) -> Any:
    if kind is bool:
        return TRUE_WORDS[text]
    if kind == tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)
    return kind(text)


@dataclass(frozen=True)
class Variables:
    """The settings of a function. Each field has the name of its environment variable in lower case.

    Fields may be ``str``, ``int``, ``float``, ``bool`` (``true`` or ``false``) and ``tuple[str, ...]`` (separated by
    commas).
    """

    @classmethod
    def from_env(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read every field from ``environment``.

        Raises:
            SettingsInvalid: names every variable that is missing or malformed, at once.
        """
        values: dict[str, Any] = {}
        faults = []
        for field in fields(cls):
            variable = field.name.upper()
            if variable not in environment:
                faults.append(f"{variable} is missing")
                continue
            try:
                values[field.name] = _read(field.type, environment[variable])
            except (ValueError, KeyError):
                kind = getattr(field.type, "__name__", field.type)
                faults.append(f"{variable} is {environment[variable]!r}, which is not a valid {kind}")
        if faults:
            raise SettingsInvalid("The function's environment is wrong: " + "; ".join(faults) + ".")
        return cls(**values)


@dataclass(frozen=True)
class Settings(Variables):
    """Base of the settings of a function that uses the table of jobs."""

    jobs_table: str
