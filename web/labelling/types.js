// The list of document types: a key for ten of them, and a search.
//
// With more than ten types, those that the person has used come first, in the order of their first use. So a type keeps
// its key.

import { $, element } from "./dom.js";

const KEYS = "1234567890";
// Dark enough for white text on them, and for a line on a light photo; a white halo shows them on a dark one.
const COLOURS = ["#1d4ed8", "#b91c1c", "#047857", "#7e22ce", "#b45309", "#0e7490", "#be185d", "#4d7c0f", "#4338ca", "#9a3412"];

export class TypeList {
  // `onChoose(type)` is called when the person chooses a type.
  constructor(types, store, onChoose) {
    Object.assign(this, { types, store, onChoose });
    this.used = store.get("types", []).filter((type) => types.includes(type));
    this.current = this.used.at(-1) ?? types[0];
    $("type-search").hidden = types.length <= KEYS.length;
    $("type-search").placeholder = `Search ${types.length} types`;
    $("type-search").value = "";
    $("type-search").oninput = () => this.#render();
    $("type-search").onkeydown = (event) => this.#onSearchKey(event);
    this.#render();
  }

  colour(type) {
    return COLOURS[Math.max(0, this.types.indexOf(type ?? this.current)) % COLOURS.length];
  }

  // Show the type of the next box, without a call of `onChoose`.
  show(type) {
    this.current = type;
    for (const radio of $("type-list").querySelectorAll("input")) radio.checked = radio.value === type;
    $("type-list").querySelector("label:has(:checked)")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // The type with this key, undefined if there is none.
  withKey(key) {
    return KEYS.includes(key) ? this.#order[KEYS.indexOf(key)] : undefined;
  }

  // The person has used the type for a box.
  use(type) {
    if (this.types.length <= KEYS.length || this.used.includes(type)) return;
    this.used.push(type);
    this.store.set("types", this.used);
    this.#render();
  }

  search() {
    if (!$("type-search").hidden) $("type-search").focus();
    else $("type-list").querySelector("input:checked")?.focus();
  }

  get #order() {
    if (this.types.length <= KEYS.length) return this.types;
    return [...this.used, ...this.types.filter((type) => !this.used.includes(type))];
  }

  #found() {
    const words = $("type-search").value.toLowerCase().split(/[\s_]+/).filter(Boolean);
    return this.#order.filter((type) => words.every((word) => type.toLowerCase().includes(word)));
  }

  #onSearchKey(event) {
    event.stopPropagation();
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    const [first] = event.key === "Enter" && event.target.value ? this.#found() : [];
    event.target.value = "";
    this.#render();
    $("stage").focus();
    if (first) this.onChoose(first);
  }

  #render() {
    const order = this.#order;
    const found = this.#found();
    $("type-list").replaceChildren(...found.map((type) => this.#choice(type, KEYS[order.indexOf(type)] ?? "")));
    $("no-types").hidden = found.length > 0;
    this.show(this.current);
  }

  #choice(type, key) {
    const radio = element("input", { type: "radio", name: "type", value: type });
    radio.addEventListener("change", () => this.onChoose(type));
    const hint = element("kbd", { ariaHidden: "true" }, key);
    return element("label", { title: type }, radio, this.swatch(type), element("span", {}, type), hint);
  }

  swatch(type) {
    const mark = element("i", { className: "swatch" });
    mark.style.backgroundColor = this.colour(type);
    return mark;
  }
}
