"""The API's description, ``lambdas/api/openapi.yaml``, as the gateway is built from it and as the API answers it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks import yaml_source

SOURCE = Path(__file__).resolve().parent.parent / "lambdas" / "api" / "openapi.yaml"

METHODS = ("get", "put", "post", "delete", "patch")

SHAPE_AND_SIZE = ("type", "required", "maxItems", "maxLength")
"""What API Gateway checks of a body's schema, besides its properties and items.

Ranges, patterns and choices are left to the function, whose answer names the field: API Gateway's would be "numeric
instance is greater than the required maximum", whichever field that is.
"""


@dataclass(frozen=True)
class Operation:
    """One call of the API, and in a few words what it does.

    ``parameters`` are its query and path parameters by API Gateway's name of them, with whether each must be there.
    ``body`` is the name of the schema of the JSON body that it needs. It is None when a call may come without a body:
    API Gateway's guide does not say what a model makes of none, so such a body is the function's to check.
    """

    id: str
    summary: str
    method: str
    path: str
    parameters: Mapping[str, bool]
    body: str | None


class Description:
    """The OpenAPI 3.0 document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document

    @classmethod
    def read(cls) -> "Description":
        """The description as `SOURCE` has it."""
        document = yaml_source.read(SOURCE)
        for item in document["paths"].values():
            for call in item.values():
                # YAML puts what is merged before a call's own answers; readers look for those by their number.
                call["responses"] = dict(sorted(call["responses"].items()))
        return cls(document)

    def as_json(self) -> str:
        """The document as the API answers it."""
        return json.dumps(self.document, indent=2) + "\n"

    def operations(self) -> Iterator[Operation]:
        """Every call, in the document's order."""
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
                        f"method.request.{'querystring' if one['in'] == 'query' else one['in']}.{one['name']}": one.get(
                            "required", False
                        )
                        for one in parameters
                    },
                    body=body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                    if body.get("required")
                    else None,
                )

    def model(self, name: str) -> dict[str, Any]:
        """The schema ``name`` in JSON Schema draft 4, which API Gateway's models are in; references are written out.

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
        found: Any = self.document
        for key in part["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return self._resolved(found)
