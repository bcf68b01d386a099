"""Who is signed in to the labelling page, what they may do, and where people sign in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from api import problems
from pipeline.settings import Settings as BaseSettings
from rules.people import GROUPS


@dataclass(frozen=True)
class Settings(BaseSettings):
    """Where people sign in. The stack sets these variables only with the setting labellingUserPool."""

    labelling_issuer: str
    labelling_client: str
    labelling_sign_in_url: str
    labelling_scopes: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """A person who is signed in. ``groups`` are the person's groups among those of the labelling page, sorted."""

    sub: str
    name: str
    groups: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The person as the API returns it."""
        return asdict(self)


def person(event: Mapping[str, Any]) -> Person:
    """The person whose ID token API Gateway has verified for this proxy event.

    API Gateway does not check groups. It passes the claim with the groups as text, separated by commas.

    Raises:
        Problem: 403 if the person is in no group of the labelling page.
    """
    claims = (event["requestContext"].get("authorizer") or {}).get("claims") or {}
    groups = tuple(sorted(GROUPS.keys() & str(claims.get("cognito:groups", "")).split(",")))
    if not groups:
        raise problems.no_labeller()
    name = claims.get("name") or claims.get("email") or claims["cognito:username"]
    return Person(str(claims["sub"]), str(name), groups)


def require(who: Person, group: str) -> None:
    """Check that the person is in the group.

    Raises:
        Problem: 403 if the person is not.
    """
    if group not in who.groups:
        raise problems.not_in_group(group)


def configuration(settings: Settings) -> dict[str, Any]:
    """What the labelling page needs to sign people in.

    ``server`` has the names of OpenID Connect Discovery 1.0, which libraries take as the server's metadata. Cognito
    signs a person out at ``signOutUrl`` with the query parameters ``client_id`` and ``logout_uri``.
    Source: Cognito guide, 'User pool endpoints and managed login reference'.
    """
    url = settings.labelling_sign_in_url
    return {
        "clientId": settings.labelling_client,
        "scopes": list(settings.labelling_scopes),
        "server": {
            "issuer": settings.labelling_issuer,
            "authorization_endpoint": f"{url}/oauth2/authorize",
            "token_endpoint": f"{url}/oauth2/token",
            "revocation_endpoint": f"{url}/oauth2/revoke",
        },
        "signOutUrl": f"{url}/logout",
    }
