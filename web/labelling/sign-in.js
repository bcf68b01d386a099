// Signs the person in with an authorization code and PKCE, and keeps the tokens.
//
// Tokens are in memory. Only the refresh token is also in sessionStorage, so that a reload needs no sign-in: phones reload
// pages that were in the background. It leaves with the tab, works for twelve hours, and signing out revokes it. Other
// sites cannot read it, and the Content-Security-Policy lets no other script run here.

import * as oauth from "./vendor/oauth4webapi.js";

const REFRESH = "labelling.refresh";
const FLOW = "labelling.flow"; // what the page must remember while the person is at the sign-in page
const SIGNED_OUT = "labelling.signed-out";
const EARLY = 0.8; // share of a token's life after which it is renewed

export class SignedOut extends Error {}

export class SignIn {
  #tokens = null; // {id, access, renewAt}
  #renewal = null;
  #authentication = oauth.None();

  // `configuration` is the answer of GET /api/labelling/sign-in.
  constructor(configuration) {
    this.configuration = configuration;
    this.server = configuration.server;
    this.client = { client_id: configuration.clientId };
    this.page = new URL(".", document.baseURI).href;
    // Only the local AWS has an address without TLS, and there it is the page's own.
    this.options = { [oauth.allowInsecureRequests]: new URL(this.server.token_endpoint).origin === location.origin };
  }

  get isSignedIn() {
    return this.#tokens !== null;
  }

  // Continue from a reload or from the sign-in page. Returns whether the person is signed in.
  async resume() {
    const parameters = new URLSearchParams(location.search);
    const flow = JSON.parse(sessionStorage.getItem(FLOW) ?? "null");
    sessionStorage.removeItem(FLOW);
    if (parameters.has("code") || parameters.has("error")) {
      history.replaceState(null, "", flow?.returnTo ?? this.page); // the code is of no use any more, and none of history's
      if (flow) await this.#takeCode(parameters, flow);
      return this.isSignedIn;
    }
    if (sessionStorage.getItem(REFRESH)) await this.renew().catch(ignoreSignedOut);
    return this.isSignedIn;
  }

  get hasSignedOut() {
    return sessionStorage.getItem(SIGNED_OUT) !== null;
  }

  // Go to the sign-in page. It returns to this page.
  async begin() {
    const flow = {
      verifier: oauth.generateRandomCodeVerifier(),
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      returnTo: location.href,
    };
    sessionStorage.setItem(FLOW, JSON.stringify(flow));
    sessionStorage.removeItem(SIGNED_OUT);
    const target = new URL(this.server.authorization_endpoint);
    target.search = new URLSearchParams({
      response_type: "code",
      client_id: this.client.client_id,
      redirect_uri: this.page,
      scope: this.configuration.scopes.join(" "),
      state: flow.state,
      nonce: flow.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(flow.verifier),
      code_challenge_method: "S256",
    });
    location.assign(target);
  }

  async end() {
    const token = sessionStorage.getItem(REFRESH);
    sessionStorage.removeItem(REFRESH);
    sessionStorage.setItem(SIGNED_OUT, "yes");
    if (token) {
      // Without a connection the token stays valid for its twelve hours, but this browser no longer has it.
      await oauth.revocationRequest(this.server, this.client, this.#authentication, token, this.options).catch(() => {});
    }
    const target = new URL(this.configuration.signOutUrl);
    target.search = new URLSearchParams({ client_id: this.client.client_id, logout_uri: this.page });
    location.assign(target);
  }

  // A valid ID token. `refused` is a token that the API has refused.
  // Throws SignedOut if the person must sign in again, TypeError if the sign-in server cannot be reached.
  async token(refused = null) {
    if (!this.#tokens || this.#tokens.id === refused || Date.now() > this.#tokens.renewAt) await this.renew();
    return this.#tokens.id;
  }

  // The person in the ID token: {sub, name}.
  get person() {
    const claims = this.#claims;
    return { sub: claims.sub, name: claims.name ?? claims.email ?? claims["cognito:username"] ?? "Signed in" };
  }

  // Renew the tokens, once for all who ask at the same time.
  renew() {
    this.#renewal ??= this.#renew().finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  async #renew() {
    const token = sessionStorage.getItem(REFRESH);
    if (!token) throw new SignedOut();
    const response = await oauth.refreshTokenGrantRequest(this.server, this.client, this.#authentication, token, this.options);
    if (response.status >= 500 || response.status === 429) throw new TypeError("The sign-in server is busy.");
    try {
      this.#keep(await oauth.processRefreshTokenResponse(this.server, this.client, response, this.options));
    } catch {
      sessionStorage.removeItem(REFRESH);
      this.#tokens = null;
      throw new SignedOut();
    }
  }

  async #takeCode(parameters, flow) {
    const url = new URL(this.page);
    url.search = parameters;
    const answer = oauth.validateAuthResponse(this.server, this.client, url, flow.state);
    const { server, client, options } = this;
    const response = await oauth.authorizationCodeGrantRequest(
      server, client, this.#authentication, answer, this.page, flow.verifier, options,
    );
    const checks = { expectedNonce: flow.nonce, requireIdToken: true };
    this.#keep(await oauth.processAuthorizationCodeResponse(server, client, response, checks));
  }

  #claims = null;

  #keep(result) {
    const renewAt = Date.now() + (result.expires_in ?? 3600) * 1000 * EARLY;
    this.#tokens = { id: result.id_token, renewAt };
    this.#claims = oauth.getValidatedIdTokenClaims(result) ?? this.#claims;
    if (result.refresh_token) sessionStorage.setItem(REFRESH, result.refresh_token);
  }
}

function ignoreSignedOut(error) {
  if (!(error instanceof SignedOut)) throw error;
}
