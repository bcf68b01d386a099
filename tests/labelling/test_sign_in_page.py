"""The sign-in page of the local AWS and the labelling page of the stack, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from ekyc.localaws.server import LocalAws
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

EMAIL, TEMPORARY, PASSWORD = "jane@example.com", "Temporary-4-Jane", "Passport-photos-4-Jane"


@pytest.fixture
def pool(empty_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The user pool of the deployed stack."""
    assembly = synthesize(tmp_path_factory.mktemp("assembly"), LOCAL_SETTINGS)
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
        page.goto(f"{local_aws.endpoint}/labelling/")
        # When the page sends the person to the sign-in page, who mistypes the password, then chooses a new one
        expect(page).to_have_title("Sign in to the local AWS")
        for password, message in (("wrong", "is wrong"), (TEMPORARY, "temporary")):
            page.get_by_label("E-mail address").fill(EMAIL)
            page.get_by_label("Password", exact=True).fill(password)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("alert")).to_contain_text(message)
        page.get_by_label("Password", exact=True).fill(TEMPORARY)
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        # Then the person is back at the page, which has taken the code out of its address
        expect(page.locator("#person")).to_have_text(EMAIL)
        assert page.url == f"{local_aws.endpoint}/labelling/"
        # And a reload asks for no password
        page.reload()
        expect(page.locator("#person")).to_have_text(EMAIL)
        # And after signing out, the page asks again
        page.locator("#person").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_title("Sign in to the local AWS")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(local_aws.sign_in_link("Local person", "labellers"))
        expect(page.locator("#person")).to_have_text("Local person")
    assert not errors
