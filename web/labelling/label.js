// Labelling: draw the boxes of a photo, accept proposals, go back to own photos.

import { $, ask, button, element, say } from "./dom.js";
import { Boxes } from "./boxes.js";
import { Refused } from "./calls.js";
import { hideToast, showToast } from "./frame.js";
import { UNDO_TIME } from "./outbox.js";
import { Photo } from "./queue.js";
import { Turns } from "./turns.js";

const OUTCOMES = { labelled: "labelled", "no-document": "no document", skipped: "skipped" };

export class Labelling extends Turns {
  constructor(session) {
    super(session, "leases", (count) => session.calls.take(session.job.id, count));
    this.order = this.store.get("order", []); // places of own answers, the last one at the end
    for (const id of ["none", "skip", "previous"]) $(id).hidden = false;
    $("return").hidden = $("review").hidden = true;
  }

  nothingNow() {
    if (this.job.phase === "review") {
      return ["All photos are labelled", "Reviewers check the labels now. If they send a photo back, it appears here."];
    }
    return ["No photo for you now", "Other people have the last photos. The next free photo appears here by itself."];
  }

  waitingActs() {
    return [button("My photos", () => this.list()), ...super.waitingActs()];
  }

  // Show a photo: one that is leased, with its proposals, or an own answer to correct.
  put(photo, image, given = null) {
    const boxes = new Boxes(photo, () => {});
    const draft = given ?? this.draft(photo);
    if (draft) boxes.restore(draft);
    else if (photo.answered) boxes.begin(photo.task.boxes);
    else boxes.offer(photo.task.proposals ?? []);
    this.shown = { photo, boxes: image ? boxes : null };
    this.editor.put(photo, image, boxes);
    if (draft) this.editor.addSeconds(draft.seconds);
    else this.#offerLast();
    this.editor.onChange = () => {
      this.keepDraft();
      this.#showState();
    };
    $("photo-title").textContent = `Photo ${photo.place}`;
    $("note").textContent = photo.task.note ? `A reviewer sent this photo back: ${photo.task.note}` : "";
    $("note").hidden = !photo.task.note;
    this.#showState();
  }

