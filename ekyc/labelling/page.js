// The labelling page: shows one photo and its boxes, and handles mouse, touch and keys.

import { Contract, Refused } from "./contract.js";

const COLOURS = ["#1d4ed8", "#b91c1c", "#047857", "#7e22ce", "#b45309", "#0e7490", "#be185d", "#4d7c0f", "#4338ca", "#9a3412"];
const COARSE_STEP = 10; // pixels of the photo
const RENEW_EVERY = 60_000; // ms; a photo that is not renewed goes to another worker
const LOOK_AGAIN = 2_000; // ms
// ms after the page's start. Earlier, Annotorious's own undo history throws at the first change: it merges changes that
// follow each other within 250 ms, and counts the page's start as a change.
const DRAWABLE_AFTER = 251;
const ALLOWED = new Set(["P", "OL", "UL", "LI", "STRONG", "EM", "B", "I", "BR", "H3", "H4", "CODE"]);

const { createImageAnnotator } = globalThis.Annotorious; // its script defines it; as a module it needs a bundler

const $ = (id) => document.getElementById(id);

let contract = null;
let job = null; // as the contract describes it
let turn = null; // the assignment on the page; `put` changes its picture, number and boxes together
let boxes = []; // {id, label, left, top, width, height} in pixels of the photo
let selected = null; // id of a box
let type = null; // label of the next box
let past = [];
let future = [];
let annotator = null; // null while no photo can be drawn on
let zoom = 1;
let isFine = false;
let isBusy = false;

// Begin

function begin() {
  const name = localStorage.getItem("labelling.worker");
  $("shortcuts").checked = localStorage.getItem("labelling.shortcuts") !== "off";
  if (!name) {
    $("name-dialog").showModal();
    return;
  }
  contract = new Contract(name);
  $("worker").textContent = name;
  attempt(chooseJob);
}

async function chooseJob() {
  const wanted = new URLSearchParams(location.search).get("job");
  if (wanted) {
    await openJob(await contract.job(wanted));
    return;
  }
  const jobs = await contract.jobs();
  if (jobs.length === 1) {
    await openJob(jobs[0]);
  } else if (jobs.length === 0) {
    tell("Nothing to label", "No labelling job waits for you now. This page looks again by itself.");
    setTimeout(() => attempt(chooseJob), LOOK_AGAIN);
  } else {
    tell("Choose a job", "Several labelling jobs wait.");
    $("jobs").replaceChildren(
      ...jobs.map((one) => {
        const choice = element("button", `${one.title} (${one.id}): ${one.progress.labelled} of ${one.progress.total} labelled`);
        choice.type = "button";
        choice.addEventListener("click", () => attempt(() => openJob(one)));
        return element("li", choice);
      }),
    );
  }
}

async function openJob(described) {
  job = described;
  history.replaceState(null, "", `?job=${encodeURIComponent(job.id)}`);
  $("title").textContent = job.title;
  $("short").replaceChildren(...harmless(job.instructions.short));
  $("full").replaceChildren(...harmless(job.instructions.full));
  $("type-list").replaceChildren(...job.labels.map(typeChoice));
  chooseType(job.labels[0]);
  showProgress();
  if (job.status === "Initializing") {
    tell("The job begins", "Its photos are being prepared.");
    setTimeout(() => attempt(chooseJob), LOOK_AGAIN / 4);
  } else if (job.status === "InProgress") {
    await takeNext();
  } else {
    showEnd();
  }
}

// Photos

async function takeNext() {
  const claimed = await contract.claim(job.id);
  if (claimed) {
    await show(claimed);
    return;
  }
  tell("Others have the last photos", "There is no photo for you now. The page shows the next free photo.");
  setTimeout(
    () =>
      attempt(async () => {
        if (turn) return;
        job = await contract.job(job.id);
        showProgress();
        await (job.status === "InProgress" && !isComplete() ? takeNext() : showEnd());
      }),
    LOOK_AGAIN,
  );
}

