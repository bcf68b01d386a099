// What labelling and review share: one photo after the other is shown, and its answer goes to the outbox.

import { $, button, say } from "./dom.js";
import { Boxes } from "./boxes.js";
import { Refused, Unreachable } from "./calls.js";
import { hideToast, showMessage, showToast, showWork, veil } from "./frame.js";
import { UNDO_TIME } from "./outbox.js";
import { choosePhoto } from "./own.js";
import { Photo, Queue } from "./queue.js";
import { SignedOut } from "./sign-in.js";

const RENEW_EVERY = 60_000; // ms; a lease lasts three minutes
const IDLE_AFTER = 10 * 60_000; // ms without a key or a pointer, after which others may get the photos
const LOOK_AGAIN = 4_000; // ms
const RETRY_AFTER = 2_000; // ms
const PATIENCE = 150; // ms before the page says that it loads
const LONGEST_CHECK = 3_000; // ms for which the last save waits for the answers before it

let lastActive = Date.now();
for (const kind of ["pointerdown", "keydown", "wheel"]) {
  window.addEventListener(kind, () => (lastActive = Date.now()), { capture: true, passive: true });
}

export class Turns {
  #ticket = 0;
  #timers = new Set();

  // `session`: see main.js. `name` is the name under which the browser keeps the leases, `kind` that of the own answers
  // in the API ("answers" or "review"). `take(count)` leases photos.
  constructor(session, { name, kind, listTitle }, take) {
    Object.assign(this, session, { session, name, kind, listTitle });
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
    if (photo.answered) return photo.update(await this.calls.ownOne(this.job.id, this.kind, photo.place));
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

  // Answers

  // Put the answer of the photo on the page into the outbox, and show the next photo. With `words`, the answer is held
  // back for some seconds, in which it can be undone.
  send(body, boxes, words) {
    const { photo } = this.shown;
    const draft = { ...boxes.asDraft(), seconds: this.editor.seconds };
    this.session.trouble("");
    this.outbox.add({ kind: this.kind, place: photo.place, body, draft, task: photo.task, answered: photo.answered }, words ? UNDO_TIME : 0);
    this.forgetDraft(photo);
    this.queue.remove(photo);
    this.toasted = photo.place;
    if (words) showToast(`Photo ${photo.place}: ${words}.`, UNDO_TIME, () => this.open(photo.place));
    else hideToast();
    this.showNext();
  }

  undo() {
    // On a new photo there is nothing to undo but the last answer, while it is held back.
    if (!this.shown?.boxes?.canUndo && !$("toast").hidden) return this.open(this.toasted);
    this.editor.undo();
  }

  // Before the job's last answer, after which none can be changed, the person can check the own photos. Returns whether
  // to save the answer.
  async confirmLast() {
    const { shown } = this;
    if (this.isChecking) return false;
    if (shown.photo.answered || this.queue.photos.length > 1) return true;
    this.isChecking = true;
    try {
      await Promise.race([this.outbox.emptied(), new Promise((done) => setTimeout(done, LONGEST_CHECK))]);
      await this.session.refreshJob();
      if (this.shown !== shown) return false;
      if (this.left > 1 || this.outbox.size > 0) return true;
      const own = await this.calls.own(this.job.id, this.kind).catch(() => []);
      if (this.shown !== shown) return false;
      if (own.length === 0) return true;
      const text = "This is the job's last photo. After it is saved, nothing can be changed. Choose a photo to correct it, or finish.";
      const choice = await choosePhoto({ title: "Check before the end", text, load: async () => own.map((one) => this.ownView(one)), isLast: true });
      if (this.shown !== shown) return false;
      if (choice === "finish") return true;
      this.keepDraft();
      if (choice) await this.open(choice);
      return false;
    } finally {
      this.isChecking = false;
    }
  }

  // Own photos

  // Show a photo that the person has answered. An answer that is not sent yet is taken back.
  async open(place) {
    hideToast();
    const entry = this.outbox.takeBack(place);
    if (entry) {
      const photo = new Photo(entry.task);
      photo.answered = entry.answered;
      if (!photo.answered) this.queue.putBack(photo);
      this.takenBack(photo);
      this.store.set(`draft/${this.name}/${place}`, entry.draft);
      return this.showThat(() => photo);
    }
    await this.showThat(async () => {
      if (this.outbox.has(place)) await this.outbox.emptied();
      try {
        const photo = new Photo(await this.calls.ownOne(this.job.id, this.kind, place));
        photo.answered = true;
        return photo;
      } catch (error) {
        if (!(error instanceof Refused) || error.kind !== "unknown-photo") throw error;
        this.session.trouble(error.message);
        return this.queue.first();
      }
    });
  }

  async list() {
    hideToast();
    const load = async () => {
      await Promise.race([this.outbox.emptied(), new Promise((done) => setTimeout(done, LONGEST_CHECK))]);
      return (await this.calls.own(this.job.id, this.kind)).map((one) => this.ownView(one));
    };
    const place = await choosePhoto({ title: this.listTitle, text: "Choose a photo to correct it.", load });
    if (place) await this.open(place);
  }

  // The last box of each type

  last(type) {
    return this.store.get("last", {})[type];
  }

  rememberLast(boxes) {
    const { width, height } = this.shown.photo;
    const last = this.store.get("last", {});
    for (const box of boxes) last[box.type] = { box, photo: { width, height } };
    this.store.set("last", last);
  }

  copy() {
    const boxes = this.shown?.boxes;
    const last = this.last(this.types.current);
    if (!boxes) return;
    if (!last) return say(`You have saved no box of the type ${this.types.current} yet.`);
    const offer = boxes.offered.find((box) => box.origin.kind === "last" && box.type === this.types.current);
    if (offer) return boxes.accept(offer.id);
    const copied = new Boxes(this.shown.photo, () => {});
    copied.offerLast(last);
    if (copied.list.length > 0) boxes.add(copied.list[0], last.box.type);
  }

  // Drafts

  keepDraft() {
    const { photo, boxes } = this.shown;
    if (!boxes) return;
    this.store.set(`draft/${this.name}/${photo.place}`, { ...boxes.asDraft(), seconds: this.editor.seconds });
  }

  draft(photo) {
    return this.store.get(`draft/${this.name}/${photo.place}`, null);
  }

  forgetDraft(photo) {
    this.store.remove(`draft/${this.name}/${photo.place}`);
  }
}
