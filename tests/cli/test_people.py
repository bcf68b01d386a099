"""`ekyc people` as an operator runs it, against the deployed stack of the local AWS."""

import json
import subprocess
from collections.abc import Callable

import pytest

from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import user_pools
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize
from tests.command import ekyc

Run = Callable[..., subprocess.CompletedProcess[str]]
JANE = "jane@example.com"


@pytest.fixture(scope="module")
def deployed(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    assembly = synthesize(tmp_path_factory.mktemp("assembly"), LOCAL_SETTINGS)
    local_aws.reset()
    local_aws.deploy(assembly)
    return local_aws


@pytest.fixture
def people(deployed: LocalAws) -> Run:
    """`people(...)` runs the command."""
    return lambda *words: ekyc("people", *words, **deployed.environment())


def test_people_are_invited_listed_and_removed(people: Run, deployed: LocalAws) -> None:
    assert people("list").stdout == "No people are invited yet.\n"
    # When two people are invited
    invited = people("invite", JANE)
    assert invited.returncode == 0, invited.stderr
    assert f"{deployed.api_url}/labelling/" in invited.stdout
    reviewer = json.loads(people("invite", "rev@example.com", "--reviewer", "--json").stdout)
    assert reviewer["groups"] == ["labellers", "reviewers"]
    # Then both are listed
    assert json.loads(people("list", "--json").stdout) == [
        {"email": JANE, "groups": ["labellers"], "status": "invited"},
        {"email": "rev@example.com", "groups": ["labellers", "reviewers"], "status": "invited"},
    ]
    # And another invitation has a new password, and can make a reviewer
    again = json.loads(people("invite", JANE, "--reviewer", "--json").stdout)
    (pool,) = user_pools.pools()
    assert pool._get_user(JANE).password == again["temporary_password"]
    assert again["temporary_password"] not in invited.stdout
    assert "labellers, reviewers" in people("list").stdout
    # When a person is removed, then the account is gone
    assert people("remove", JANE).returncode == 1  # nobody confirmed it
    assert "the account is deleted" in people("remove", JANE, "--yes").stdout
    assert [person["email"] for person in json.loads(people("list", "--json").stdout)] == ["rev@example.com"]
    assert pool._get_user(JANE) is None


def test_a_person_with_a_password_gets_no_other(people: Run, deployed: LocalAws) -> None:
    # Given a person who has signed in
    (pool,) = user_pools.pools()
    people("invite", JANE)
    cognito = deployed.client("cognito-idp")
    cognito.admin_set_user_password(UserPoolId=pool.id, Username=JANE, Password="A-long-Password-4", Permanent=True)
    # Then another invitation changes the groups only
    again = people("invite", JANE, "--reviewer")
    assert "has an account already" in again.stdout
    assert pool._get_user(JANE).password == "A-long-Password-4"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["invite", "jane"], "'jane' is not an e-mail address."),
        (["invite", 'a" or email ^= "@x.y'], "is not an e-mail address."),
        (["remove", "who@example.com", "--yes"], "no user with the e-mail address who@example.com"),
        (["list", "--stack", "other"], "There is no stack other in this account and Region."),
    ],
)
def test_a_mistake_is_answered_in_words(people: Run, words: list[str], why: str) -> None:
    ended = people(*words)
    assert ended.returncode == 1
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr
