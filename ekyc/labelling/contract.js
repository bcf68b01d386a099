// Client of the HTTP contract in docs/labelling-page.md. Paths are relative to the page: the same server serves both.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 409: another worker has the photo; 410: the job has ended
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

  // The next photo to label, or null when there is none for this worker.
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

  // The photo's URL. `photo.url` is a path below the job or an absolute URL, such as a presigned one.
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
      keepalive: method === "PUT", // completes the request after the page is closed
    });
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.detail || `The server returned status ${answer.status}.`);
  }
}

function at(job) {
  return `jobs/${encodeURIComponent(job)}`;
}
