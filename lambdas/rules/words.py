"""Formats values from user input for messages."""

import json
from typing import Any

MAX_CHARS_SHOWN = 100


def quoted(value: Any) -> str:
    """Return a JSON value as text for a message: strings quoted, control characters escaped, long values cut."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_CHARS_SHOWN else f"{value[:MAX_CHARS_SHOWN]}...")
    shown = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return shown if len(shown) <= MAX_CHARS_SHOWN else f"{shown[:MAX_CHARS_SHOWN]}..."


def escaped(text: str) -> str:
    """Return ``text`` for a message without quotation marks: control characters escaped, long text cut."""
    return quoted(text)[1:-1]


def counted(count: int, name: str) -> str:
    """Return ``count`` with ``name`` in the singular or plural: ``1 type``, ``2 types``."""
    return f"{count:,} {name if count == 1 else f'{name}s'}"
