"""What `Ref` gives for each resource of the template is what the property that holds it takes."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from templates import Template

from stacks.combinations import COMBINATIONS

REGION = "us-east-1"


def identifier_of(kind: str) -> str:
    """The property that `Ref` gives for a resource type: the last part of the registry's primary identifier."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return str(schema["primaryIdentifier"][-1].rpartition("/")[2])


def form(name: str) -> str | None:
    """Which identifier a property of this name holds, if its name says so."""
    suffix = re.search(r"(Arn|Name|Id|Url)s?$", name)
    return suffix[1] if suffix else None


def references(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each property that holds a `Ref` alone, with the logical id that it names."""
    if isinstance(value, dict) and value.keys() == {"Ref"}:
        yield name, value["Ref"]
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from references(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner, name)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_each_ref_gives_what_its_property_takes(templates: dict[str, dict[str, Any]], combination: str) -> None:
    # Given the template of a combination of settings
    template = Template(templates[combination])
    # When a property holds the Ref of a resource
    wrong = []
    for place, resource in template.resources.items():
        for name, target in references(resource.get("Properties", {})):
            if target in template.resources:
                kind = template.resources[target]["Type"]
                wanted, given = form(name), form(identifier_of(kind))
                if wanted and given and wanted != given:
                    wrong.append(f"{place}: {name} takes a {wanted}, the Ref of {kind} is its {given}")
    # Then the Ref is the identifier that the property's name asks for
    assert wrong == []
