"""The user pools of the local AWS: find a pool and its parts, issue a person's tokens, verify an ID token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from ekyc.localaws import aws
from ekyc.localaws.clock import clock

UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


class TokenRefused(Exception):
    """The token is not valid. The message has API Gateway's words."""


def pools() -> list[Any]:
    """All user pools."""
    from moto.cognitoidp.models import cognitoidp_backends

    return list(cognitoidp_backends[aws.account][aws.region].user_pools.values())


def clients() -> Iterator[tuple[Any, Any]]:
    """Yield each app client with its pool: pool, client."""
    for pool in pools():
        for client in list(pool.clients.values()):
            yield pool, client


def seconds(client: Any, token: str) -> int:
    """The validity of a client's tokens of one kind (`IdToken`, `AccessToken`, `RefreshToken`)."""
    unit = client.extended_config["TokenValidityUnits"][token]
    return int(client.extended_config[f"{token}Validity"]) * UNITS[unit]


def issue_tokens(pool: Any, client: Any, login: str, nonce: str | None) -> dict[str, Any]:
    """A new ID token and access token of the user who signs in as `login`, as Cognito's token endpoint returns them.

    Source: Cognito guide, 'Understanding the identity (ID) token'.
    """
    user = pool._get_user(login)
    groups = sorted(group.group_name for group in user.groups)
    shared = {"cognito:groups": groups} if groups else {}
    names = {name: value for name, value in user.attribute_lookup.items() if name in ("email", "name")}
    own = {**shared, **names, **({"nonce": nonce} if nonce else {})}
    valid = seconds(client, "AccessToken")
    return {
        "id_token": pool.create_jwt(client.id, login, "id", seconds(client, "IdToken"), own)[0],
        "access_token": pool.create_jwt(client.id, login, "access", valid, shared)[0],
        "token_type": "Bearer",
        "expires_in": valid,
    }


def verify_id_token(token: str, pool_arns: Sequence[str], audience: str | None) -> dict[str, Any]:
    """The claims of an ID token that one of these pools has issued.

    `audience` is a regular expression for the claim `aud`, or None for any.
    Source: Cognito guide, 'Verifying JSON web tokens'.

    Raises:
        TokenRefused: the token is malformed, expired, not an ID token, or of another pool or app client.
    """
    for pool in pools():
        if pool.arn not in pool_arns:
            continue
        try:
            claims = jwt.decode(token, pool.json_web_key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            continue
        issuer = f"https://cognito-idp.{pool.region}.amazonaws.com/{pool.id}"
        if claims.get("iss") != issuer or claims.get("token_use") != "id":
            continue
        if audience is not None and not re.fullmatch(audience, str(claims.get("aud"))):
            continue
        if not claims["exp"] > clock.now():
            raise TokenRefused("The incoming token has expired")
        return dict(claims)
    raise TokenRefused("Unauthorized")
