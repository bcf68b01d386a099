"""Look-ups in a synthesized template."""

from typing import Any


class Template:
    """The template with look-ups by type and by construct name."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.resources: dict[str, dict[str, Any]] = body["Resources"]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of every resource of the type ``kind``, by logical id."""
        return {
            id: resource.get("Properties", {}) for id, resource in self.resources.items() if resource["Type"] == kind
        }

    def one(self, kind: str) -> dict[str, Any]:
        (properties,) = self.of(kind).values()
        return properties

    def keys(self, usage: str) -> dict[str, dict[str, Any]]:
        """The properties of the KMS keys for ``usage``, ENCRYPT_DECRYPT (the default) or SIGN_VERIFY, by logical id."""
        return {
            id: key for id, key in self.of("AWS::KMS::Key").items() if key.get("KeyUsage", "ENCRYPT_DECRYPT") == usage
        }

    def functions(self) -> dict[str, dict[str, Any]]:
        """The functions by name, which is their Powertools service."""
        return {
            function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: function
            for function in self.of("AWS::Lambda::Function").values()
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        """What the role with this logical id may do."""
        return [
            statement
            for policy in self.of("AWS::IAM::Policy").values()
            if {"Ref": role} in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def statements_of(self, function: str) -> list[dict[str, Any]]:
        return self.statements(self.functions()[function]["Role"]["Fn::GetAtt"][0])


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def written(value: Any) -> str:
    """An ARN with its references in angle brackets, such as ``<Table.Arn>/index/ByStartTime``."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": path}:
            return f"<{'.'.join(path)}>"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(written, parts))
    raise AssertionError(value)
