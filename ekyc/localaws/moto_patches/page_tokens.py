"""Splits a list into pages. A page token is valid only for the list that returned it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_KEY = secrets.token_bytes(32)  # new in each process, so tokens of another process are refused
_SEAL_BYTES = 16
Item = TypeVar("Item")


class PageTokenError(ValueError):
    """The token is not from this list, or its item no longer exists."""


def page(
    items: Sequence[Item], key: Callable[[Item], Any], limit: int, token: str | None, listing: str
) -> tuple[Sequence[Item], str | None]:
    """At most ``limit`` of the ``items``, and the token of the next page, or None at the end.

    ``key`` identifies an item. A token stands for the item with that key, wherever it is in the list by then.
    ``listing`` identifies the list: the operation, the resource and the filters. Raises PageTokenError.
    """
    start = 0 if token is None else _position(items, key, _opened(token, listing))
    stop = start + limit
    following = _sealed(str(key(items[stop])), listing) if stop < len(items) else None
    return items[start:stop], following


def _position(items: Sequence[Item], key: Callable[[Item], Any], wanted: str) -> int:
    for position, item in enumerate(items):
        if str(key(item)) == wanted:
            return position
    raise PageTokenError


def _sealed(text: str, listing: str) -> str:
    return base64.b64encode(_seal(text, listing) + text.encode()).decode()


def _opened(token: str, listing: str) -> str:
    try:
        raw = base64.b64decode(token, validate=True)
        text = raw[_SEAL_BYTES:].decode()
    except (binascii.Error, ValueError) as error:
        raise PageTokenError from error
    if not hmac.compare_digest(raw[:_SEAL_BYTES], _seal(text, listing)):
        raise PageTokenError
    return text


def _seal(text: str, listing: str) -> bytes:
    return hmac.digest(_KEY, f"{listing}\n{text}".encode(), hashlib.sha256)[:_SEAL_BYTES]
