// The photo with its boxes: shows them, and turns mouse, pen and fingers into boxes, zoom and pan.
//
// Left button or one finger: draw, move, resize. Wheel, two fingers, middle button, or space and drag: zoom and pan.
// A gesture changes a box only when it ends, so a second finger or Escape leaves the box as it was.

import { element } from "./dom.js";
import { between, isIn, moved, resized, View } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";
const SIDES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const TAP = 5; // screen pixels; a shorter drag is a click
const GRIP = { mouse: 9, pen: 12, touch: 22 }; // screen pixels around a handle

export class Stage {
  #pointers = new Map();
  #gesture = null;
  #isSpace = false;
  #image = null;
  #boxes = [];

  // `on` has draw(sides), change(id, sides), select(id or null), view(). `colour(type)` is a CSS colour.
  constructor(node, on, colour) {
    Object.assign(this, { node, on, colour });
    this.frame = element("div", { className: "frame", ariaHidden: "true" });
    this.svg = svg("svg");
    this.tags = element("div", { className: "tags" });
    this.frame.append(this.svg, this.tags);
    node.append(this.frame);
    const { frame } = this;
    frame.addEventListener("pointerdown", (event) => this.#press(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    frame.addEventListener("pointerup", (event) => this.#release(event));
    frame.addEventListener("pointercancel", (event) => this.#leave(event));
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("auxclick", (event) => event.preventDefault());
    frame.addEventListener("contextmenu", (event) => this.#pointers.size > 0 && event.preventDefault());
    new ResizeObserver(() => this.#resize()).observe(node);
  }

  // Show a loaded photo, or none. `photo` has width and height.
  put(image, photo) {
    this.cancel();
    this.#image?.remove();
    this.#image = image;
    this.photo = photo;
    this.#boxes = [];
    this.view = photo && image ? new View(photo, this.#room()) : null;
    if (image) {
      image.className = "photo-image";
      image.draggable = false;
      this.frame.prepend(image);
    }
    this.#place();
  }

  // Show these boxes: {id, type, left, top, width, height, kind, isSelected, text}.
  draw(boxes) {
    this.#boxes = boxes;
    this.#render();
  }

  set brightness(percent) {
    this.frame.style.setProperty("--brightness", `${percent}%`);
  }

  // End a gesture without a change. Returns whether there was one.
  cancel() {
    const was = this.#gesture;
    this.#gesture = null;
    if (was?.box) this.#render();
    return Boolean(was);
  }

  set isSpace(value) {
    this.#isSpace = value;
    this.frame.classList.toggle("pans", value);
  }

  zoomBy(factor) {
    this.view?.zoomBy(factor);
    this.#place();
  }

  pan(right, down) {
    this.view?.pan(right, down);
    this.#place();
  }

  fit() {
    this.view?.fit();
    this.#place();
  }

  #room() {
    const { width, height } = this.node.getBoundingClientRect();
    return { width, height };
  }

  #resize() {
    this.view?.resize(this.#room());
    this.#place();
  }

  #place() {
    if (this.view && this.#image) {
      const { x, y, scale } = this.view;
      this.#image.style.width = `${this.photo.width}px`;
      this.#image.style.height = `${this.photo.height}px`;
      this.#image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    }
    this.#render();
    this.on.view();
  }

  // Pointers

  #at(event) {
    const { left, top } = this.frame.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #press(event) {
    if (!this.view || event.button === 2) return;
    this.node.focus({ preventScroll: true });
    event.preventDefault();
    const point = this.#at(event);
    this.#pointers.set(event.pointerId, point);
    this.frame.setPointerCapture(event.pointerId);
    if (this.#pointers.size > 1) {
      this.cancel(); // the first finger has drawn nothing
      this.#gesture = { kind: "pinch" };
    } else if (event.button === 1 || this.#isSpace) {
      this.#gesture = { kind: "pan" };
    } else if (event.button === 0) {
      this.#gesture = this.#begin(point, event.pointerType);
    }
  }

  // What a press at this point begins: to resize or move the selected box, or to draw a new one.
  #begin(point, pointer) {
    const start = this.view.toPhoto(point);
    const box = this.#boxes.find((one) => one.isSelected);
    const common = { point, start, isTap: true };
    if (box) {
      const sides = this.#handleAt(point, box, GRIP[pointer] ?? GRIP.mouse);
      if (sides) return { ...common, kind: "resize", id: box.id, from: box, sides };
      if (isIn(start, box)) return { ...common, kind: "move", id: box.id, from: box };
    }
    return { ...common, kind: "draw" };
  }

  #handleAt(point, box, reach) {
    const distance = ([, x, y]) => Math.hypot(point.x - x, point.y - y);
    const place = this.view.toScreen(box);
    const nearest = handles(place).reduce((one, other) => (distance(other) < distance(one) ? other : one));
    return distance(nearest) <= Math.min(reach, Math.max(5, Math.min(place.width, place.height) / 3)) ? nearest[0] : null;
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.#showCursor(this.#at(event));
      return;
    }
    const point = this.#at(event);
    const gesture = this.#gesture;
    if (gesture?.kind === "pinch") this.#pinch(event.pointerId, before, point);
    else if (gesture?.kind === "pan") this.pan(point.x - before.x, point.y - before.y);
    else if (gesture) {
      if (Math.hypot(point.x - gesture.point.x, point.y - gesture.point.y) > TAP) gesture.isTap = false;
      gesture.box = gesture.isTap ? null : this.#result(gesture, this.view.toPhoto(point));
      this.#render();
    }
    this.#pointers.set(event.pointerId, point);
  }

