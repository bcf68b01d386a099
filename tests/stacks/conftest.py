"""The template of every combination of settings, synthesized once: the tests here run in one process."""

import json
import os
from typing import Any

import pytest

from stacks.combinations import COMBINATIONS, synthesize

os.environ["CDK_VALIDATION"] = "false"  # takes longer than the rest, and `make synth` does it


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the combination's name."""
    folder = tmp_path_factory.mktemp("combinations")
    return {name: json.loads(synthesize(name, folder / name).read_text()) for name in COMBINATIONS}
