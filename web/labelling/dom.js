// Short names for what the page does with its elements.

export const $ = (id) => document.getElementById(id);

// A new element with this content. Properties in the first object are set on it.
export function element(name, properties = {}, ...content) {
  const node = document.createElement(name);
  const { dataset = {}, ...rest } = properties;
  Object.assign(node, rest);
  Object.assign(node.dataset, dataset);
  node.append(...content);
  return node;
}

export function button(text, act, properties = {}) {
  const node = element("button", { type: "button", ...properties }, text);
  node.addEventListener("click", act);
  return node;
}

// Text for screen readers only.
export function unseen(text) {
  return element("span", { className: "unseen" }, text);
}

// Say something to a screen reader.
export function say(text) {
  $("said").textContent = text;
}

export function showTrouble(text, ...acts) {
  $("trouble").replaceChildren(...(text ? [element("span", {}, text), ...acts] : []));
  $("trouble").hidden = !text;
}

// Ask in a dialog. Returns the value of the button that closed it, "" if none did.
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