// Show another photo. Until it is loaded, the page keeps the previous photo behind a veil.
async function show(assignment) {
  veil("Loading the photo…");
  $("message").hidden = true;
  $("work").hidden = false;
  const image = new Image();
  image.alt = `Photo ${assignment.photo.number} of ${job.progress.total}, to be labelled`;
  image.draggable = false;
  image.src = contract.photoUrl(job.id, assignment.photo);
  const isLoaded = await image.decode().then(
    () => true,
    () => false,
  );
  await new Promise((done) => setTimeout(done, DRAWABLE_AFTER - performance.now()));
  put(assignment, isLoaded ? image : null);
}

// Change picture, number and boxes together. `image` is null for a photo that cannot be shown: it takes no boxes.
function put(assignment, image) {
  leavePhoto();
  turn = assignment;
  // In the order of `toBox`: unchanged boxes must compare as equal.
  boxes = turn.boxes.map((box) => ({ id: crypto.randomUUID?.() ?? String(Math.random()), ...box }));
  $("photo-title").textContent = `Photo ${turn.photo.number}`;
  if (image) putImage(image);
  else {
    const words = `Photo ${turn.photo.number} cannot be shown: load this page again, or choose “Cannot tell”.`;
    $("stage").replaceChildren(element("p", words));
    trouble(words);
  }
  draw();
}

function putImage(image) {
  const frame = element("div", image);
  frame.className = "frame";
  $("stage").replaceChildren(frame);
  fit(image);
  annotator = createImageAnnotator(image, { style: boxStyle });
  const surface = frame.querySelector("svg");
  surface.setAttribute("aria-hidden", "true"); // the list of boxes has the same content as text
  surface.removeAttribute("tabindex");
  new MutationObserver(() => {
    for (const handle of surface.querySelectorAll("[tabindex='0']")) handle.setAttribute("tabindex", "-1");
  }).observe(surface, { childList: true, subtree: true });
  const tags = element("div");
  tags.className = "tags";
  tags.setAttribute("aria-hidden", "true");
  annotator.element.append(tags);
  annotator.state.store.observe(placeTags);
  annotator.on("selectionChanged", () => {
    selected = annotator?.getSelected()[0]?.id ?? null; // the event can be late: another box may be selected
    showSelection();
  });
  // A press beside the selected box starts a new box, as without a selection. A box drawn beyond the photo's edge ends
  // when the button is released there.
  frame.addEventListener(
    "pointerdown",
    (event) => {
      if (!surface.contains(event.target) || event.target.closest(".selected")) return;
      if (annotator.getSelected().length > 0) annotator.cancelSelected();
      surface.setPointerCapture(event.pointerId);
    },
    true,
  );
}

// Draw the boxes in `boxes`.
function draw() {
  const chosen = selected;
  annotator?.setAnnotations(boxes.map(toAnnotation));
  annotator?.setSelected(chosen && boxes.some((box) => box.id === chosen) ? chosen : undefined);
  selected = boxes.some((box) => box.id === chosen) ? chosen : null;
  placeTags();
  $("boxes").replaceChildren(...(annotator ? boxes.map(boxLine) : []));
  $("no-boxes").hidden = !annotator || boxes.length > 0;
  for (const name of ["save", "none", "add"]) $(name).disabled = !annotator;
  $("undo").disabled = !annotator || past.length === 0;
  $("state").textContent = turn.answered ? (turn.draft ? "Changed, not saved yet" : "Saved") : turn.draft ? "Draft kept" : "New";
  $("state").dataset.kind = turn.answered && !turn.draft ? "saved" : turn.draft ? "draft" : "new";
  showSelection();
}

function showSelection() {
  for (const line of $("boxes").children) line.querySelector("button").setAttribute("aria-pressed", line.dataset.id === selected);
  const box = boxes.find((one) => one.id === selected);
  if (box) chooseType(box.label);
}

