// The calls of the API (lambdas/api/openapi.yaml). Paths are relative, because the stage is part of the page's path.

import { SignedOut } from "./sign-in.js";

const LONGEST = 20_000; // ms for a call

// The API refuses a call. The message says why. `kind` is the API's fixed word for the problem.
export class Refused extends Error {
  constructor(status, detail, kind = "") {
    super(detail);
    Object.assign(this, { status, kind });
  }
}

// The API cannot be reached or is busy: the same call may work in a moment.
export class Unreachable extends Error {}

export class Calls {
  constructor(signIn) {
    this.signIn = signIn;
  }

  // Where people sign in. This call needs no token.
  static async configuration() {
    return read(await send("sign-in", { headers: {} }));
  }

  async jobs() {
    return (await this.#call("GET", "jobs")).jobs;
  }

  job(id) {
    return this.#call("GET", at(id));
  }

  async take(id, count) {
    return (await this.#call("POST", `${at(id)}/next`, { count })).tasks;
  }

  async takeReviews(id, count) {
    return (await this.#call("POST", `${at(id)}/review/next`, { count })).tasks;
  }

  // {tasks, lost}
  renew(id, leases) {
    return this.#call("POST", `${at(id)}/leases`, { leases });
  }

  // All own answers ("answers") or decisions ("review"), in the order of the photos.
  async own(id, kind) {
    const all = [];
    let next = "";
    do {
      const query = next ? `?nextToken=${encodeURIComponent(next)}` : "";
      const response = await this.#fetch("GET", `${at(id)}/${kind}${query}`);
      all.push(...Object.values(await response.json()).flat());
      next = response.headers.get("X-Next-Token");
    } while (next);
    return all;
  }

  ownOne(id, kind, place) {
    return this.#call("GET", `${at(id)}/${kind}/${place}`);
  }

  // Send an answer (`kind` "answers") or a review ("review"). `keepalive`: complete the call after the page has closed.
  put(id, kind, place, body, keepalive = false) {
    return this.#call("PUT", `${at(id)}/${kind}/${place}`, body, keepalive);
  }

  async #call(...request) {
    return (await this.#fetch(...request)).json();
  }

  // The response, after a second try with a new token if the API refuses the first one.
  async #fetch(method, path, body, keepalive) {
    let token = await this.#token();
    for (let isFirst = true; ; isFirst = false) {
      const headers = { Authorization: token, ...(body && { "Content-Type": "application/json" }) };
      const response = await send(path, { method, headers, body: body && JSON.stringify(body), keepalive });
      if (response.status !== 401) return checked(response);
      if (!isFirst) throw new SignedOut();
      token = await this.#token(token);
    }
  }

  async #token(refused) {
    try {
      return await this.signIn.token(refused);
    } catch (error) {
      throw error instanceof SignedOut ? error : new Unreachable("The sign-in server cannot be reached.");
    }
  }
}

async function send(path, request) {
  try {
    const signal = AbortSignal.timeout(LONGEST);
    return await fetch(`../api/labelling/${path}`, { cache: "no-store", signal, ...request });
  } catch {
    throw new Unreachable("The server cannot be reached.");
  }
}

async function read(response) {
  return (await checked(response)).json();
}

async function checked(response) {
  if (response.ok) return response;
  if (response.status >= 500 || response.status === 429) throw new Unreachable("The server is busy.");
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail || `The server returned status ${response.status}.`, problem.type?.split(":").at(-1));
}

function at(job) {
  return `jobs/${encodeURIComponent(job)}`;
}
