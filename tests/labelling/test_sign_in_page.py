"""The sign-in page of the local AWS in a browser, and the labelling page's calls with a token."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

EMAIL, TEMPORARY, PASSWORD = "jane@example.com", "Temporary-4-Jane", "Passport-photos-4-Jane"

ASK = """async () => {
    const { clientId, server } = await (await fetch("/api/labelling/sign-in")).json();
    sessionStorage.verifier = "v".repeat(43);
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sessionStorage.verifier));
    const challenge = btoa(String.fromCharCode(...new Uint8Array(digest)));
    location = server.authorization_endpoint + "?" + new URLSearchParams({
        client_id: clientId, redirect_uri: location.origin + "/labelling/", response_type: "code",
        code_challenge_method: "S256",
        code_challenge: challenge.replaceAll("+", "-").replaceAll("/", "_").replace("=", ""),
    });
}"""
"""What the labelling page does to sign a person in."""

FINISH = """async () => {
    const { clientId, server } = await (await fetch("/api/labelling/sign-in")).json();
    const answer = await fetch(server.token_endpoint, { method: "POST", body: new URLSearchParams({
        grant_type: "authorization_code", client_id: clientId, redirect_uri: location.origin + "/labelling/",
        code: new URLSearchParams(location.search).get("code"), code_verifier: sessionStorage.verifier,
    }) });
    const { id_token } = await answer.json();
    return (await fetch("/api/labelling/me", { headers: { Authorization: id_token } })).json();
}"""
"""What the page does with the code in its address. Gives the person."""


@pytest.fixture
def pool(empty_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The user pool of the deployed stack."""
    assembly = synthesize(tmp_path_factory.mktemp("assembly"), {**LOCAL_SETTINGS, "labellingUserPool": "create"})
    return empty_aws.deploy(assembly)["LabellingUserPool"]


def test_a_person_signs_in_with_the_browser(local_aws: LocalAws, pool: str, browser: Browser) -> None:
    # Given an invited person, and the labelling page in a browser
    cognito = local_aws.client("cognito-idp")
    cognito.admin_create_user(UserPoolId=pool, Username=EMAIL, TemporaryPassword=TEMPORARY)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=EMAIL, GroupName="labellers")
    with browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(local_aws.labelling_url)
        # When the page sends the person to the sign-in page, who mistypes the password, then chooses a new one
        page.evaluate(ASK)
        expect(page).to_have_title("Sign in to the local AWS")
        for password, message in (("wrong", "is wrong"), (TEMPORARY, "temporary")):
            page.get_by_label("E-mail address").fill(EMAIL)
            page.get_by_label("Password", exact=True).fill(password)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("alert")).to_contain_text(message)
        page.get_by_label("Password", exact=True).fill(TEMPORARY)
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        # Then the person is back at the page with a code, which gives the tokens for its calls
        page.wait_for_url(re.compile(r"/labelling/\?code="))
        assert page.evaluate(FINISH)["name"] == EMAIL
        # And the sign-in page is not asked again, nor in a browser that opens the link for one person
        page.evaluate(ASK)
        page.wait_for_url(re.compile(r"/labelling/\?code="))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(local_aws.labelling_url)
        page.goto(local_aws.sign_in_link("Local person", "labellers"))
        page.evaluate(ASK)
        page.wait_for_url(re.compile(r"/labelling/\?code="))
        assert page.evaluate(FINISH)["name"] == "Local person"
    assert not errors
