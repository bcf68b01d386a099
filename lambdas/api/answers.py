"""The largest answer: a function returns at most 6,291,556 bytes, otherwise its caller receives a 502.

Source: Lambda guide, "Lambda quotas", invocation payload.
"""

import json

LARGEST = 6_200_000
"""The most bytes of a body. The rest of the limit is for the status and the headers around it."""


def size(body: str) -> int:
    """The bytes of a body in the function's result, a JSON string in which each quotation mark takes two bytes."""
    return len(json.dumps(body))
