// The boxes of one photo, with undo and redo, and what became of the boxes that were offered.
//
// A box is {id, type, left, top, width, height, isOffered, origin, confidence}. An offered box does not count until the
// person accepts or changes it. `origin` is null, or the offered box: {kind: "model" | "last", type, left, ...}.

import { isSame, transferred } from "./geometry.js";

let made = 0;

function newBox(sides, type, rest = {}) {
  made += 1;
  return { id: `box-${made}`, type, isOffered: false, origin: null, confidence: null, ...plain(sides), type, ...rest };
}

function plain({ type, left, top, width, height }) {
  return { type, left, top, width, height };
}

export class Boxes {
  #past = [];
  #future = [];

  // `photo` has width and height. `onChange` is called after each change.
  constructor(photo, onChange) {
    this.photo = photo;
    this.list = [];
    this.selected = null; // id
    this.shown = 0; // boxes of the live model that were offered
    this.onChange = onChange;
  }

  // Begin with boxes that count.
  begin(boxes) {
    this.list = boxes.map((box) => newBox(box, box.type));
  }

  // Begin with the live model's boxes, as offers.
  offer(proposals) {
    this.shown = proposals.length;
    this.list = proposals.map((box) => this.#offered(box, "model", box.confidence));
  }

  // Offer the last box of a type, in place of an earlier offer of the kind. `last` is {box, photo} or undefined.
  offerLast(last) {
    const others = this.list.filter((box) => !(box.isOffered && box.origin.kind === "last"));
    if (others.length > 0) return;
    const sides = last && transferred(last.box, last.photo, this.photo);
    this.list = sides ? [this.#offered({ ...sides, type: last.box.type }, "last")] : [];
    this.onChange();
  }

  #offered(box, kind, confidence = null) {
    return newBox(box, box.type, { isOffered: true, origin: { kind, ...plain(box) }, confidence });
  }

  // What a draft keeps, and back.
  asDraft() {
    return { list: this.list.map(({ id, ...rest }) => rest), shown: this.shown };
  }

  restore(draft) {
    this.list = draft.list.map((box) => newBox(box, box.type, box));
    this.shown = draft.shown;
  }

  get own() {
    return this.list.filter((box) => !box.isOffered);
  }

  get offered() {
    return this.list.filter((box) => box.isOffered);
  }

  get current() {
    return this.list.find((box) => box.id === this.selected) ?? null;
  }

  // The boxes as an answer has them.
  get answer() {
    return this.own.map(plain);
  }

  // What became of the live model's boxes, as an answer has it. Undefined if none were offered.
  get proposal() {
    if (this.shown === 0) return undefined;
    const taken = this.own.filter((box) => box.origin?.kind === "model");
    const accepted = taken.filter((box) => isSame(box, box.origin)).length;
    return { shown: this.shown, accepted, changed: taken.length - accepted };
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  add(sides, type) {
    const box = newBox(sides, type);
    this.#become([...this.list, box], box.id);
    return box;
  }

  // Change a box. An offered box counts from now on.
  change(id, changes) {
    this.#become(
      this.list.map((box) => (box.id === id ? { ...box, ...changes, isOffered: false } : box)),
      id,
    );
  }

  accept(id) {
    if (this.list.some((box) => box.id === id && box.isOffered)) this.change(id, {});
  }

  acceptAll() {
    this.#become(this.list.map((box) => ({ ...box, isOffered: false })));
  }

  remove(id) {
    if (this.list.some((box) => box.id === id)) this.#become(this.list.filter((box) => box.id !== id), null);
  }

  select(id) {
    this.selected = id;
    this.onChange();
  }

  undo() {
    this.#step(this.#past, this.#future);
  }

  redo() {
    this.#step(this.#future, this.#past);
  }

  #step(from, to) {
    if (from.length === 0) return;
    to.push(this.list);
    this.list = from.pop();
    if (!this.current) this.selected = null;
    this.onChange();
  }

  #become(list, selected = this.selected) {
    this.#past.push(this.list);
    this.#future = [];
    this.list = list;
    this.selected = selected;
    this.onChange();
  }
}