function placeTags() {
  if (!annotator) return;
  const scale = annotator.element.querySelector("img").clientWidth / turn.photo.width;
  annotator.element.querySelector(".tags").replaceChildren(
    ...annotator.getAnnotations().map((annotation) => {
      const { minX, minY } = annotation.target.selector.geometry.bounds;
      const label = labelOf(annotation.id);
      const tag = element("span", label);
      tag.style.left = `${Math.max(0, minX * scale)}px`;
      tag.style.top = `${Math.max(0, minY * scale - 22)}px`;
      tag.style.backgroundColor = colour(label);
      return tag;
    }),
  );
}

function fit(image) {
  const room = $("stage").getBoundingClientRect();
  const scale = Math.min((room.width - 26) / turn.photo.width, (room.height - 26) / turn.photo.height, 3) * zoom;
  image.style.width = `${Math.round(turn.photo.width * scale)}px`;
  image.style.height = `${Math.round(turn.photo.height * scale)}px`;
  $("zoom").textContent = `${Math.round(zoom * 100)} %`;
}

function zoomBy(factor) {
  if (!annotator) return;
  zoom = Math.min(8, Math.max(1, zoom * factor));
  fit($("stage").querySelector("img"));
  requestAnimationFrame(placeTags);
}

// Boxes

function toAnnotation(box) {
  const bounds = { minX: box.left, minY: box.top, maxX: box.left + box.width, maxY: box.top + box.height };
  const geometry = { x: box.left, y: box.top, w: box.width, h: box.height, bounds };
  return { id: box.id, bodies: [], target: { annotation: box.id, selector: { type: "RECTANGLE", geometry } } };
}

// The drawn box in whole pixels inside the photo, or null for a box that is too small to be intended.
function toBox(annotation) {
  const { x, y, w, h } = annotation.target.selector.geometry;
  const left = within(Math.round(x), 0, turn.photo.width);
  const top = within(Math.round(y), 0, turn.photo.height);
  const width = within(Math.round(x + w), 0, turn.photo.width) - left;
  const height = within(Math.round(y + h), 0, turn.photo.height) - top;
  return width < 3 || height < 3 ? null : { id: annotation.id, label: labelOf(annotation.id), left, top, width, height };
}

function takeFromMouse() {
  if (!annotator || isBusy) return;
  const drawn = annotator.getAnnotations().map(toBox).filter(Boolean);
  const order = new Map(boxes.map((box, place) => [box.id, place]));
  drawn.sort((one, other) => (order.get(one.id) ?? Infinity) - (order.get(other.id) ?? Infinity));
  if (JSON.stringify(drawn) === JSON.stringify(boxes)) return;
  // Keep the drawn or changed box selected: Annotorious treats the end of a quick drag as a click beside the box.
  const isSame = (box) => JSON.stringify(box) === JSON.stringify(boxes[order.get(box.id)]);
  change(drawn, drawn.find((box) => !isSame(box))?.id ?? null);
}

// Replace the boxes with `changed`, record an undo step, and save the draft on the server.
function change(changed, chosen = selected) {
  if (isBusy) return;
  past.push(boxes);
  future = [];
  become(changed, chosen);
}

function become(changed, chosen = selected) {
  [boxes, selected] = [changed, chosen];
  turn.draft = true;
  draw();
  keep();
}

function undo(from, to) {
  if (from.length === 0 || !annotator || isBusy) return;
  to.push(boxes);
  become(from.pop());
  say("Undone.");
}

function add() {
  if (!annotator) return;
  const width = Math.round(turn.photo.width / 2);
  const height = Math.round(turn.photo.height / 2);
  const [left, top] = [Math.round(width / 2), Math.round(height / 2)];
  const box = { id: crypto.randomUUID?.() ?? String(Math.random()), label: type, left, top, width, height };
  change([...boxes, box], box.id);
  say(`Box ${boxes.length}, ${type}, in the middle.`);
}

function edit(edited) {
  const box = boxes.find((one) => one.id === selected);
  if (box) change(boxes.map((other) => (other === box ? { ...box, ...edited(box) } : other)));
}

function remove(id) {
  if (!boxes.some((box) => box.id === id)) return;
  change(boxes.filter((box) => box.id !== id), null);
  say("Box deleted.");
}

