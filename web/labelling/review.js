// Review: see all answers to a doubtful photo, and accept, correct or send back its labels.

import { $, ask, button, element } from "./dom.js";
import { Boxes } from "./boxes.js";
import { isSame } from "./geometry.js";
import { svg } from "./stage.js";
import { Turns } from "./turns.js";

const DOUBTS = {
  disagreement: "People disagree about the boxes or the types.",
  model: "The live model finds something else.",
  shape: "A box has an unusual shape or size for its type.",
  skipped: "People could not tell what the photo shows.",
  sample: "Drawn at random, to check the labels.",
};
const DECISIONS = { accept: "accepted", correct: "corrected", return: "sent back" };
// Each answer has a colour and a pattern of its own. Colour alone does not tell them apart for everyone.
const LOOKS = [
  { colour: "#b91c1c", dash: "2 4" },
  { colour: "#1d4ed8", dash: "12 5" },
  { colour: "#7e22ce", dash: "12 4 2 4" },
  { colour: "#b45309", dash: "6 3" },
];
const MODEL = { colour: "#0f766e", dash: "18 4 2 4 2 4" };
const OUTCOMES = { "no-document": "no document", skipped: "skipped" };

export class Reviewing extends Turns {
  constructor(session) {
    super(session, { name: "reviews", kind: "review", listTitle: "My decisions" }, (count) => session.calls.takeReviews(session.job.id, count));
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
    $("answers").replaceChildren(...legend(task).map(({ look, name, words }) =>
        element("li", {}, sample(look), element("b", {}, name), element("span", {}, words))));
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
    const decision = this.#decision;
    const before = decision ? `Your decision: ${DECISIONS[decision]}` : "";
    $("state").textContent = isChanged ? "Changed, not saved yet" : before;
    $("state").dataset.kind = isChanged ? "changed" : "saved";
    const what = !isChanged ? "Accept these labels" : boxes.answer.length ? "Save the correction" : "Correct: no document";
    $("save-text").textContent = what;
    $("save").disabled = !boxes || decision === "return";
    $("return").disabled = Boolean(decision);
  }

  setType(type) {
    this.editor.setType(type);
  }

  save() {
    const boxes = this.shown?.boxes;
    if (!boxes || $("save").disabled) return;
    const isCorrection = this.#isChanged || this.#decision === "correct"; // to accept would bring back the labels before
    this.#decide(isCorrection ? { decision: "correct", boxes: boxes.answer } : { decision: "accept" });
  }

  async skip() {
    const { shown } = this;
    if (!shown || $("return").disabled) return;
    $("return-note").value = "";
    $("return-send").disabled = true;
    $("return-note").oninput = () => ($("return-send").disabled = !$("return-note").value.trim());
    const answer = await ask($("return-dialog"));
    const note = $("return-note").value.trim();
    if (answer && note && this.shown === shown) this.#decide({ decision: "return", note });
  }

  // Only a photo that is sent back cannot be decided about again. So it is held back for some seconds.
  async #decide(decided) {
    const isReturn = decided.decision === "return";
    if (!isReturn && !(await this.confirmLast())) return;
    const { photo, boxes } = this.shown;
    this.rememberLast(decided.boxes ?? []);
    const body = { leaseId: photo.task.leaseId, ...decided };
    this.send(body, boxes ?? new Boxes(photo, () => {}), isReturn ? DECISIONS.return : "");
  }

  takenBack() {}

  ownView({ labels, decision, ...rest }) {
    return { ...rest, boxes: labels, words: DECISIONS[decision] };
  }

  // Photos that need a decision, without those whose decision is on its way.
  get left() {
    return this.job.progress.toReview - this.outbox.size;
  }

  // The reviewer's earlier decision about the photo on the page.
  get #decision() {
    const { photo } = this.shown;
    return photo.answered ? photo.task.decision : undefined;
  }

  waitingActs() {
    return [button("Look again", () => this.showNext()), ...super.waitingActs()];
  }
}

// What each answer says: {look, name, words, boxes}. Nobody is named.
function legend({ answers = [], proposals }) {
  const inWords = (boxes) => boxes.map((box) => box.type).join(", ");
  const given = answers.map(({ outcome, boxes }, index) => ({
    look: LOOKS[index % LOOKS.length],
    name: `Answer ${index + 1}`,
    words: OUTCOMES[outcome] ?? inWords(boxes),
    boxes,
  }));
  return proposals?.length ? [...given, { look: MODEL, name: "Model", words: inWords(proposals), boxes: proposals }] : given;
}

function overlay(task) {
  const boxes = legend(task).flatMap(({ look, name, boxes }) => boxes.map((box) => ({ ...box, look, text: `${name}: ${box.type}` })));
  return boxes.map((box, index) => ({ ...box, id: `answer-${index}`, kind: "answer", isSelected: false }));
}

// A line as the boxes of an answer have it.
function sample({ colour, dash }) {
  const line = svg("line", { x1: 0, y1: 5, x2: 40, y2: 5, stroke: colour, "stroke-width": 3, "stroke-dasharray": dash });
  const picture = svg("svg", { "aria-hidden": "true" });
  picture.append(line);
  return picture;
}
