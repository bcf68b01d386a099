// What is around the photo: progress, whether all is saved, messages in place of the photo, and short notes with "Undo".

import { $, button, element, say } from "./dom.js";
import { preferences } from "./store.js";

const WIDE = matchMedia("(min-width: 1000px) and (min-height: 640px)");

// Show a message in place of the photo. `acts` are elements, such as buttons.
export function showMessage(title, text, ...acts) {
  $("work").hidden = true;
  $("message").hidden = false;
  $("message-title").textContent = title;
  $("message-text").textContent = text;
  $("message-acts").replaceChildren(...acts);
  say(`${title}. ${text}`);
}

export function showWork() {
  $("message").hidden = true;
  $("work").hidden = false;
}

export function jobList(jobs, onChoose) {
  const words = ({ total, labelled, toReview }) =>
    `${labelled} of ${total} labelled${toReview ? `, ${toReview} to review` : ""}`;
  return element("ul", { className: "jobs" }, ...jobs.map((job) =>
    element("li", {}, button(`${job.id}: ${words(job.progress)}`, () => onChoose(job.id)))));
}

// Block the photo while the page waits for `text`; "" shows the photo again.
export function veil(text) {
  $("veil").textContent = text;
  $("veil").hidden = !text;
  for (const part of [$("stage"), document.querySelector("aside"), document.querySelector(".actions")]) part.inert = Boolean(text);
}

export function showProgress({ total, labelled, toReview }, own, isReview) {
  $("progress").hidden = false;
  $("counted").textContent = isReview ? `${toReview} to review` : `${labelled} of ${total}`;
  $("bar").max = total || 1;
  $("bar").value = labelled;
  const pace = own.secondsPerPhoto ? `, ${Math.round(own.secondsPerPhoto)} s each` : "";
  $("pace").textContent = isReview ? "" : `${own.photos} by you${pace}`;
}

// Whether the answers are saved. `trouble` is null, or why they cannot be sent now.
export function showSaving(waiting, trouble) {
  $("saving").hidden = false;
  $("saving").dataset.kind = trouble && waiting ? "trouble" : waiting ? "busy" : "saved";
  $("saving").textContent = waiting === 0 ? "All saved" : trouble ? `Not saved: ${waiting}` : "Saving…";
}

let toastTimer = null;

// Show a short note for `time` ms, with a button that takes it back.
export function showToast(text, time, undo) {
  clearTimeout(toastTimer);
  $("toast").replaceChildren(element("span", {}, text), button("Undo", undo, { className: "small" }));
  $("toast").hidden = false;
  toastTimer = setTimeout(hideToast, time);
}

export function hideToast() {
  clearTimeout(toastTimer);
  $("toast").hidden = true;
}

export function showGuide(lines) {
  $("guide-lines").replaceChildren(...lines.map((line) => element("li", {}, line)));
  setGuide(preferences.get("guide", WIDE.matches ? "open" : "closed") === "open");
}

export function toggleGuide() {
  const isOpen = $("guide").hidden;
  preferences.set("guide", isOpen ? "open" : "closed");
  setGuide(isOpen);
}

function setGuide(isOpen) {
  $("guide").hidden = !isOpen;
  $("guide-toggle").ariaExpanded = String(isOpen);
}