function nudge(right, down, isResize) {
  const step = isFine ? 1 : COARSE_STEP;
  const { width: wide, height: high } = turn.photo;
  edit((box) =>
    isResize
      ? {
          width: within(box.width + right * step, 3, wide - box.left),
          height: within(box.height + down * step, 3, high - box.top),
        }
      : { left: within(box.left + right * step, 0, wide - box.width), top: within(box.top + down * step, 0, high - box.height) },
  );
}

function setType(label) {
  chooseType(label);
  if (boxes.some((box) => box.id === selected && box.label !== label)) edit(() => ({ label }));
}

function selectNext() {
  if (boxes.length === 0 || !annotator) return;
  selected = boxes[(boxes.findIndex((box) => box.id === selected) + 1) % boxes.length].id;
  annotator.setSelected(selected);
  showSelection();
  say(inWords(boxes.find((box) => box.id === selected)));
}

// Saving

let draftSaved = Promise.resolve();
let isKeeping = false;
let isStale = false;

// Save the boxes on the server as a draft: one call at a time, the latest boxes last.
function keep() {
  isStale = true;
  if (isKeeping) return;
  isKeeping = true;
  draftSaved = (async () => {
    try {
      while (isStale && turn) {
        isStale = false;
        const [{ id }, drawn] = [turn, plain()]; // a retry must save to the photo with these boxes
        await persistently(() => contract.saveDraft(job.id, id, drawn));
      }
    } finally {
      isKeeping = false;
    }
  })();
  draftSaved.catch((error) => attempt(() => Promise.reject(error)));
}

// Wait for the last draft before the photo changes.
async function settle() {
  veil("Saving…");
  await draftSaved.catch(() => {});
  isStale = false;
}

async function finish(submitted) {
  const { id } = turn;
  await settle();
  job = await persistently(() => contract.submit(job.id, id, submitted));
  showProgress();
  await (isComplete() ? showEnd() : goOn());
}

function isComplete() {
  const { labelled, failed, total } = job.progress;
  return labelled + failed === total;
}

// The worker's next photo after this one, or a new photo.
async function goOn() {
  veil("Loading the photo…");
  const all = await contract.assignments(job.id);
  const following = all[all.findIndex((one) => one.id === turn.id) + 1];
  await (following && turn.id !== following.id && all.some((one) => one.id === turn.id)
    ? show(await contract.assignment(job.id, following.id))
    : takeNext());
  say(`Photo ${turn?.photo.number ?? ""}.`);
}

async function goBack() {
  await settle();
  veil("Loading the photo…");
  const all = await contract.assignments(job.id);
  const before = all[all.findIndex((one) => one.id === turn.id) - 1];
  if (before) await show(await contract.assignment(job.id, before.id));
  else say("This is your first photo.");
}

const acts = {
  save: () => {
    if (!annotator) return;
    if (boxes.length > 0) return finish(plain());
    trouble("Draw a box around the document, or choose “No document here”.");
  },
  none: () => annotator && finish([]),
  decline: async () => {
    await settle();
    job = await contract.decline(job.id, turn.id);
    showProgress();
    await (isComplete() ? showEnd() : takeNext());
  },
  previous: goBack,
  next: async () => {
    if (!turn.answered) return acts.save();
    await settle();
    return goOn();
  },
};

// Run one action at a time, ignore drawing and keys meanwhile, and show errors.
async function attempt(work) {
  if (isBusy) return;
  isBusy = true;
  const focused = document.activeElement;
  trouble("");
  try {
    await work();
  } catch (error) {
    await handle(error);
  } finally {
    unveil();
    if ($("work").contains(focused) && document.activeElement === document.body) focused.focus({ preventScroll: true });
    isBusy = false;
    takeFromMouse(); // a drag that ended meanwhile, on the same photo
  }
}

async function handle(error) {
  if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error;
  if (error.status === 410) {
    job = await contract.job(job.id);
    showProgress();
    showEnd();
  } else {
    trouble(error instanceof Refused ? error.message : "The server cannot be reached. Load this page again in a moment.");
    if (error.status === 409) await takeNext();
  }
}