  #showState() {
    const { photo, boxes } = this.shown;
    const isChanged = Boolean(boxes?.canUndo || this.draft(photo));
    const before = photo.answered ? `Your answer: ${OUTCOMES[photo.task.outcome]}` : "";
    $("state").textContent = isChanged ? "Changed, not saved yet" : before;
    $("state").dataset.kind = isChanged ? "changed" : "saved";
    const offers = boxes && boxes.own.length === 0 ? boxes.offered.length : 0;
    $("save-text").textContent = offers ? `Accept ${offers === 1 ? "the box" : `${offers} boxes`}` : photo.answered ? "Save" : "Save and next";
    for (const id of ["save", "none"]) $(id).disabled = !boxes;
    $("skip").disabled = photo.answered && photo.task.outcome !== "skipped";
  }

  // Offer the last box of the chosen type if the live model has proposed nothing. Not if `proposals` is null.
  #offerLast() {
    const { photo, boxes } = this.shown;
    if (!boxes || photo.answered || photo.task.proposals === null || boxes.shown > 0 || this.draft(photo)) return;
    boxes.offerLast(this.#last(this.types.current));
  }

  #last(type) {
    return this.store.get("last", {})[type];
  }

  setType(type) {
    this.editor.setType(type);
    if (this.shown) this.#offerLast();
    if (this.shown) this.#showState();
  }

  copy() {
    const boxes = this.shown?.boxes;
    const last = this.#last(this.types.current);
    if (!boxes) return;
    if (!last) return say(`You have saved no box of the type ${this.types.current} yet.`);
    const offer = boxes.offered.find((box) => box.origin.kind === "last" && box.type === this.types.current);
    if (offer) return boxes.accept(offer.id);
    const copied = new Boxes(this.shown.photo, () => {});
    copied.offerLast(last);
    if (copied.list.length > 0) boxes.add(copied.list[0], last.box.type);
  }

  // Answers

  save() {
    const boxes = this.shown?.boxes;
    if (!boxes) return;
    if (boxes.own.length > 0) return this.#answer("labelled");
    if (boxes.offered.length > 0) {
      for (const box of boxes.offered) this.types.use(box.type);
      boxes.acceptAll();
      return say(`Accepted. Press Enter again to save.`);
    }
    this.session.trouble("Draw a box around the document, or choose “No document”.");
  }

  none() {
    if (this.shown?.boxes) this.#answer("no-document");
  }

  async skip() {
    const { shown } = this;
    if (!shown || $("skip").disabled) return;
    const reason = await ask($("skip-dialog"));
    if (reason && this.shown === shown) this.#answer("skipped", reason);
  }

  // Put the answer of the photo on the page into the outbox, and show the next photo.
  #answer(outcome, reason) {
    const { photo, boxes } = this.shown;
    const given = boxes ?? new Boxes(photo, () => {});
    const { leaseId } = photo.task;
    const body = {
      ...(leaseId && { leaseId }),
      outcome,
      ...(reason && { reason }),
      boxes: outcome === "labelled" ? given.answer : [],
      seconds: this.editor.seconds,
      ...(given.proposal && { proposal: given.proposal }),
    };
    const isHeld = outcome !== "labelled";
    const draft = { ...given.asDraft(), seconds: body.seconds };
    this.session.trouble("");
    this.outbox.add({ kind: "answers", place: photo.place, body, draft, task: photo.task }, isHeld ? UNDO_TIME : 0);
    this.forgetDraft(photo);
    this.queue.remove(photo);
    this.#remember(photo, body.boxes);
    if (isHeld) {
      showToast(`Photo ${photo.place}: ${OUTCOMES[outcome]}.`, UNDO_TIME, () => this.open(photo.place));
      this.toasted = photo.place;
    } else hideToast();
    this.showNext();
  }

  #remember({ place, width, height, answered }, boxes) {
    const last = this.store.get("last", {});
    for (const box of boxes) last[box.type] = { box, photo: { width, height } };
    this.store.set("last", last);
    if (!answered) this.session.countOwn();
    this.order = [...this.order.filter((one) => one !== place), place].slice(-500);
    this.store.set("order", this.order);
  }

  undo() {
    // On a new photo there is nothing to undo but the last answer, while it is held back.
    if (!this.shown?.boxes?.canUndo && !$("toast").hidden) return this.open(this.toasted);
    this.editor.undo();
  }

  // Own photos

  // Show a photo that the person has answered. An answer that is not sent yet is taken back.
  async open(place) {
    hideToast();
    const entry = this.outbox.takeBack(place);
    if (entry) {
      const photo = new Photo(entry.task);
      photo.answered = !entry.body.leaseId;
      if (!photo.answered) {
        this.queue.putBack(photo);
        this.session.countOwn(-1);
      }
      this.store.set(`draft/${this.name}/${place}`, entry.draft);
      return this.showThat(() => photo);
    }
    await this.showThat(async () => {
      if (this.outbox.has(place)) await this.outbox.emptied();
      try {
        const photo = new Photo(await this.calls.answer(this.job.id, place));
        photo.answered = true;
        return photo;
      } catch (error) {
        if (!(error instanceof Refused) || error.kind !== "unknown-photo") throw error;
        this.session.trouble(error.message);
        return this.queue.first();
      }
    });
  }

  async refresh(photo) {
    if (!photo.answered) return super.refresh(photo);
    photo.update(await this.calls.answer(this.job.id, photo.place));
  }

  async previous() {
    if (this.order.length === 0) {
      const answers = await this.calls.answers(this.job.id).catch((error) => (this.handle(error), []));
      this.order = answers.sort((one, other) => one.time - other.time).map(({ place }) => place);
    }
    const at = this.shown?.photo ? this.order.indexOf(this.shown.photo.place) : -1;
    const place = this.order.at(at === -1 ? -1 : at - 1);
    if (place === undefined || at === 0) return say("This is your first photo.");
    await this.open(place);
  }

  next() {
    const at = this.shown ? this.order.indexOf(this.shown.photo.place) : -1;
    const place = at === -1 ? undefined : this.order[at + 1];
    if (place !== undefined) return this.open(place);
    if (this.shown?.photo.answered) this.showNext();
  }

  async list() {
    $("own-photos").replaceChildren();
    $("list-text").textContent = "Loading…";
    const chosen = ask($("list-dialog"));
    this.outbox.flush();
    hideToast();
    this.calls.answers(this.job.id).then(
      (answers) => this.#showList(answers),
      (error) => ($("list-text").textContent = this.handle(error) ? error.message : "The list cannot be shown."),
    );
    const place = Number(await chosen);
    if (place) await this.open(place);
  }

  #showList(answers) {
    $("list-text").textContent = answers.length ? "Choose a photo to correct its answer." : "You have answered no photo yet.";
    $("own-photos").replaceChildren(
      ...answers.map(({ place, outcome, boxes, time }) => {
        const what = outcome === "labelled" ? `${boxes} ${boxes === 1 ? "box" : "boxes"}` : OUTCOMES[outcome];
        const when = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
        return element("li", {}, element("button", { value: String(place) }, `Photo ${place}: ${what}`, element("small", {}, when)));
      }),
    );
  }
}
