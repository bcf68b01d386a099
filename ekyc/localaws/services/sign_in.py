"""The sign-in page of the local AWS: the authorization server of Cognito's user pools, which moto does not have.

It has the endpoints of a user pool's domain that a public app client needs, for the authorization code grant with PKCE.
The app client says to which user pool a request belongs. Unlike Cognito, it always requires PKCE, knows no MFA, and
keeps a person signed in until they sign out or the local AWS stops.

`ekyc.localaws.access` refuses requests of other sites' pages, so no other page can sign a person in or out.

Sources: Cognito guide, 'User pool endpoints and managed login reference'; RFC 6749, sections 4.1 and 6; RFC 7636.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlencode, urlsplit
from weakref import WeakKeyDictionary

from werkzeug.wrappers import Request, Response

from ekyc.localaws import aws
from ekyc.localaws.clock import clock
from ekyc.localaws.errors import LocalAwsError
from ekyc.localaws.services import user_pools

AUTHORIZE, LOGIN, TOKEN, REVOKE, LOGOUT = "/oauth2/authorize", "/login", "/oauth2/token", "/oauth2/revoke", "/logout"
PATHS = frozenset({AUTHORIZE, LOGIN, TOKEN, REVOKE, LOGOUT})
CODE_SECONDS = 300  # Source: Cognito guide, 'Token endpoint', authorization codes are valid for five minutes

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 24rem; margin: 10vh auto; padding: 0 1rem }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; margin-top: .5rem }
input, button { padding: .6rem }
[role=alert] { color: #a4001d }
"""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; style-src 'sha256-"
        f"{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
    ),
    # Not no-referrer, with which a browser would send the form with the origin null.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Code:
    """An authorization code that was issued: for whom, and what the token request must prove."""

    client_id: str
    redirect_uri: str
    challenge: str
    login: str
    nonce: str | None
    expires: float


@dataclass
class State:
    """The codes, refresh tokens, sessions and links of a user pool by their secret values, and its people by name.

    A refresh token has its app client, its login and when it expires. A session, in a cookie, a link and a person have
    a login.
    """

    codes: dict[str, Code] = field(default_factory=dict)
    refresh_tokens: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)


_states: WeakKeyDictionary[Any, State] = WeakKeyDictionary()


class _Refused(Exception):
    """A request that cannot be answered by a redirect. The message is for people."""


@dataclass(frozen=True)
class Person:
    """A person of the labelling page: the user pool, the page's app client, and the login."""

    pool: Any
    client: Any
    login: str

    def id_token(self) -> str:
        """A new ID token, as the sign-in page issues it to the person."""
        return str(user_pools.issue_tokens(self.pool, self.client, self.login, None)["id_token"])

    def new_link(self) -> str:
        """A new secret that signs this person in, once."""
        secret = secrets.token_urlsafe(24)
        _state(self.pool).links[secret] = self.login
        return secret


def person(name: str, groups: Iterable[str]) -> Person:
    """The person of this name in the user pool of the labelling page. Creates the person if there is none.

    Raises LocalAwsError if there is no labelling page.
    """
    found = next(((pool, client) for pool, client in user_pools.clients() if _own_page(client)), None)
    if found is None:
        raise LocalAwsError("The deployed stack has no labelling page. Set labellingUserPool to create.")
    pool, client = found
    logins = _state(pool).people
    if name not in logins:
        logins[name] = f"person-{secrets.token_hex(8)}@localhost.localdomain"
        attributes = [{"Name": "name", "Value": name}]
        pool.backend.admin_create_user(pool.id, logins[name], "SUPPRESS", secrets.token_urlsafe(24), attributes)
    for group in groups:
        pool.backend.admin_add_user_to_group(pool.id, group, logins[name])
    return Person(pool, client, logins[name])


def answer(request: Request) -> Response:
    """The response to a request for one of `PATHS`."""
    endpoints = {
        (AUTHORIZE, "GET"): _authorize,
        (LOGIN, "GET"): _show_form,
        (LOGIN, "POST"): _log_in,
        (TOKEN, "POST"): _exchange,
        (REVOKE, "POST"): _revoke,
        (LOGOUT, "GET"): _log_out,
    }
    endpoint = endpoints.get((str(request.environ["PATH_INFO"]), request.method))
    if endpoint is None:
        return _page("Not found", "<p>This page does not take such a request.</p>", 405)
    try:
        return endpoint(request)
    except _Refused as refusal:
        return _page("Sign-in is not possible", f"<p>{escape(str(refusal))}</p>", 400)


