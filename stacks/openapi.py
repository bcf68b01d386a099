"""Reads the API's description, ``lambdas/api/openapi.yaml``. The gateway is built from it, and the API serves it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from stacks import yaml_source

SOURCE = Path(__file__).resolve().parent.parent / "lambdas" / "api" / "openapi.yaml"

METHODS = ("get", "put", "post", "delete", "patch")
IN_GATEWAY = {"query": "querystring", "path": "path"}
"""API Gateway's name for each place of a parameter."""

SHAPE_AND_SIZE = ("type", "required", "maxItems", "maxLength")
"""The schema keywords that API Gateway checks in a body, besides its properties and items.

The function checks ranges, patterns and choices, because its error names the field. API Gateway's error does not: it
says "numeric instance is greater than the required maximum" for any field.
"""


class Access(Enum):
    """Who can call an operation. A value is the operation's ``security`` in the description."""

    CALLERS = None
    """The callers of the setting ``apiAuthorization``, as the description says for all operations."""
    LABELLERS = "labellingSignIn"
    """People who are signed in to the labelling page."""
    ANYONE = ""
    """Everyone, without credentials."""


@dataclass(frozen=True)
class Operation:
    """An operation of the API.

    ``parameters`` maps each query and path parameter, named as in API Gateway (``method.request.path.id``), to whether
    it is required. ``body`` is the schema name of a required JSON body. It is None if the body is optional or absent:
    the API Gateway guide does not say how a model treats a missing body, so the function checks optional bodies.
    ``access`` says who can call the operation.
    """

    id: str
    summary: str
    method: str
    path: str
    parameters: Mapping[str, bool]
    body: str | None
    access: Access


class Description:
    """The OpenAPI 3.0 document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    @classmethod
    def read(cls) -> "Description":
        """Read `SOURCE`."""
        document = yaml_source.read(SOURCE)
        for item in document["paths"].values():
            for call in item.values():
                # YAML puts merged keys first; readers expect the responses in the order of their status.
                call["responses"] = dict(sorted(call["responses"].items()))
        return cls(document)

    def as_json(self) -> str:
        """Return the document as the API serves it."""
        return json.dumps(self.document, indent=2) + "\n"

    def operations(self) -> Iterator[Operation]:
        """Yield every operation, in the document's order."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method not in item:
                    continue
                parameters = [self._resolved(parameter) for parameter in item[method].get("parameters", [])]
                body = item[method].get("requestBody", {})
                yield Operation(
                    id=item[method]["operationId"],
                    summary=item[method]["summary"],
                    method=method.upper(),
                    path=path,
                    parameters={
                        f"method.request.{IN_GATEWAY[parameter['in']]}.{parameter['name']}": parameter.get(
                            "required", False
                        )
                        for parameter in parameters
                    },
                    body=body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                    if body.get("required")
                    else None,
                    access=_access(item[method].get("security")),
                )

    def model(self, name: str) -> dict[str, Any]:
        """Return the schema ``name`` in JSON Schema draft 4, as API Gateway's models require, with references resolved.

        Source: API Gateway guide, 'Data models for REST APIs'.
        """
        schema = self._draft4(self.document["components"]["schemas"][name])
        return {"$schema": "http://json-schema.org/draft-04/schema#", "title": name, **schema}

    def _draft4(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        schema = self._resolved(schema)
        converted: dict[str, Any] = {key: schema[key] for key in SHAPE_AND_SIZE if key in schema}
        if "properties" in schema:
            converted["properties"] = {name: self._draft4(part) for name, part in schema["properties"].items()}
        if "additionalProperties" in schema:
            converted["additionalProperties"] = schema["additionalProperties"]
        if "items" in schema:
            converted["items"] = self._draft4(schema["items"])
        return converted

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in part:
            return part
        target: Any = self.document
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return self._resolved(target)


def _access(security: list[Mapping[str, Any]] | None) -> Access:
    """Return who an operation with this ``security`` is for. It names at most one scheme; an empty list is for all."""
    return Access(None if security is None else next((name for scheme in security for name in scheme), ""))
