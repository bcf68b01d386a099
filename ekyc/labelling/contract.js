// The HTTP contract of docs/labelling-page.md, relative to the page. Whoever serves the page serves the contract.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 409: the photo was given to somebody else; 410: the job has ended
  }
}

export class Contract {
  constructor(worker) {
    this.worker = worker;
  }

  jobs() {
    return this.#call("GET", "jobs").then((answer) => answer.jobs);
  }

  job(job) {
    return this.#call("GET", at(job));
  }

  // The photo to label now, or null when there is none for this worker.
  claim(job) {
    return this.#call("POST", `${at(job)}/assignments`);
  }

  assignments(job) {
    return this.#call("GET", `${at(job)}/assignments`).then((answer) => answer.assignments);
  }

  assignment(job, id) {
    return this.#call("GET", `${at(job)}/assignments/${encodeURIComponent(id)}`);
  }

  saveDraft(job, id, boxes) {
    return this.#call("PUT", `${at(job)}/assignments/${encodeURIComponent(id)}/draft`, { boxes });
  }

  submit(job, id, boxes) {
    return this.#call("PUT", `${at(job)}/assignments/${encodeURIComponent(id)}/answer`, { boxes });
  }

  decline(job, id) {
    return this.#call("DELETE", `${at(job)}/assignments/${encodeURIComponent(id)}/answer`);
  }

  // Where the photo is: a path below the job, or a URL of its own such as a presigned one.
  photoUrl(job, photo) {
    return new URL(photo.url, new URL(`api/${at(job)}/`, document.baseURI)).href;
  }

  async #call(method, path, body) {
    const answer = await fetch(`api/${path}`, {
      method,
      headers: {
        "X-Worker": encodeURIComponent(this.worker),
        ...(body && { "Content-Type": "application/json" }),
      },
      body: body && JSON.stringify(body),
      keepalive: method === "PUT", // what is being saved is saved, even if the page is left meanwhile
    });
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.detail || `The server answered ${answer.status}.`);
  }
}

function at(job) {
  return `jobs/${encodeURIComponent(job)}`;
}
