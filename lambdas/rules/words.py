"""How values that other people wrote are shown in messages."""

import json
from typing import Any

MAX_CHARS_SHOWN = 100


def quoted(value: Any) -> str:
    """Any JSON value as messages show it: text in quotation marks, null for None, control characters escaped, cut."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_CHARS_SHOWN else f"{value[:MAX_CHARS_SHOWN]}...")
    shown = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return shown if len(shown) <= MAX_CHARS_SHOWN else f"{shown[:MAX_CHARS_SHOWN]}..."


def escaped(text: str) -> str:
    """``text`` as it is, but with control characters escaped, and cut."""
    return quoted(text)[1:-1]


def counted(count: int, name: str) -> str:
    """``count`` with the singular ``name`` or its plural: ``1 type``, ``2 types``."""
    return f"{count:,} {name if count == 1 else f'{name}s'}"
