"""CloudFormation: names of resources, and how fast a template is read."""

from __future__ import annotations

import functools
import json
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Stack

from ekyc.localaws.moto_patches.border import replace


def patch() -> None:
    """Patch moto's CloudFormation, once per process."""
    # A resource has one name in all deployments of a process, so that what was made for it once serves again: processes
    # that functions start from, the parsed definition of a state machine.
    replace(parsing, "generate_resource_name", functools.cache(parsing.generate_resource_name))

    # moto takes half a second to read a template as YAML.
    parse_yaml = Stack.parse_template

    def parse_template(template: str) -> dict[str, Any]:
        try:
            return json.loads(template)
        except ValueError:
            return parse_yaml(template)

    replace(Stack, "parse_template", staticmethod(parse_template))
