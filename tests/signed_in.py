"""People who are signed in to the labelling page of the local AWS."""

from __future__ import annotations

from joserfc import jwt

from ekyc.localaws.clock import clock
from ekyc.localaws.services import user_pools
from rules.people import LABELLERS

TEN_YEARS = 10 * 365 * 24 * 3600  # the local clock jumps


def id_token(subject: str, *groups: str) -> str:
    """An ID token of the deployed stack's user pool for a person with this ``sub``."""
    pool, client = next((pool, client) for pool, client in user_pools.clients() if LABELLERS in pool.groups)
    now = int(clock.now())
    claims = {
        "iss": f"https://cognito-idp.{pool.region}.amazonaws.com/{pool.id}",
        "aud": client.id,
        "token_use": "id",
        "sub": subject,
        "cognito:username": subject,
        "cognito:groups": list(groups),
        "iat": now,
        "exp": now + TEN_YEARS,
    }
    return jwt.encode({"alg": "RS256"}, claims, pool.json_web_key)