// Retry while the server cannot be reached. The boxes stay on the page.
async function persistently(call) {
  for (;;) {
    try {
      const answer = await call();
      trouble("");
      return answer;
    } catch (error) {
      if (error instanceof Refused) throw error;
      trouble("Not saved: the server cannot be reached. Keep this page open, it tries again.");
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
  }
}

function plain() {
  return boxes.map(({ label, left, top, width, height }) => ({ label, left, top, width, height }));
}

// Status and messages

function showProgress() {
  const { labelled, failed, total, mine } = job.progress;
  $("progress").hidden = false;
  $("counted").textContent = `${labelled} of ${total} labelled${failed ? `, ${failed} without an answer` : ""}`;
  $("bar").max = total || 1;
  $("bar").value = labelled + failed;
  $("mine").textContent = `${mine} by you`;
}

function showEnd() {
  const words = {
    Stopped: ["The job was stopped", "The labels so far are saved."],
    Stopping: ["The job was stopped", "The labels so far are saved."],
    Failed: ["The job failed", "Ask the person who started it for the cause."],
  }[job.status] ?? ["All photos are labelled", "Thank you. The training goes on by itself; you can close this page."];
  tell(...words);
}

function leavePhoto() {
  annotator?.destroy();
  annotator = null;
  [turn, boxes, past, future, selected, zoom] = [null, [], [], [], null, 1];
  for (const name of ["stage", "boxes", "photo-title", "state"]) $(name).replaceChildren();
}

// Show what the page waits for, and block the photo meanwhile.
function veil(text) {
  $("veil").textContent = text;
  $("veil").hidden = false;
  $("work").inert = true;
  say(text);
}

function unveil() {
  $("veil").hidden = true;
  $("work").inert = false;
}

function tell(title, text) {
  leavePhoto();
  $("work").hidden = true;
  $("message").hidden = false;
  $("message-title").textContent = title;
  $("message-text").textContent = text;
  $("jobs").replaceChildren();
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

function say(text) {
  $("said").textContent = text;
}

function inWords(box) {
  return `Box ${boxes.indexOf(box) + 1}: ${box.label} ${box.width} × ${box.height} at ${box.left}, ${box.top}`;
}

function boxLine(box) {
  const number = unseen(`Box ${boxes.indexOf(box) + 1}: `);
  const size = element("small", ` ${box.width} × ${box.height}`);
  const choice = element("button", number, swatch(box.label), element("span", box.label), size, unseen(` at ${box.left}, ${box.top}`));
  choice.type = "button";
  choice.addEventListener("click", () => {
    annotator.setSelected(box.id);
    selected = box.id;
    showSelection();
  });
  const gone = element("button", "×");
  gone.type = "button";
  gone.className = "small";
  gone.setAttribute("aria-label", `Delete box ${boxes.indexOf(box) + 1}`);
  gone.addEventListener("click", () => remove(box.id));
  const line = element("li", choice, gone);
  line.dataset.id = box.id;
  return line;
}

function typeChoice(label, place) {
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: "type", value: label });
  radio.addEventListener("change", () => setType(label));
  const key = element("kbd", place < 9 ? String(place + 1) : "");
  key.setAttribute("aria-hidden", "true");
  return element("label", radio, swatch(label), element("span", label), key);
}

function chooseType(label) {
  type = label;
  for (const radio of $("type-list").querySelectorAll("input")) radio.checked = radio.value === label;
}

function unseen(text) {
  const node = element("span", text);
  node.className = "unseen";
  return node;
}

function swatch(label) {
  const mark = element("i");
  mark.style.backgroundColor = colour(label);
  return mark;
}

function boxStyle(annotation, state) {
  const stroke = colour(labelOf(annotation.id));
  return { fill: stroke, fillOpacity: state?.selected ? 0.12 : 0.2, stroke, strokeWidth: state?.selected ? 3 : 2 };
}

function labelOf(id) {
  return boxes.find((box) => box.id === id)?.label ?? type;
}