  #pinch(id, before, after) {
    const other = [...this.#pointers].find(([one]) => one !== id)?.[1];
    if (!other) return;
    const apart = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.view.pan((after.x - before.x) / 2, (after.y - before.y) / 2);
    this.view.zoomAt({ x: (after.x + other.x) / 2, y: (after.y + other.y) / 2 }, apart(after) / apart(before));
    this.#place();
  }

  // The box that a gesture gives if it ends at this point of the photo.
  #result(gesture, end) {
    const [right, down] = [end.x - gesture.start.x, end.y - gesture.start.y];
    if (gesture.kind === "draw") return between(gesture.start, end, this.photo);
    if (gesture.kind === "move") return moved(gesture.from, right, down, this.photo);
    return resized(gesture.from, gesture.sides, right, down, this.photo);
  }

  #release(event) {
    const gesture = this.#gesture;
    if (!this.#leave(event) || !gesture || !["draw", "move", "resize"].includes(gesture.kind)) return;
    if (gesture.isTap) this.on.select(this.#boxAt(gesture.start));
    else {
      const sides = this.#result(gesture, this.view.toPhoto(this.#at(event)));
      if (!sides) this.#render();
      else if (gesture.kind === "draw") this.on.draw(sides);
      else this.on.change(gesture.id, sides);
    }
  }

  // Forget a pointer. A pinch or pan ends when its last pointer has left.
  #leave(event) {
    const wasDown = this.#pointers.delete(event.pointerId);
    if (this.#pointers.size === 0 || event.type === "pointercancel") this.cancel();
    return wasDown;
  }

  // The smallest box at this point of the photo.
  #boxAt(point) {
    const there = this.#boxes.filter((box) => box.kind !== "answer" && isIn(point, box));
    return there.sort((one, other) => one.width * one.height - other.width * other.height)[0]?.id ?? null;
  }

  #wheel(event) {
    event.preventDefault();
    if (!this.view || this.#pointers.size > 0) return;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    this.view.zoomAt(this.#at(event), Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0022)));
    this.#place();
  }

  #showCursor(point) {
    const box = this.#boxes.find((one) => one.isSelected);
    const sides = this.view && box && this.#handleAt(point, box, GRIP.mouse);
    this.frame.dataset.cursor = sides || (this.view && box && isIn(this.view.toPhoto(point), box) ? "move" : "draw");
  }

  // Drawing

  #render() {
    this.svg.replaceChildren();
    this.tags.replaceChildren();
    if (!this.view) return;
    const gesture = this.#gesture;
    for (const box of this.#boxes) {
      const now = gesture?.box && gesture.id === box.id ? { ...box, ...gesture.box } : box;
      this.#renderBox(now);
    }
    if (gesture?.box && gesture.kind === "draw") {
      this.#renderBox({ ...gesture.box, kind: "own", type: null, isSelected: false, text: "" });
    }
  }

  #renderBox(box) {
    const place = this.view.toScreen(box);
    const colour = box.look?.colour ?? this.colour(box.type);
    const sides = { x: place.x, y: place.y, width: place.width, height: place.height };
    this.svg.append(svg("rect", { ...sides, class: `halo ${box.kind}` }));
    this.svg.append(svg("rect", { ...sides, class: `box ${box.kind}${box.isSelected ? " selected" : ""}`, stroke: colour, fill: colour, ...(box.look && { "stroke-dasharray": box.look.dash }) }));
    if (box.isSelected) {
      for (const [, x, y] of handles(place)) this.svg.append(svg("circle", { cx: x, cy: y, r: 5, class: "handle", stroke: colour }));
    }
    if (!box.text) return;
    const tag = element("span", { className: box.kind }, box.text);
    const isBelow = box.kind === "answer";
    tag.style.left = `${Math.max(0, place.x)}px`;
    tag.style.top = `${isBelow ? place.y + place.height + 2 : Math.max(0, place.y - 23)}px`;
    tag.style.backgroundColor = colour;
    this.tags.append(tag);
  }
}

// The handles of a box on the screen: [side, x, y].
function handles({ x, y, width, height }) {
  return SIDES.map((side) => [
    side,
    x + (side.includes("w") ? 0 : side.includes("e") ? width : width / 2),
    y + (side.includes("n") ? 0 : side.includes("s") ? height : height / 2),
  ]);
}

export function svg(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
