"""Who API Gateway's claims say is signed in, and where the labelling page signs people in."""

from typing import Any

import pytest

from api import sign_in
from api.problems import Problem
from rules.people import LABELLERS, REVIEWERS

CLAIMS = {"sub": "7d0f1c2e", "cognito:username": "7d0f1c2e", "email": "jane@example.com"}


def event(**claims: str) -> dict[str, Any]:
    return {"requestContext": {"authorizer": {"claims": {**CLAIMS, **claims}}}}


def test_a_person_has_the_groups_of_the_claims() -> None:
    # Given the claims as API Gateway passes them, with a group that is not the page's
    claims = {"cognito:groups": "reviewers,tellers,labellers"}
    # Then the person has the page's groups, and the e-mail address for a name if the pool has none
    assert sign_in.person(event(**claims)) == sign_in.Person("7d0f1c2e", "jane@example.com", (LABELLERS, REVIEWERS))
    assert sign_in.person(event(**claims, name="Jane")).name == "Jane"


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": None},
        event()["requestContext"],
        event(**{"cognito:groups": "tellers,labellers2"})["requestContext"],
    ],
)
def test_a_person_in_no_group_is_refused(context: dict[str, Any]) -> None:
    with pytest.raises(Problem, match="ekyc people invite") as refused:
        sign_in.person({"requestContext": context})
    assert (refused.value.status, refused.value.kind) == (403, "no-labeller")


def test_a_labeller_is_no_reviewer() -> None:
    labeller = sign_in.person(event(**{"cognito:groups": "labellers"}))
    sign_in.require(labeller, LABELLERS)
    with pytest.raises(Problem, match="Only people in the group reviewers") as refused:
        sign_in.require(labeller, REVIEWERS)
    assert refused.value.status == 403


def test_the_page_learns_where_people_sign_in() -> None:
    environment = {
        "JOBS_TABLE": "jobs",
        "LABELLING_ISSUER": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a",
        "LABELLING_CLIENT": "client",
        "LABELLING_SIGN_IN_URL": "https://sign-in.example.com",
        "LABELLING_SCOPES": "email,openid",
    }
    assert sign_in.configuration(sign_in.Settings.from_env(environment)) == {
        "clientId": "client",
        "scopes": ["email", "openid"],
        "server": {
            "issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a",
            "authorization_endpoint": "https://sign-in.example.com/oauth2/authorize",
            "token_endpoint": "https://sign-in.example.com/oauth2/token",
            "revocation_endpoint": "https://sign-in.example.com/oauth2/revoke",
        },
        "signOutUrl": "https://sign-in.example.com/logout",
    }
