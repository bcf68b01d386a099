// Labelling: draw the boxes of a photo, accept proposals, go back to own photos.

import { $, ask, button, say } from "./dom.js";
import { Boxes } from "./boxes.js";
import { Turns } from "./turns.js";

const OUTCOMES = { labelled: "labelled", "no-document": "no document", skipped: "skipped" };

export class Labelling extends Turns {
  constructor(session) {
    super(session, { name: "leases", kind: "answers", listTitle: "My photos" }, (count) => session.calls.take(session.job.id, count));
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

  takenBack(photo) {
    if (!photo.answered) this.session.countOwn(-1);
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
    boxes.offerLast(this.last(this.types.current));
  }

  setType(type) {
    this.editor.setType(type);
    if (this.shown) this.#offerLast();
    if (this.shown) this.#showState();
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
  async #answer(outcome, reason) {
    if (outcome !== "skipped" && !(await this.confirmLast())) return;
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
    this.#remember(photo, body.boxes);
    this.send(body, given, outcome === "labelled" ? "" : OUTCOMES[outcome]);
  }

  #remember({ place, answered }, boxes) {
    this.rememberLast(boxes);
    if (!answered) this.session.countOwn();
    this.order = [...this.order.filter((one) => one !== place), place].slice(-500);
    this.store.set("order", this.order);
  }

  // Own photos

  async previous() {
    if (this.order.length === 0) {
      const answers = await this.calls.own(this.job.id, "answers").catch((error) => (this.handle(error), []));
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

  ownView({ outcome, boxes, ...rest }) {
    const words = outcome === "labelled" ? `${boxes.length} ${boxes.length === 1 ? "box" : "boxes"}` : OUTCOMES[outcome];
    return { ...rest, boxes, words };
  }

  // Photos of the job that need an answer, without those whose answer is on its way.
  get left() {
    const { total, labelled } = this.job.progress;
    return total - labelled - this.outbox.size;
  }
}