function colour(label) {
  return COLOURS[Math.max(0, job.labels.indexOf(label)) % COLOURS.length];
}

function within(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function element(name, ...content) {
  const node = document.createElement(name);
  node.append(...content);
  return node;
}

// Keep only plain text elements without attributes of the job's instructions: their HTML is not trusted.
function harmless(markup) {
  const copy = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return [document.createTextNode(node.data)];
    if (node.nodeType !== Node.ELEMENT_NODE || ["SCRIPT", "STYLE", "TEMPLATE"].includes(node.tagName)) return [];
    const inside = [...node.childNodes].flatMap(copy);
    return ALLOWED.has(node.tagName) ? [element(node.tagName, ...inside)] : inside;
  };
  return [...new DOMParser().parseFromString(markup, "text/html").body.childNodes].flatMap(copy);
}

// Mouse, fingers, keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  n: add,
  f: () => {
    isFine = !isFine;
    say(isFine ? "Fine steps of one pixel." : "Steps of ten pixels.");
  },
  b: selectNext,
  x: () => attempt(acts.none),
  d: () => attempt(acts.decline),
  p: () => attempt(acts.previous),
  o: () => attempt(acts.next),
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  "?": () => $("help-dialog").showModal(),
};

function onKey(event) {
  const { key, target } = event;
  if (isBusy) event.stopPropagation(); // Annotorious has its own keys
  if (!turn || isBusy || document.querySelector("dialog[open]") || target.closest("input[type=text], textarea, summary")) return;
  const isControl = event.ctrlKey || event.metaKey;
  const isSingle = !isControl && !event.altKey && $("shortcuts").checked;
  const done = () => event.preventDefault();
  if (key.toLowerCase() === "z" && (isControl || isSingle)) {
    event.shiftKey ? undo(future, past) : undo(past, future);
    event.stopPropagation(); // Annotorious has its own undo
  } else if (key.toLowerCase() === "y" && isControl) {
    undo(future, past);
    event.stopPropagation();
  } else if (isControl || event.altKey) return;
  else if (ARROWS[key] && selected && target.type !== "radio") nudge(...ARROWS[key], event.shiftKey);
  else if (key === "Delete" || key === "Backspace") remove(selected);
  else if (key === "Escape") annotator?.cancelSelected();
  else if (key === "Enter" && target.tagName !== "BUTTON") attempt(acts.save);
  else if (isSingle && /^[1-9]$/.test(key) && job.labels[key - 1]) setType(job.labels[key - 1]);
  else if (isSingle && KEYS[key.toLowerCase()]) KEYS[key.toLowerCase()]();
  else return;
  done();
}

document.addEventListener("keydown", onKey, true);
// In the capture phase, because Annotorious stops the event. The timeout lets Annotorious handle it first.
window.addEventListener("pointerup", () => setTimeout(takeFromMouse), true);
new ResizeObserver(() => zoomBy(1)).observe($("stage"));
window.addEventListener("beforeunload", (event) => {
  if (isStale) event.preventDefault();
});
setInterval(() => turn && !turn.answered && !document.hidden && !isBusy && keep(), RENEW_EVERY);

for (const name of ["save", "none", "decline", "previous", "next"]) $(name).addEventListener("click", () => attempt(acts[name]));
$("add").addEventListener("click", add);
$("undo").addEventListener("click", () => undo(past, future));
$("zoom-in").addEventListener("click", () => zoomBy(1.25));
$("zoom-out").addEventListener("click", () => zoomBy(0.8));
$("help").addEventListener("click", () => $("help-dialog").showModal());
$("show-full").addEventListener("click", () => $("full-dialog").showModal());
$("shortcuts").addEventListener("change", (event) => localStorage.setItem("labelling.shortcuts", event.target.checked ? "on" : "off"));
$("worker").addEventListener("click", () => {
  $("name").value = contract?.worker ?? "";
  $("name-dialog").showModal();
});
$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  localStorage.setItem("labelling.worker", name);
  $("name-dialog").close();
  location.reload();
});
for (const button of document.querySelectorAll("[data-closes]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

begin();
