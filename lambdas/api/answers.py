"""How large an answer may be: a function returns 6,291,556 bytes at most, else its caller gets a 502.

Source: Lambda guide, "Lambda quotas", invocation payload.
"""

import json

LARGEST = 6_200_000
"""Bytes of a body as a function returns it; the rest is for what is around it."""


def size(body: str) -> int:
    """The bytes of a body as a function returns it: as a JSON text, in which each quotation mark takes two."""
    return len(json.dumps(body))