def _authorize(request: Request) -> Response:
    """Return to the page with a code if the person is signed in. Otherwise, ask the person to sign in."""
    pool, client = _checked(request)
    login = _state(pool).sessions.get(request.cookies.get(_cookie(request), ""))
    fault = _fault(request)
    if fault:
        return _return(request, error="invalid_request", error_description=fault)
    if login is None or _user(pool, login) is None:
        return _redirect(f"{LOGIN}?{request.query_string.decode()}")
    return _return(request, code=_new_code(request, pool, client, login))


def _show_form(request: Request) -> Response:
    if "link" in request.args:
        return _follow_link(request)
    _checked(request)
    return _form(request)


def _follow_link(request: Request) -> Response:
    """Sign in the person of a link, which works once, and open the labelling page."""
    for pool, client in user_pools.clients():
        page = _own_page(client)
        login = page and _state(pool).links.pop(request.args["link"], None)
        if page and login:
            return _signed_in(_redirect(page), request, pool, login)
        if page and request.cookies.get(_cookie(request), "") in _state(pool).sessions:
            return _redirect(page)  # the person opens the link again
    raise _Refused("This link was used, or is of another start of the local AWS. Use the link that was printed last.")


def _log_in(request: Request) -> Response:
    """Check the form: e-mail address and password, and a new password if the current one is temporary."""
    pool, client = _checked(request)
    fault = _fault(request)
    if fault:
        return _return(request, error="invalid_request", error_description=fault)
    login, password, new = (request.form.get(name, "") for name in ("username", "password", "new_password"))
    user = _user(pool, login)
    if user is None or not hmac.compare_digest(password.encode(), (user.password or secrets.token_hex()).encode()):
        return _form(request, "The e-mail address or the password is wrong.", 401)
    if user.status != "CONFIRMED":
        if not new:
            return _form(request, "The password is temporary. Enter it again with a new one.", asks_new=True)
        try:
            pool.backend.admin_set_user_password(pool.id, login, new, permanent=True)
        except Exception as error:  # moto's exceptions have no public base
            return _form(request, getattr(error, "message", "The new password is too weak."), asks_new=True)
    return _signed_in(_return(request, code=_new_code(request, pool, client, login)), request, pool, login)


def _exchange(request: Request) -> Response:
    """Exchange a code or a refresh token for tokens. Errors are those of RFC 6749, section 5.2."""
    form = request.form
    found = _find_client(form.get("client_id", ""))
    if found is None:
        return _json({"error": "invalid_client"}, 400)
    pool, client = found
    state = _state(pool)
    nonce, refresh_token = None, form.get("refresh_token", "")
    if form.get("grant_type") == "authorization_code":
        code = state.codes.pop(form.get("code", ""), None)
        if code is None or not _proves(code, form, client):
            return _json({"error": "invalid_grant"}, 400)
        login, nonce, is_new = code.login, code.nonce, True
    elif form.get("grant_type") == "refresh_token":
        client_id, login, expires = state.refresh_tokens.get(refresh_token, ("", "", 0.0))
        is_new = False
        if client_id != client.id or expires <= clock.now():
            return _json({"error": "invalid_grant"}, 400)
    else:
        return _json({"error": "unsupported_grant_type"}, 400)
    if _user(pool, login) is None:
        return _json({"error": "invalid_grant"}, 400)
    tokens = user_pools.issue_tokens(pool, client, login, nonce)
    if is_new:
        tokens["refresh_token"] = secrets.token_urlsafe(32)
        expires = clock.now() + user_pools.seconds(client, "RefreshToken")
        state.refresh_tokens[tokens["refresh_token"]] = (client.id, login, expires)
    return _json(tokens, 200)


def _proves(code: Code, form: Any, client: Any) -> bool:
    """Whether the token request is of the client and the page that asked for the code, in time."""
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return (
        code.client_id == client.id
        and code.redirect_uri == form.get("redirect_uri")
        and hmac.compare_digest(challenge, code.challenge.encode())
        and clock.now() < code.expires
    )


def _revoke(request: Request) -> Response:
    """Revoke a refresh token. An unknown token is no error (RFC 7009, section 2.2)."""
    found = _find_client(request.form.get("client_id", ""))
    if found is None:
        return _json({"error": "invalid_client"}, 400)
    _state(found[0]).refresh_tokens.pop(request.form.get("token", ""), None)
    return Response(status=200, headers=HEADERS)


