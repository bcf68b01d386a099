"""Converts between the state machine's JSON (camelCase) and frozen dataclasses (snake_case)."""

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pipeline.errors import UnexpectedAnswer

Request = TypeVar("Request")


def camel(name: str) -> str:
    """``min_label_f1`` becomes ``minLabelF1``."""
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), name)


def read(kind: type[Request], payload: Mapping[str, Any]) -> Request:
    """Build the dataclass ``kind`` from a payload that has exactly its fields, in camelCase.

    Raises:
        UnexpectedAnswer: names the fields that are missing or unknown.
    """
    names = {camel(field.name): field.name for field in fields(kind)}  # type: ignore[arg-type]
    if payload.keys() != names.keys():
        missing, unknown = sorted(names.keys() - payload.keys()), sorted(payload.keys() - names.keys())
        raise UnexpectedAnswer(f"{kind.__name__}: missing {missing}, unknown {unknown} in the state's arguments.")
    return kind(**{names[key]: value for key, value in payload.items()})


def write(result: Any) -> dict[str, Any]:
    """The dataclass ``result`` as a payload in camelCase. Keys of dicts inside it are unchanged."""
    return {camel(name): value for name, value in asdict(result).items()}
