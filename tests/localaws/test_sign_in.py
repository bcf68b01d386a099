"""People sign in to the labelling page of the deployed stack, and the gateway verifies their tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwk, jwt

from ekyc.localaws.clock import clock
from ekyc.localaws.server import LocalAws
from ekyc.localaws.services import user_pools
from ekyc.localaws.synth import LOCAL_SETTINGS, synthesize

EMAIL, PASSWORD = "jane@example.com", "Passport-photos-4-Jane"
TEMPORARY = "Temporary-4-Jane"
LOGIN = {"username": EMAIL, "password": PASSWORD}


def encoded(data: bytes) -> str:
    """Base64 as in tokens and challenges."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Page:
    """The labelling page, as a browser runs it: its sign-in, and the calls that it makes with a token."""

    aws: LocalAws
    http: httpx.Client
    outputs: dict[str, str]

    def __post_init__(self) -> None:
        self.sign_in = self.http.get("/api/labelling/sign-in").json()
        self.address = f"{self.aws.api_url}/labelling/"
        self.verifier = secrets.token_urlsafe(32)

    @property
    def pool(self) -> Any:
        (pool,) = user_pools.pools()
        return pool

    @property
    def client(self) -> Any:
        return self.pool.clients[self.sign_in["clientId"]]

    def request(self, **changes: str | None) -> dict[str, str]:
        """The query of an authorization request."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.sign_in["clientId"],
            "redirect_uri": self.address,
            "response_type": "code",
            "scope": " ".join(self.sign_in["scopes"]),
            "state": "the state",
            "nonce": "the nonce",
            "code_challenge": encoded(digest),
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in query.items() if value is not None}

    def log_in(self, password: str = PASSWORD, **more: str) -> httpx.Response:
        """Send the form."""
        form = {"username": EMAIL, "password": password, **more}
        return self.http.post("/login", params=self.request(), data=form)

    def code(self) -> str:
        """A new code."""
        (code,) = parse_qs(urlsplit(self.log_in().headers["Location"]).query)["code"]
        return code

    def exchange(self, code: str, **changes: str) -> httpx.Response:
        """Send a token request with a code."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self.sign_in["clientId"],
            "redirect_uri": self.address,
            "code": code,
            "code_verifier": self.verifier,
        }
        return self.http.post(self.sign_in["server"]["token_endpoint"], data=form | changes)

    def tokens(self) -> dict[str, Any]:
        """Sign in completely."""
        return self.exchange(self.code()).json()

    def me(self, token: str | None) -> httpx.Response:
        """Ask who is signed in."""
        return self.http.get("/api/labelling/me", headers={"Authorization": token} if token else {})

    def forged(self, *, key: Any = None, **changes: Any) -> str:
        """An ID token as the pool makes it, with changes, signed with the pool's key or another one."""
        now = int(clock.now())
        claims = {
            "iss": self.sign_in["server"]["issuer"],
            "aud": self.sign_in["clientId"],
            "token_use": "id",
            "sub": "some-one",
            "cognito:username": "some-one",
            "cognito:groups": ["labellers"],
            "iat": now,
            "exp": now + 3600,
        } | changes
        return jwt.encode({"alg": "RS256"}, claims, key or self.pool.json_web_key)


@pytest.fixture(scope="module")
def deployed_page(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assembly = synthesize(tmp_path_factory.mktemp("assembly"), LOCAL_SETTINGS)
    local_aws.reset()
    outputs = local_aws.deploy(assembly)
    cognito = local_aws.client("cognito-idp")
    pool = outputs["LabellingUserPool"]
    cognito.admin_create_user(UserPoolId=pool, Username=EMAIL, TemporaryPassword=TEMPORARY)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=EMAIL, GroupName="labellers")
    cognito.admin_set_user_password(UserPoolId=pool, Username=EMAIL, Password=PASSWORD, Permanent=True)
    with httpx.Client(base_url=local_aws.api_url, timeout=60) as http:
        yield Page(local_aws, http, outputs)


