"""Validates a request against botocore's model of the service, as the service does first.

boto3 validates only what it needs to send a request (required members, types, lower bounds). AWS also checks upper
bounds, patterns and enumerations, and returns ValidationException. All rules come from the model.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from typing import Any

import botocore.session
import regex
from botocore.model import ServiceModel, Shape

from ekyc.localaws.errors import ServiceError


@functools.cache
def service_model(service: str) -> ServiceModel:
    """botocore's model of `service`, such as "rekognition"."""
    return botocore.session.get_session().get_service_model(service)


def checked_request(service: str, operation: str, body: bytes) -> dict[str, Any]:
    """Parse and validate the JSON body of a request. Blobs become bytes; null and unknown members are dropped.

    Raises ServiceError: SerializationException for wrong types, ValidationException for values that violate the model's
    bounds, patterns or enumerations. The message lists all of them, in AWS's words.
    """
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        raise ServiceError("SerializationException", "The request body is not JSON.") from None
    input_shape = service_model(service).operation_model(operation).input_shape
    if input_shape is None:
        return {}
    problems: list[str] = []
    checked = _checked(request, input_shape, "", problems)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise ServiceError("ValidationException", f"{count}: {'; '.join(problems)}")
    return checked


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


def _checked(value: Any, shape: Any, path: str, problems: list[str]) -> Any:
    is_wrong_bool = isinstance(value, bool) and shape.type_name != "boolean"
    if not isinstance(value, _PYTHON_TYPES[shape.type_name]) or is_wrong_bool:
        raise ServiceError("SerializationException", f"{path or 'The request body'} must be of type {shape.type_name}.")
    if shape.type_name == "blob":
        try:
            value = base64.b64decode(str(value), validate=True)
        except binascii.Error:
            raise ServiceError("SerializationException", f"{path} is not base64.") from None
    _check_bounds(value, shape, path, problems)
    if shape.type_name == "structure":
        return _checked_structure(value, shape, path, problems)
    if shape.type_name == "list":
        return [_checked(item, shape.member, f"{path}.{n}.member", problems) for n, item in enumerate(value, 1)]
    if shape.type_name == "map":
        for key in value:
            _checked(key, shape.key, f"{path}.{key}.key", problems)
        return {key: _checked(item, shape.value, f"{path}.{key}.value", problems) for key, item in value.items()}
    return value


def _checked_structure(value: dict[str, Any], shape: Any, path: str, problems: list[str]) -> dict[str, Any]:
    checked = {}
    for name, member in shape.members.items():
        member_path = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
        if value.get(name) is not None:
            checked[name] = _checked(value[name], member, member_path, problems)
        elif name in shape.required_members:
            problems.append(f"Value null at '{member_path}' failed to satisfy constraint: Member must not be null")
    return checked


def _check_bounds(value: Any, shape: Shape, path: str, problems: list[str]) -> None:
    def refuse(constraint: str) -> None:
        shown = "" if shape.type_name in ("blob", "structure", "list", "map") else f" '{value}'"
        problems.append(f"Value{shown} at '{path}' failed to satisfy constraint: Member must {constraint}")

    rules = shape.metadata
    is_number = isinstance(value, int | float)
    measured = value if is_number else len(value)
    what = "have value" if is_number else "have length"
    if "min" in rules and measured < rules["min"]:
        refuse(f"{what} greater than or equal to {rules['min']}")
    if "max" in rules and measured > rules["max"]:
        refuse(f"{what} less than or equal to {rules['max']}")
    if "enum" in rules and value not in rules["enum"]:
        refuse(f"satisfy enum value set: [{', '.join(rules['enum'])}]")
    # The patterns are Java's. The regex library supports \p{L}, re does not.
    if "pattern" in rules and shape.type_name == "string" and not regex.fullmatch(rules["pattern"], value):
        refuse(f"satisfy regular expression pattern: {rules['pattern']}")
