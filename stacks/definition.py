"""Reads the state machine's definition from YAML; ``python -m stacks.definition`` prints it as the stack deploys it."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

FILE = Path(__file__).resolve().parent.parent / "statemachine" / "training.asl.yaml"
SHARED = "x-"
"""Begins each key at the top of the file that holds what states share, and that is no part of the definition."""


class DefinitionError(ValueError):
    """The file is not YAML, or gives a key twice; the message says in which line."""


def read(file: Path = FILE) -> dict[str, Any]:
    """The definition in the Amazon States Language, as it is deployed but for what CloudFormation substitutes.

    Raises:
        DefinitionError: ``file`` cannot be read as YAML 1.2.
    """
    try:
        parts = YAML(typ="safe", pure=True).load(file)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise DefinitionError(f"{file.name}, line {line}: {error.problem}. Correct the file.") from error
    return {key: value for key, value in parts.items() if not key.startswith(SHARED)}


def as_json() -> str:
    """The definition as the text that is deployed."""
    return json.dumps(read(), indent=2)


if __name__ == "__main__":
    print(as_json())
