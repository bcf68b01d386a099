"""The largest response: if a function returns more than 6,291,556 bytes, the caller of the API gets a 502.

Source: Lambda guide, "Lambda quotas", invocation payload.
"""

import json

LARGEST = 6_200_000
"""The maximum size of a body in bytes. The rest of the limit is for the status and the headers."""


def size(body: str) -> int:
    """The size in bytes of a body in the function's result, which is JSON: a quotation mark has two bytes there."""
    return len(json.dumps(body))
