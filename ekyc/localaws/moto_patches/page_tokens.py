"""Pages of a list, with tokens that lead on in the same list only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_KEY = secrets.token_bytes(32)  # of this process: tokens of another one are refused
_SEAL_BYTES = 16
Item = TypeVar("Item")


class PageTokenError(ValueError):
    """The token was not given by this list, or leads to something that it no longer holds."""


def page(
    items: Sequence[Item], key: Callable[[Item], Any], limit: int, token: str | None, listing: str
) -> tuple[Sequence[Item], str | None]:
    """At most ``limit`` of the ``items`` and the token of the next page, None at the end.

    ``key`` tells items apart; a token leads to the item of that key, wherever it is by then. ``listing`` names what is
    listed: the operation, the resource and the filters. Raises PageTokenError.
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
