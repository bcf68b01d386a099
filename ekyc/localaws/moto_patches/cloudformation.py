"""Patches moto's CloudFormation: stable resource names, tags of parameters and keys, own URLs, faster templates."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Stack
from moto.kms.models import Key
from moto.ssm.models import Parameter

from ekyc.localaws import aws
from ekyc.localaws.moto_patches.border import replace

# The URL of a stage of a REST API, or of a user pool's domain.
OWN_URL = re.compile(r"https://[\w-]+\.(execute-api\.[\w-]+\.amazonaws\.com/[\w-]+|auth\.[\w-]+\.amazoncognito\.com)")


def patch() -> None:
    """Patch moto's CloudFormation, once per process."""
    # Keep a resource's name in all deployments of a process, so that caches for it stay valid: the processes that
    # functions are forked from, and the parsed definition of a state machine.
    replace(parsing, "generate_resource_name", functools.cache(parsing.generate_resource_name))

    # moto needs half a second to parse a template, because it parses it as YAML.
    parse_yaml = Stack.parse_template

    def parse_template(template: str) -> dict[str, Any]:
        try:
            return json.loads(template)
        except ValueError:
            return parse_yaml(template)

    replace(Stack, "parse_template", staticmethod(parse_template))

    # The API and the sign-in pages of user pools are at this server's address.
    clean = parsing.clean_json

    def clean_json(template: Any, resources: Any) -> Any:
        value = clean(template, resources)
        is_joined = isinstance(value, str) and isinstance(template, dict)
        return OWN_URL.sub(aws.endpoint(), value) if is_joined else value

    replace(parsing, "clean_json", clean_json)

    # For a parameter's tags, CloudFormation has a map, but moto expects a list. For a key's tags, KMS has other names.
    _convert_tags(Parameter, lambda tags: [{"Key": name, "Value": value} for name, value in tags.items()])
    _convert_tags(Key, lambda tags: [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in tags])


def _convert_tags(resource: Any, converted: Callable[[Any], list[dict[str, str]]]) -> None:
    """Make moto create a resource with the template's tags ``converted`` to the format of the service's API."""
    create = resource.create_from_cloudformation_json.__func__

    def create_tagged(kind: Any, name: str, template: dict[str, Any], *others: Any, **named: Any) -> Any:
        properties = template["Properties"]
        if "Tags" in properties:
            template = template | {"Properties": properties | {"Tags": converted(properties["Tags"])}}
        return create(kind, name, template, *others, **named)

    replace(resource, "create_from_cloudformation_json", classmethod(create_tagged))
