// Review: see all answers to a doubtful photo, and accept, correct or send back its labels.

import { $, ask, button, element } from "./dom.js";
import { Boxes } from "./boxes.js";
import { isSame } from "./geometry.js";
import { Turns } from "./turns.js";

const DOUBTS = {
  disagreement: "People disagree about the boxes or the types.",
  model: "The live model finds something else.",
  shape: "A box has an unusual shape or size for its type.",
  skipped: "People could not tell what the photo shows.",
  sample: "Drawn at random, to check the labels.",
};
const OUTCOMES = { "no-document": "no document", skipped: "skipped" };

export class Reviewing extends Turns {
  constructor(session) {
    super(session, "reviews", (count) => session.calls.takeReviews(session.job.id, count));
    for (const id of ["none", "skip", "previous"]) $(id).hidden = true;
    $("return").hidden = $("review").hidden = false;
  }

  nothingNow() {
    const { toReview } = this.job.progress;
    if (this.job.phase === "labelling") return ["Nothing to review yet", "The review begins when all photos are labelled."];
    if (toReview === 0) return ["Nothing to review", "Reviewers have decided about all photos."];
    return ["No photo to review now", "Other reviewers have the last photos, or photos are labelled again."];
  }

  put(photo, image) {
    const { task } = photo;
    const boxes = new Boxes(photo, () => {});
    const draft = this.draft(photo);
    if (draft) boxes.restore(draft);
    else boxes.begin(task.labels ?? []);
    this.shown = { photo, boxes: image ? boxes : null };
    this.editor.put(photo, image, boxes, overlay(task));
    if (draft) this.editor.addSeconds(draft.seconds);
    this.editor.onChange = () => {
      this.keepDraft();
      this.#showState();
    };
    $("photo-title").textContent = `Photo ${photo.place}`;
    $("note").hidden = true;
    $("doubts").replaceChildren(...(task.doubts ?? []).map((doubt) => element("li", {}, DOUBTS[doubt] ?? doubt)));
    $("answers").replaceChildren(...people(task).map(([letter, words]) => element("li", {}, element("b", {}, letter), words)));
    this.#showState();
  }

  get #isChanged() {
    const { photo, boxes } = this.shown;
    const labels = photo.task.labels ?? [];
    return boxes.answer.length !== labels.length || boxes.answer.some((box, index) => !isSame(box, labels[index]));
  }

  #showState() {
    const { boxes } = this.shown;
    const isChanged = Boolean(boxes) && this.#isChanged;
    $("state").textContent = isChanged ? "Changed, not saved yet" : "";
    $("state").dataset.kind = "changed";
    const what = !isChanged ? "Accept these labels" : boxes.answer.length ? "Save the correction" : "Correct: no document";
    $("save-text").textContent = what;
    $("save").disabled = !boxes;
    $("return").disabled = false;
  }

  setType(type) {
    this.editor.setType(type);
  }

  copy() {}

  undo() {
    this.editor.undo();
  }

  save() {
    const boxes = this.shown?.boxes;
    if (!boxes) return;
    this.#decide(this.#isChanged ? { decision: "correct", boxes: boxes.answer } : { decision: "accept" });
  }

  async skip() {
    const { shown } = this;
    if (!shown) return;
    $("return-note").value = "";
    $("return-send").disabled = true;
    $("return-note").oninput = () => ($("return-send").disabled = !$("return-note").value.trim());
    const answer = await ask($("return-dialog"));
    const note = $("return-note").value.trim();
    if (answer && note && this.shown === shown) this.#decide({ decision: "return", note });
  }

  #decide(decided) {
    const { photo } = this.shown;
    const body = { leaseId: photo.task.leaseId, ...decided };
    this.session.trouble("");
    this.outbox.add({ kind: "review", place: photo.place, body, draft: null, task: photo.task });
    this.forgetDraft(photo);
    this.queue.remove(photo);
    this.showNext();
  }

  waitingActs() {
    return [button("Look again", () => this.showNext()), ...super.waitingActs()];
  }
}

// The boxes of all answers, and those of the live model, with a letter for each answer.
function overlay({ answers = [], proposals }) {
  const boxes = answers.flatMap((answer, index) => answer.boxes.map((box) => ({ ...box, text: `${letter(index)}: ${box.type}` })));
  const models = (proposals ?? []).map((box) => ({ ...box, text: `Model: ${box.type}` }));
  return [...boxes, ...models].map((box, index) => ({ ...box, id: `answer-${index}`, kind: "answer", isSelected: false }));
}

// What each answer says, in words: [letter, words].
function people({ answers = [], proposals }) {
  const inWords = (boxes) => boxes.map((box) => box.type).join(", ");
  const given = answers.map(({ outcome, boxes }, index) => [letter(index), OUTCOMES[outcome] ?? inWords(boxes)]);
  return proposals?.length ? [...given, ["M", `the live model: ${inWords(proposals)}`]] : given;
}

function letter(index) {
  return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index % 26];
}