def _log_out(request: Request) -> Response:
    """End the session and return to the page."""
    found = _find_client(request.args.get("client_id", ""))
    target = request.args.get("logout_uri", "")
    if found is None or target not in found[1].extended_config.get("LogoutURLs", []):
        raise _Refused("The page that asks to sign out is unknown: its client_id or logout_uri is not registered.")
    _state(found[0]).sessions.pop(request.cookies.get(_cookie(request), ""), None)
    response = _redirect(target)
    response.delete_cookie(_cookie(request), path="/")
    return response


def _checked(request: Request) -> tuple[Any, Any]:
    """The pool and the app client of an authorization request, whose redirect_uri is one of the client's."""
    found = _find_client(request.args.get("client_id", ""))
    if found is None:
        raise _Refused("The page that asks to sign in is unknown: its client_id is not registered.")
    if request.args.get("redirect_uri") not in found[1].extended_config.get("CallbackURLs", []):
        raise _Refused("The page that asks to sign in is unknown: its redirect_uri is not registered.")
    return found


def _fault(request: Request) -> str | None:
    """What is wrong with an authorization request, or None. The allowed flow is the code flow with PKCE."""
    if request.args.get("response_type") != "code":
        return "response_type must be code"
    if request.args.get("code_challenge_method") != "S256" or len(request.args.get("code_challenge", "")) != 43:
        return "code_challenge must be an S256 challenge"
    return None


def _new_code(request: Request, pool: Any, client: Any, login: str) -> str:
    code = secrets.token_urlsafe(24)
    _state(pool).codes[code] = Code(
        client.id,
        request.args["redirect_uri"],
        request.args["code_challenge"],
        login,
        request.args.get("nonce"),
        clock.now() + CODE_SECONDS,
    )
    return code


def _signed_in(response: Response, request: Request, pool: Any, login: str) -> Response:
    """The response with a cookie that keeps the person signed in."""
    session = secrets.token_urlsafe(24)
    _state(pool).sessions[session] = login
    response.set_cookie(_cookie(request), session, path="/", httponly=True, samesite="Strict")
    return response


def _return(request: Request, **parameters: str) -> Response:
    """Redirect to the page that asked, with its state."""
    if "state" in request.args:
        parameters["state"] = request.args["state"]
    return _redirect(f"{request.args['redirect_uri']}?{urlencode(parameters)}")


def _redirect(target: str) -> Response:
    return Response(status=303, headers={**HEADERS, "Location": target})


def _form(request: Request, message: str = "", status: int = 200, *, asks_new: bool = False) -> Response:
    """The form. It is sent to its own address, which has the authorization request."""
    name = escape(request.form.get("username", ""))
    new = (
        '<label for="new">New password</label>'
        '<input id="new" name="new_password" type="password" autocomplete="new-password" required>'
    )
    body = f"""
{f'<p role="alert">{escape(message)}</p>' if message else ""}
<form method="post">
<label for="username">E-mail address</label>
<input id="username" name="username" type="email" autocomplete="username" required value="{name}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
{new if asks_new else ""}
<button>Sign in</button>
</form>"""
    return _page("Sign in to the local AWS", body, status)


def _page(title: str, body: str, status: int) -> Response:
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"""
    return Response(html, status, headers=HEADERS, content_type="text/html; charset=utf-8")


def _json(document: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(document), status, headers=HEADERS, content_type="application/json")


def _find_client(client_id: str) -> tuple[Any, Any] | None:
    """The pool and the public app client with this id. A client with a secret cannot sign in here."""
    found = ((pool, client) for pool, client in user_pools.clients() if client.id == client_id)
    return next(((pool, client) for pool, client in found if not client.generate_secret), None)


def _own_page(client: Any) -> str | None:
    """The client's page if this server serves it."""
    urls = client.extended_config.get("CallbackURLs", [])
    return next((url for url in urls if url.startswith(f"{aws.endpoint()}/")), None)


def _user(pool: Any, login: str) -> Any:
    """The enabled user who signs in with this name, or None."""
    user = pool._get_user(login)
    return user if user is not None and user.enabled else None


def _cookie(request: Request) -> str:
    """The name of the cookie. Browsers send a cookie to all ports of its host."""
    return f"ekyc-sign-in-{urlsplit(request.host_url).port}"


def _state(pool: Any) -> State:
    return _states.setdefault(pool, State())
