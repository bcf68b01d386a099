"""The template of every combination of settings, synthesized once."""

import json
from typing import Any

import pytest

from stacks.combinations import COMBINATIONS, synthesize


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the combination's name."""
    folder = tmp_path_factory.mktemp("combinations")
    return {name: json.loads(synthesize(name, folder / name).read_text()) for name in COMBINATIONS}
