"""The largest answer: a function returns at most 6,291,556 bytes, otherwise its caller receives a 502.

Source: Lambda guide, "Lambda quotas", invocation payload.
"""

import json

LARGEST = 6_200_000
"""The most bytes of a body. The rest of the limit is for the status and the headers."""


def size(body: str) -> int:
    """The bytes that a body takes in the function's result, as a JSON string: a quotation mark takes two."""
    return len(json.dumps(body))
