"""Converts values to and from DynamoDB JSON, and makes the tokens of a list's pages."""

import base64
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

if TYPE_CHECKING:
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef

KIND = "training-job"
"""Partition key of the index: all jobs in one list, ordered by StartTime."""


class PageTokenInvalid(ValueError):
    """`page_token` did not make the page token."""


def serialize(value: Any) -> dict[str, Any]:
    """``value`` in DynamoDB JSON. Floats are converted through text, so that 0.71 stays 0.71."""
    return dict(TypeSerializer().serialize(json.loads(json.dumps(value), parse_float=Decimal)))


def plain(value: "AttributeValueTypeDef") -> Any:
    """A value in DynamoDB JSON as a Python value, with numbers as int or float at every level."""
    return _without_decimals(TypeDeserializer().deserialize(value))


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_without_decimals(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _without_decimals(entry) for name, entry in value.items()}
    return value


def page_token(last: Mapping[str, Any]) -> str:
    """The token of the page after ``last``, the last key of a query."""
    return base64.urlsafe_b64encode(f"{last['StartTime']['N']} {last['Id']['S']}".encode()).decode().rstrip("=")


def read_page_token(token: str) -> dict[str, Any]:
    """The ``ExclusiveStartKey`` of the next page's query.

    Raises:
        PageTokenInvalid: `page_token` did not make the token.
    """
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        text = ""
    key = re.fullmatch(r"([0-9]{1,15}) ([a-z0-9-]{1,80})", text)
    if not key:
        raise PageTokenInvalid("The page token was not returned by a list.")
    return {"Kind": {"S": KIND}, "StartTime": {"N": key[1]}, "Id": {"S": key[2]}}