@pytest.fixture
def page(deployed_page: Page) -> Page:
    """The page in a browser in which nobody is signed in."""
    deployed_page.http.cookies.clear()
    return deployed_page


# --- Signing in ------------------------------------------------------------------------------------------------------


def test_a_person_signs_in_with_a_code_and_pkce(page: Page) -> None:
    # Given the page, which sends the person to the user pool
    asked = page.http.get(page.sign_in["server"]["authorization_endpoint"], params=page.request())
    assert asked.headers["Location"].startswith("/login?")
    form = page.http.get(asked.headers["Location"])
    assert "<form" in form.text
    # When the person enters the password, and the page exchanges the code
    back = page.log_in()
    assert back.headers["Location"].startswith(f"{page.address}?code=")
    assert parse_qs(urlsplit(back.headers["Location"]).query)["state"] == ["the state"]
    (code,) = parse_qs(urlsplit(back.headers["Location"]).query)["code"]
    answer = page.exchange(code)
    # Then it has tokens, and the ID token opens the page's calls
    tokens = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert tokens["expires_in"] == 3600
    for token in (tokens["id_token"], f"Bearer {tokens['id_token']}"):
        me = page.me(token)
        assert (me.status_code, me.json()["name"], me.json()["groups"]) == (200, EMAIL, ["labellers"])
    claims = jwt.decode(tokens["id_token"], page.pool.json_web_key, algorithms=["RS256"]).claims
    assert (claims["nonce"], claims["sub"]) == ("the nonce", me.json()["sub"])
    # And the person stays signed in: the next request for a code needs no password
    again = page.http.get("/oauth2/authorize", params=page.request())
    assert again.headers["Location"].startswith(f"{page.address}?code=")


def test_a_code_is_for_the_page_that_asked_and_only_once(page: Page) -> None:
    # Given codes that are used by another page than the one which asked, too late, or twice
    invalid = (400, {"error": "invalid_grant"})

    def result(answer: httpx.Response) -> tuple[int, Any]:
        return answer.status_code, answer.json()

    assert result(page.exchange(page.code(), code_verifier=secrets.token_urlsafe(32))) == invalid
    assert result(page.exchange(page.code(), code_verifier="")) == invalid
    assert result(page.exchange(page.code(), redirect_uri=f"{page.address}more")) == invalid
    assert result(page.exchange("unknown")) == invalid
    back = page.http.post("/login", params=page.request(code_challenge="\N{SNOWMAN}" * 43), data=LOGIN)
    (code,) = parse_qs(urlsplit(back.headers["Location"]).query)["code"]
    assert result(page.exchange(code)) == invalid
    code = page.code()
    assert page.exchange(code).status_code == 200
    assert result(page.exchange(code)) == invalid
    # And other errors have their own names
    assert result(page.exchange(page.code(), client_id="unknown")) == (400, {"error": "invalid_client"})
    assert result(page.exchange("", grant_type="password")) == (400, {"error": "unsupported_grant_type"})


def test_a_code_is_valid_for_five_minutes(page: Page, later: Any) -> None:
    code = page.code()
    later(301)
    assert page.exchange(code).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://attacker.example/"},
        {"redirect_uri": None},
        {"client_id": "unknown"},
    ],
)
def test_nobody_is_sent_to_an_unknown_page(page: Page, changes: dict[str, str | None]) -> None:
    for method, path in (("GET", "/oauth2/authorize"), ("GET", "/login"), ("POST", "/login")):
        answer = page.http.request(method, path, params=page.request(**changes))
        assert answer.status_code == 400
        assert "Location" not in answer.headers
        assert "is not registered" in answer.text


