// What labelling and review share: the photo on the page, its boxes, and all that changes them.

import { $, button, element, say, unseen } from "./dom.js";
import { moved, resized } from "./geometry.js";
import { Stage } from "./stage.js";

const COARSE = 100; // an arrow key moves a box by this part of what is visible
const BRIGHTNESS = { least: 50, most: 250, step: 25 }; // percent

export class Editor {
  #isFine = false;
  #corner = "se";
  #seconds = 0;
  #since = null;

  constructor() {
    const on = {
      draw: (sides) => this.#drawn(sides),
      change: (id, sides) => this.boxes.change(id, sides),
      select: (id) => this.#tapped(id),
      view: () => ($("zoom").textContent = this.stage?.view ? `${Math.round(this.stage.view.zoom * 100)} %` : ""),
    };
    this.boxes = null; // null while no photo can be drawn on
    this.overlay = []; // boxes of others, which cannot be changed
    this.onChange = () => {};
    this.stage = new Stage($("stage"), on, (type) => this.types.colour(type));
    document.addEventListener("visibilitychange", () => this.#count());
    $("brightness").addEventListener("input", () => this.brighten(0));
  }

  // Show a loaded photo with these boxes. They change together, so a box belongs to the photo that is shown.
  put(photo, image, boxes, overlay = []) {
    this.boxes = image ? boxes : null;
    this.overlay = overlay;
    this.onChange = () => {}; // of the photo before
    this.#corner = "se";
    this.#seconds = 0;
    this.#since = null;
    this.stage.put(image, photo);
    if (this.boxes) this.boxes.onChange = () => this.#changed();
    this.#count();
    this.draw();
  }

  clear() {
    this.put(null, null, null);
  }

  // Seconds for which the photo was visible.
  get seconds() {
    this.#count();
    return Math.round(this.#seconds / 100) / 10;
  }

  addSeconds(seconds) {
    this.#seconds += seconds * 1000;
  }

  #count() {
    const now = performance.now();
    if (this.#since !== null) this.#seconds += now - this.#since;
    this.#since = document.hidden ? null : now;
  }

  #changed() {
    this.draw();
    this.onChange();
  }

  draw() {
    const boxes = this.boxes?.list ?? [];
    const current = this.boxes?.current;
    if (current) this.types.show(current.type);
    this.stage.draw([...this.overlay, ...boxes.map((box) => this.#onStage(box))]);
    $("boxes").replaceChildren(...boxes.map((box, index) => this.#line(box, index + 1)));
    $("no-boxes").hidden = !this.boxes || boxes.length > 0;
    $("boxes-count").textContent = boxes.length || "";
    for (const id of ["add", "copy"]) $(id).disabled = !this.boxes;
    $("undo").disabled = !this.boxes?.canUndo;
    $("redo").disabled = !this.boxes?.canRedo;
  }

  #onStage(box) {
    const confidence = box.isOffered && box.confidence !== null ? ` ${Math.round(box.confidence * 100)} %` : "";
    const last = box.isOffered && box.origin.kind === "last" ? " (last)" : "";
    return {
      ...box,
      kind: box.isOffered ? "offered" : "own",
      isSelected: box.id === this.boxes.selected,
      text: `${box.type}${confidence}${last}`,
    };
  }

  #line(box, number) {
    const size = element("small", {}, ` ${box.width} × ${box.height}`);
    const offer = box.isOffered ? [element("em", {}, offerInWords(box))] : [];
    const choice = button("", () => this.#tapped(box.id), {
      ariaPressed: String(box.id === this.boxes.selected),
      className: box.isOffered ? "offered" : "",
    });
    const content = [unseen(`Box ${number}: `), this.types.swatch(box.type), element("span", {}, box.type), ...offer, size];
    choice.append(...content, unseen(` at ${box.left}, ${box.top}`));
    const label = `${box.isOffered ? "Dismiss" : "Delete"} box ${number}`;
    return element("li", {}, choice, button("×", () => this.remove(box.id), { className: "small", ariaLabel: label }));
  }

  // Boxes

  #drawn(sides) {
    this.boxes.add(sides, this.types.current);
    this.types.use(this.types.current);
  }

  // A box, or none, was clicked. A click on an offered box accepts it.
  #tapped(id) {
    if (!this.boxes) return;
    const box = this.boxes.list.find((one) => one.id === id);
    if (box?.isOffered) {
      this.types.use(box.type);
      this.boxes.accept(id);
      say(`Accepted: ${box.type}.`);
    } else this.boxes.select(id);
  }

  add() {
    if (!this.boxes) return;
    const { left, top, width, height } = this.stage.view.visible;
    const sides = {
      left: Math.round(left + width / 4),
      top: Math.round(top + height / 4),
      width: Math.max(3, Math.round(width / 2)),
      height: Math.max(3, Math.round(height / 2)),
    };
    this.#drawn(sides);
    say(`Box ${this.boxes.list.length}, ${this.types.current}, in the middle.`);
  }

  remove(id = this.boxes?.selected) {
    if (!this.boxes?.list.some((box) => box.id === id)) return;
    this.boxes.remove(id);
    say("Box deleted.");
  }

  // Choose the type of the next box, and of the selected box or the only one that is offered.
  setType(type) {
    const { boxes } = this;
    const only = boxes?.list.length === 1 && boxes.list[0].isOffered && boxes.list[0].origin.kind === "model" ? boxes.list[0] : null;
    const box = boxes?.current ?? only;
    this.types.show(type);
    if (!box) return;
    if (box.type !== type || box.isOffered) boxes.change(box.id, { type });
    this.types.use(type);
  }

  // Move the selected box, or one of its corners. Without a selected box, move the view.
  nudge(right, down, isResize) {
    const box = this.boxes?.current;
    if (!box) {
      if (this.stage.view) this.stage.pan(-right * 60, -down * 60);
      return;
    }
    const { visible } = this.stage.view;
    const step = this.#isFine ? 1 : Math.max(1, Math.round(Math.max(visible.width, visible.height) / COARSE));
    const photo = this.boxes.photo;
    const sides = isResize
      ? resized(box, this.#corner, right * step, down * step, photo)
      : moved(box, right * step, down * step, photo);
    this.boxes.change(box.id, sides);
  }

  toggleFine() {
    this.#isFine = !this.#isFine;
    say(this.#isFine ? "Fine steps of one pixel." : "Large steps.");
  }

  toggleCorner() {
    this.#corner = this.#corner === "se" ? "nw" : "se";
    say(this.#corner === "se" ? "Shift and arrows move the bottom right corner." : "Shift and arrows move the top left corner.");
  }

  selectNext() {
    const list = this.boxes?.list ?? [];
    if (list.length === 0) return;
    const next = list[(list.findIndex((box) => box.id === this.boxes.selected) + 1) % list.length];
    this.boxes.select(next.id);
    say(`Box ${list.indexOf(next) + 1}: ${next.type}${next.isOffered ? `, ${offerInWords(next)}` : ""} ${next.width} × ${next.height} at ${next.left}, ${next.top}`);
  }

  undo() {
    this.boxes?.undo();
    say("Undone.");
  }

  redo() {
    this.boxes?.redo();
    say("Redone.");
  }

  // View

  brighten(steps) {
    const { least, most, step } = BRIGHTNESS;
    const value = Math.min(most, Math.max(least, Number($("brightness").value) + steps * step));
    $("brightness").value = value;
    this.stage.brightness = value;
    if (steps) say(`Brightness ${value} %`);
  }

  resetView() {
    this.stage.fit();
    $("brightness").value = 100;
    this.brighten(0);
  }
}

function offerInWords(box) {
  if (box.origin.kind === "last") return "like the last one?";
  return `proposed, ${Math.round((box.confidence ?? 0) * 100)} %`;
}
