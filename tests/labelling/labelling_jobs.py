"""What the tests of the labelling page share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import ENOUGH

PROJECT = Path(__file__).parents[2]


def eventually(condition: Callable[[], Any], seconds: float = ENOUGH) -> Any:
    """Wait until ``condition`` returns something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.03)
    return result
