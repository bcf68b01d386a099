// All keys of the page: what they do, and the list in the help.

import { $, element } from "./dom.js";
import { preferences } from "./store.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Key, words for the help, name of the act. Keys with the same words are one line of the help.
const TABLE = [
  ["Enter", "accept the proposals; then save and next", "save"],
  ["x", "no document: save without a box", "none"],
  ["s", "skip: you cannot tell", "skip"],
  ["p", "your photo before this one", "previous"],
  ["o", "back to the photo that is next", "next"],
  ["m", "list of your photos", "list"],
  ["n", "new box in the middle", "add"],
  ["v", "copy the last box of the type", "copy"],
  ["b", "select the next box", "selectNext"],
  ["c", "which corner Shift and arrows move", "toggleCorner"],
  ["f", "fine steps of one pixel, on and off", "toggleFine"],
  ["t", "search a type", "search"],
  ["+", "zoom in", "zoomIn"],
  ["-", "zoom out", "zoomOut"],
  ["r", "whole photo, normal brightness", "resetView"],
  ["l", "lighter", "lighter"],
  ["k", "darker", "darker"],
  ["g", "show or hide the guide", "guide"],
  ["?", "this list", "help"],
];
const OTHERS = [
  ["1 … 9, 0", "type of the selected box and the next one"],
  ["← → ↑ ↓", "move the selected box, or the photo if no box is selected"],
  ["Shift + arrows", "move a corner of the box"],
  ["Delete", "delete the box, or dismiss a proposal"],
  ["Z, Shift + Z", "undo, redo (also with Ctrl)"],
  ["Esc", "select no box"],
  ["Wheel, two fingers", "zoom"],
  ["Space or middle button + drag", "move the photo"],
];
const ALIASES = { "=": "+", "/": "t" };

// `acts` has a function for each act of the table, and setType(key), nudge, remove, undo, redo, escape, space.
export class Keys {
  constructor(acts) {
    this.acts = acts;
    $("shortcuts").checked = preferences.get("keys", "on") === "on";
    $("shortcuts").addEventListener("change", (event) => preferences.set("keys", event.target.checked ? "on" : "off"));
    const lines = [...TABLE, ...OTHERS].map(([key, words]) =>
      element("div", {}, element("dt", {}, element("kbd", {}, key.length === 1 ? key.toUpperCase() : key)), element("dd", {}, words)),
    );
    $("keys").replaceChildren(...lines);
    document.addEventListener("keydown", (event) => this.#press(event));
    document.addEventListener("keyup", (event) => event.key === " " && acts.space(false));
    window.addEventListener("blur", () => acts.space(false));
  }

  #press(event) {
    const { target } = event;
    if (document.querySelector("dialog[open]") || target.closest("input:not([type=radio]), textarea, summary")) return;
    if (this.#act(event)) event.preventDefault();
  }

  // Do what the key says. Returns whether it says anything.
  #act({ key, target, shiftKey, ctrlKey, metaKey, altKey, repeat }) {
    const { acts } = this;
    const isControl = ctrlKey || metaKey;
    const letter = ALIASES[key] ?? (key.length === 1 ? key.toLowerCase() : key);
    const isSingle = !isControl && !altKey && $("shortcuts").checked;
    if (letter === "z" && (isControl || isSingle)) return acts[shiftKey ? "redo" : "undo"](), true;
    if (letter === "y" && isControl) return acts.redo(), true;
    if (isControl || altKey) return false;
    const isControlElement = target.closest("button, a, select");
    if (ARROWS[key]) return target.type !== "radio" && (acts.nudge(...ARROWS[key], shiftKey), true);
    if (key === "Delete" || key === "Backspace") return acts.remove(), true;
    if (key === "Escape") return acts.escape(), true;
    if (key === " ") return !isControlElement && target.type !== "radio" && (acts.space(true), true);
    if (key === "Enter") return !isControlElement && !repeat && (acts.save(), true);
    if (!isSingle) return false;
    if (/^[0-9]$/.test(key)) return acts.setType(key), true;
    const act = TABLE.find(([one]) => one === letter)?.[2];
    if (!act || (repeat && !act.startsWith("zoom"))) return false;
    return acts[act](), true;
  }
}
