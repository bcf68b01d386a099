"""The state machine's definition. ``python -m stacks.definition`` prints it as the stack deploys it."""

import json
from pathlib import Path
from typing import Any

from stacks import yaml_source

FILE = Path(__file__).resolve().parent.parent / "statemachine" / "training.asl.yaml"


def read() -> dict[str, Any]:
    """Return the definition in the Amazon States Language, before CloudFormation's substitutions."""
    return yaml_source.read(FILE)


def as_json() -> str:
    """Return the definition as JSON text, as it is deployed."""
    return json.dumps(read(), indent=2)


if __name__ == "__main__":
    print(as_json())
