// What labelling and review share: one photo after the other is shown, and its answer goes to the outbox.

import { $, button, say } from "./dom.js";
import { Unreachable } from "./calls.js";
import { showMessage, showWork, veil } from "./frame.js";
import { Queue } from "./queue.js";
import { SignedOut } from "./sign-in.js";

const RENEW_EVERY = 60_000; // ms; a lease lasts three minutes
const IDLE_AFTER = 10 * 60_000; // ms without a key or a pointer, after which others may get the photos
const LOOK_AGAIN = 4_000; // ms
const RETRY_AFTER = 2_000; // ms
const PATIENCE = 150; // ms before the page says that it loads

let lastActive = Date.now();
for (const kind of ["pointerdown", "keydown", "wheel"]) {
  window.addEventListener(kind, () => (lastActive = Date.now()), { capture: true, passive: true });
}

export class Turns {
  #ticket = 0;
  #timers = new Set();

  // `session`: see main.js. `name` is the name under which the browser keeps the leases. `take(count)` leases photos.
  constructor(session, name, take) {
    Object.assign(this, session, { session, name });
    this.shown = null; // {photo, boxes, ...}: what is on the page
    this.queue = new Queue({
      take,
      renew: (leases) => this.calls.renew(this.job.id, leases),
      keep: (leases) => this.store.set(name, leases),
    });
    this.#renewal = setInterval(() => this.renew(), RENEW_EVERY);
    document.addEventListener("visibilitychange", this.#onVisible);
  }

  #renewal;
  #onVisible = () => document.hidden || this.renew();

  async start() {
    await this.#try(() => this.queue.restore(this.store.get(this.name, [])));
    await this.showNext();
  }

  stop() {
    this.#ticket += 1;
    clearInterval(this.#renewal);
    for (const timer of this.#timers) clearTimeout(timer);
    document.removeEventListener("visibilitychange", this.#onVisible);
    this.shown = null;
    this.editor.clear();
    veil("");
  }

  // Show the first photo of the queue.
  async showNext() {
    await this.showThat(() => this.queue.first());
    this.#try(() => this.queue.fill());
  }

  // Show the photo that `find` returns. Until it can be drawn on, nothing can be saved.
  async showThat(find) {
    this.#ticket += 1;
    const ticket = this.#ticket;
    const isLate = () => ticket !== this.#ticket;
    this.shown = null;
    this.#later(PATIENCE, () => isLate() || this.shown || veil("Loading the photo…"));
    const photo = await this.#try(find, isLate);
    if (isLate() || photo === undefined) return;
    if (photo === null) return this.#wait();
    let image = await photo.picture;
    if (!image) {
      await this.#try(() => this.refresh(photo), isLate);
      image = await photo.picture;
    }
    if (isLate()) return;
    showWork();
    this.put(photo, image); // sets `shown`
    veil("");
    if (!image) this.session.trouble(`Photo ${photo.place} cannot be shown. Load this page again, or skip the photo.`);
    if (!document.querySelector("dialog[open]")) $("stage").focus({ preventScroll: true });
    say(`Photo ${photo.place}. ${$("state").textContent}`);
  }

  // Get a new URL of a photo that could not be loaded.
  async refresh(photo) {
    this.queue.renewed(await this.queue.renew([{ place: photo.place, leaseId: photo.task.leaseId }]));
  }

  #wait() {
    this.editor.clear();
    veil("");
    showMessage(...this.nothingNow(), ...this.waitingActs());
    this.#later(LOOK_AGAIN, async () => {
      if (!document.hidden) await this.session.refreshJob();
      if (!$("work").hidden || document.querySelector("dialog[open]")) return this.#later(LOOK_AGAIN, () => this.showNext());
      this.showNext();
    });
  }

  waitingActs() {
    return [button("Choose another job", () => this.session.leave(), { className: "quiet" })];
  }

  // Renew the leases, also those of answers that are not sent yet.
  async renew() {
    const leases = [...this.queue.leases, ...this.outbox.leases].slice(0, 10);
    if (leases.length === 0 || document.hidden || Date.now() - lastActive > IDLE_AFTER) return;
    try {
      const gone = this.queue.renewed(await this.queue.renew(leases));
      this.session.trouble("");
      if (!gone.includes(this.shown?.photo)) return;
      this.session.trouble(`Photo ${this.shown.photo.place} is with another person now, because your time for it was over.`);
      this.forgetDraft(this.shown.photo);
      await this.showNext();
    } catch (error) {
      this.handle(error);
    }
  }

  // Do it, again and again while the server cannot be reached. Undefined if the API refuses it.
  async #try(work, isLate = () => false) {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (isLate() || !this.handle(error)) return undefined;
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
        if (isLate()) return undefined;
      }
    }
  }

  // Tell the person about an error of a call. Returns whether the same call may work in a moment.
  handle(error) {
    if (error instanceof Unreachable) {
      this.session.trouble(`${error.message} The page tries again by itself. What you draw is kept in this browser.`);
      return true;
    }
    if (error instanceof SignedOut) this.session.signedOut();
    else this.session.refused(error);
    return false;
  }

  #later(time, work) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, time);
    this.#timers.add(timer);
  }

  // Drafts

  keepDraft() {
    const { photo, boxes } = this.shown;
    this.store.set(`draft/${this.name}/${photo.place}`, { ...boxes.asDraft(), seconds: this.editor.seconds });
  }

  draft(photo) {
    return this.store.get(`draft/${this.name}/${photo.place}`, null);
  }

  forgetDraft(photo) {
    this.store.remove(`draft/${this.name}/${photo.place}`);
  }
}