@pytest.mark.parametrize(
    "changes", [{"response_type": "token"}, {"code_challenge": None}, {"code_challenge_method": "plain"}]
)
def test_only_the_code_flow_with_pkce_is_allowed(page: Page, changes: dict[str, str | None]) -> None:
    for method, path in (("GET", "/oauth2/authorize"), ("POST", "/login")):
        answer = page.http.request(method, path, params=page.request(**changes))
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert query["error"] == ["invalid_request"]
        assert "code" not in query


def test_wrong_passwords_and_unknown_people_look_alike(page: Page) -> None:
    wrong = page.log_in("wrong")
    unknown = page.log_in(username="who@example.com")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace(EMAIL, "") == unknown.text.replace("who@example.com", "")
    assert not page.http.cookies


def test_an_invited_person_chooses_a_password(page: Page) -> None:
    # Given a person with the temporary password of the invitation
    cognito, pool = page.aws.client("cognito-idp"), page.outputs["LabellingUserPool"]
    cognito.admin_set_user_password(UserPoolId=pool, Username=EMAIL, Password=TEMPORARY, Permanent=False)
    # Then the form asks for a new one, refuses a weak one, and takes a strong one
    assert "Enter it again with a new one" in page.log_in(TEMPORARY).text
    weak = page.log_in(TEMPORARY, new_password="short")
    assert weak.status_code == 200
    assert 'role="alert"' in weak.text
    assert page.log_in(TEMPORARY, new_password=PASSWORD).headers["Location"].startswith(f"{page.address}?code=")
    assert page.log_in(TEMPORARY).status_code == 401


def test_a_session_ends_with_its_refresh_token(page: Page, later: Any) -> None:
    def refresh(token: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "client_id": page.sign_in["clientId"], "refresh_token": token}
        return page.http.post("/oauth2/token", data=form)

    # Given a page that is open for longer than an ID token is valid
    tokens = page.tokens()
    later(3601)
    assert page.me(tokens["id_token"]).status_code == 401
    # Then the refresh token gives a new one
    renewed = refresh(tokens["refresh_token"])
    assert page.me(renewed.json()["id_token"]).status_code == 200
    # And not when it was revoked, or after twelve hours
    other = page.tokens()
    form = {"client_id": page.sign_in["clientId"], "token": other["refresh_token"]}
    assert page.http.post("/oauth2/revoke", data=form).status_code == 200
    assert refresh(other["refresh_token"]).json() == {"error": "invalid_grant"}
    later(12 * 3600)
    assert refresh(tokens["refresh_token"]).json() == {"error": "invalid_grant"}


def test_signing_out_ends_the_session(page: Page) -> None:
    page.log_in()
    refused = page.http.get(
        "/logout", params={"client_id": page.sign_in["clientId"], "logout_uri": "https://a.example"}
    )
    assert refused.status_code == 400
    out = page.http.get(page.sign_in["signOutUrl"], params={"client_id": page.client.id, "logout_uri": page.address})
    assert out.headers["Location"] == page.address
    asked = page.http.get("/oauth2/authorize", params=page.request())
    assert asked.headers["Location"].startswith("/login?")


def test_a_link_signs_in_a_local_person_once(page: Page) -> None:
    # Given a link for a person who is a reviewer
    link = page.aws.sign_in_link("Local person", "labellers", "reviewers")
    # When it is opened
    opened = page.http.get(link)
    assert opened.headers["Location"] == page.address
    asked = page.http.get("/oauth2/authorize", params=page.request())
    (code,) = parse_qs(urlsplit(asked.headers["Location"]).query)["code"]
    # Then the page gets this person's tokens
    me = page.me(page.exchange(code).json()["id_token"]).json()
    assert (me["name"], me["groups"]) == ("Local person", ["labellers", "reviewers"])
    # And the link works again in this browser only
    assert page.http.get(link).headers["Location"] == page.address
    page.http.cookies.clear()
    assert page.http.get(link).status_code == 400
    assert page.http.get("/login?link=guessed").status_code == 400


