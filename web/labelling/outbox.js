// Answers on their way to the API. The browser keeps each until the API has confirmed it, so a reload or a minute without a
// connection loses none.
//
// An entry: {kind: "answers" | "review", place, body, draft, task}. `draft` and `task` restore the photo if the person
// takes the answer back before it is sent.

import { Refused, Unreachable } from "./calls.js";
import { SignedOut } from "./sign-in.js";

export const UNDO_TIME = 5_000; // ms in which "No document" and a skip are held back
const RETRY_AFTER = 2_000; // ms

export class Outbox {
  #entries;
  #isSending = false;
  #timer = null;
  #due = new Map(); // entry -> when it may be sent

  // `on` has changed(), sent(entry, answer), refused(entry, error), signedOut().
  constructor(calls, job, store, on) {
    Object.assign(this, { calls, job, store, on });
    this.#entries = store.get("outbox", []);
    this.trouble = null; // why the answers are not sent now: an Unreachable or a SignedOut
    window.addEventListener("online", () => this.flush());
  }

  get size() {
    return this.#entries.length;
  }

  // Leases that the answers need until they are sent.
  get leases() {
    return this.#entries.filter((entry) => entry.body.leaseId).map(({ place, body }) => ({ place, leaseId: body.leaseId }));
  }

  has(place) {
    return this.#entries.some((entry) => entry.place === place);
  }

  add(entry, wait = 0) {
    this.#entries = [...this.#entries.filter((other) => other.place !== entry.place), entry];
    this.#due.set(entry, Date.now() + wait);
    this.#keep();
    this.#sendSoon();
  }

  // Take an answer back that is not sent yet. Returns its entry, null if it is too late.
  takeBack(place) {
    const entry = this.#entries.find((one) => one.place === place);
    if (!entry || entry === this.#sending) return null;
    this.#drop(entry);
    return entry;
  }

  // Send everything now, also what is held back.
  flush() {
    this.#due.clear();
    this.#sendSoon();
  }

  // The page is closed: the browser completes these calls. The API takes a call again that it has had before.
  sendBeforeClose() {
    for (const { kind, place, body } of this.#entries) this.calls.put(this.job, kind, place, body, true).catch(() => {});
  }

  // Wait until everything is sent.
  async emptied() {
    this.flush();
    while (this.size > 0) await new Promise((resolve) => setTimeout(resolve, 100));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#isSending = true; // nothing is sent from now on
  }

  #sending = null;

  #sendSoon() {
    clearTimeout(this.#timer);
    const times = this.#entries.map((entry) => this.#due.get(entry) ?? 0);
    if (times.length === 0 || this.#isSending) return;
    this.#timer = setTimeout(() => this.#send(), Math.max(0, Math.min(...times) - Date.now()));
  }

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    let wait = null;
    for (const entry of [...this.#entries]) {
      if (!this.#entries.includes(entry) || (this.#due.get(entry) ?? 0) > Date.now()) continue;
      wait = await this.#sendOne(entry);
      if (wait !== null) break;
    }
    this.#isSending = false;
    if (wait === null) this.#sendSoon();
    else if (wait > 0) this.#timer = setTimeout(() => this.#send(), wait);
  }

  // Send an entry. Returns null to go on, the time to wait before the next try, or 0 to wait for a new sign-in.
  async #sendOne(entry) {
    this.#sending = entry;
    try {
      const answer = await this.calls.put(this.job, entry.kind, entry.place, entry.body);
      this.trouble = null;
      this.#drop(entry);
      this.on.sent(entry, answer);
      return null;
    } catch (error) {
      if (error instanceof Refused) {
        this.trouble = null;
        this.#drop(entry);
        this.on.refused(entry, error);
        return null;
      }
      if (!(error instanceof Unreachable || error instanceof SignedOut)) throw error;
      this.trouble = error;
      this.on.changed();
      if (error instanceof SignedOut) this.on.signedOut();
      return error instanceof SignedOut ? 0 : RETRY_AFTER;
    } finally {
      this.#sending = null;
    }
  }

  #drop(entry) {
    this.#entries = this.#entries.filter((one) => one !== entry);
    this.#due.delete(entry);
    this.#keep();
  }

  #keep() {
    this.store.set("outbox", this.#entries);
    this.on.changed();
  }
}