def test_other_sites_can_neither_frame_nor_use_the_form(page: Page) -> None:
    # Given the form
    form = page.http.get("/login", params=page.request())
    policy = form.headers["Content-Security-Policy"]
    assert {"frame-ancestors 'none'", "form-action 'self'", "default-src 'none'"} <= set(policy.split("; "))
    assert "unsafe" not in policy
    # When another site sends it, or links to it, then it is refused
    others = [
        {"Origin": "https://attacker.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ]
    for headers in others:
        assert page.http.post("/login", params=page.request(), data=LOGIN, headers=headers).status_code == 403
        assert page.http.get("/oauth2/authorize", params=page.request(), headers=headers).status_code == 403
        assert page.http.get("/logout", headers=headers).status_code == 403
    assert not page.http.cookies
    # And our own page may send it
    own = {"Origin": page.aws.api_url, "Sec-Fetch-Site": "same-origin"}
    assert page.http.post("/login", params=page.request(), data=LOGIN, headers=own).status_code == 303


# --- The gateway -----------------------------------------------------------------------------------------------------


def test_a_valid_token_is_needed(page: Page) -> None:
    # Given a token that the helper makes as the pool does, which is valid
    assert page.me(page.forged()).status_code == 200
    now = int(clock.now())
    other = jwk.RSAKey.generate_key(2048)
    head, claims, signature = page.forged().split(".")
    as_none, as_secret = encoded(b'{"alg":"none"}'), encoded(b'{"alg":"HS256"}')
    public_key = page.pool.json_web_key.as_pem(private=False)
    by_public_key = encoded(hmac.digest(public_key, f"{as_secret}.{claims}".encode(), "sha256"))
    tampered = encoded(json.dumps(json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "other"}).encode())
    # Then no token that differs from it is
    refused = {
        "no token": None,
        "not a token": "abc",
        "expired": page.forged(exp=now - 1),
        "another pool": page.forged(iss="https://cognito-idp.us-east-1.amazonaws.com/us-east-1_other"),
        "another client": page.forged(aud="other"),
        "an access token": page.forged(token_use="access"),
        "another key": page.forged(key=other),
        "a public key as a secret": f"{as_secret}.{claims}.{by_public_key}",
        "no algorithm": f"{as_none}.{claims}.",
        "changed claims": f"{head}.{tampered}.{signature}",
        "no signature": f"{head}.{claims}.",
    }
    for what, token in refused.items():
        answer = page.me(token)
        assert answer.status_code == 401, what
        assert answer.json()["type"] == "urn:ekyc:problem:unauthorized", what
        assert "sign in again" in answer.json()["detail"], what


def test_another_pools_token_is_refused(page: Page) -> None:
    # Given a second pool, whose tokens are valid there
    cognito = page.aws.client("cognito-idp")
    other = cognito.create_user_pool(PoolName="other")["UserPool"]["Id"]
    (pool,) = (pool for pool in user_pools.pools() if pool.id == other)
    issuer = f"https://cognito-idp.us-east-1.amazonaws.com/{other}"
    try:
        for changes in ({"iss": issuer}, {}):
            assert page.me(page.forged(key=pool.json_web_key, **changes)).status_code == 401
    finally:
        cognito.delete_user_pool(UserPoolId=other)


def test_a_person_in_no_group_is_refused_in_words(page: Page) -> None:
    for groups in ([], ["tellers"]):
        answer = page.me(page.forged(**{"cognito:groups": groups}))
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:ekyc:problem:no-labeller")


def test_a_labellers_token_opens_no_other_call(page: Page) -> None:
    token = page.tokens()["id_token"]
    for value in (token, f"Bearer {token}"):
        answer = page.http.get("/api/training/list", headers={"Authorization": value})
        assert answer.status_code == 403


@pytest.fixture
def later() -> Any:
    """`later(seconds)` puts the clock forward."""

    def advance(seconds: float) -> None:
        speed, clock.speed = clock.speed, math.inf
        clock.sleep(seconds)
        clock.speed = speed

    return advance
