// The labelling page: signs the person in, opens a job, and connects keys and buttons with labelling or review.

import { $, ask, button, showTrouble } from "./dom.js";
import { Calls, Refused, Unreachable } from "./calls.js";
import { Editor } from "./editor.js";
import { hideToast, jobList, showGuide, showMessage, showProgress, showSaving, toggleGuide } from "./frame.js";
import { Keys } from "./keys.js";
import { Labelling } from "./label.js";
import { Outbox } from "./outbox.js";
import { Reviewing } from "./review.js";
import { SignedOut, SignIn } from "./sign-in.js";
import { Store } from "./store.js";
import { TypeList } from "./types.js";

const LOOK_AGAIN = 5_000; // ms
const REFRESH_EVERY = 20_000; // ms between looks at the progress of all people

const editor = new Editor();
let signIn = null;
let calls = null;
let session = null; // the open job
let view = null; // Labelling or Reviewing

// Sign-in

async function begin() {
  try {
    signIn ??= new SignIn(await Calls.configuration());
    if (await signIn.resume()) return await enter();
    if (!signIn.hasSignedOut) return await signIn.begin();
    showMessage("You are signed out", "Sign in to label photos.", button("Sign in", () => signIn.begin(), { className: "primary" }));
  } catch (error) {
    const again = signIn ? () => signIn.begin() : () => location.reload();
    const words = error instanceof Refused || error instanceof Unreachable ? error.message : "The sign-in did not succeed.";
    showMessage("The page cannot open", words, button("Try again", again, { className: "primary" }));
  }
}

async function enter() {
  calls = new Calls(signIn);
  $("person").textContent = $("person-name").textContent = signIn.person.name;
  $("person").hidden = false;
  await chooseJob(new URLSearchParams(location.search).get("job"));
}

// Jobs

let choosing = null;

async function chooseJob(wanted = null, isAsked = false) {
  clearTimeout(choosing);
  try {
    const jobs = await calls.jobs();
    showTrouble("");
    Store.forgetOthers(signIn.person.sub, jobs);
    const only = jobs.length === 1 && !isAsked ? jobs[0].id : null;
    const chosen = jobs.find((job) => job.id === wanted)?.id ?? only;
    if (chosen) return await openJob(chosen);
    showJobs(jobs, wanted);
  } catch (error) {
    if (error instanceof SignedOut) return signedOut();
    if (error instanceof Refused) return showMessage("Not possible", error.message, button("Try again", () => chooseJob(wanted)));
    if (!(error instanceof Unreachable)) throw error;
    showTrouble(`${error.message} The page tries again by itself.`);
  }
  choosing = setTimeout(() => chooseJob(null, isAsked), LOOK_AGAIN);
}

function showJobs(jobs, wanted) {
  history.replaceState(null, "", ".");
  const over = wanted ? `No photos of the job ${wanted} are labelled now. ` : "";
  if (jobs.length === 0) return showMessage("Nothing to label", `${over}No job waits for labels now. A new one appears here by itself.`);
  showMessage("Choose a job", `${over}These jobs wait for labels.`, jobList(jobs, (id) => openJob(id).catch(() => chooseJob())));
}

async function openJob(id, steal = false) {
  clearTimeout(choosing);
  if (!(await lock(`labelling/${signIn.person.sub}/${id}`, steal))) {
    showMessage(
      "This job is open in another tab",
      "Only one tab can label, so that no answer replaces another.",
      button("Continue in this tab", () => openJob(id, true), { className: "primary" }),
      button("Choose another job", () => chooseJob(null, true), { className: "quiet" }),
    );
    return;
  }
  const job = await calls.job(id);
  history.replaceState(null, "", `?job=${encodeURIComponent(id)}`);
  const store = new Store(signIn.person.sub, id);
  const types = new TypeList(job.documentTypes, store, (type) => view?.setType(type));
  const outbox = new Outbox(calls, id, store, {
    changed: showOutbox,
    sent: (entry) => entry.kind === "review" && refreshJob(),
    refused: (entry, error) => showTrouble(`Photo ${entry.place} was not saved: ${error.message}`),
    signedOut,
  });
  session = { calls, job, store, types, outbox, editor, trouble: showTrouble, signedOut, refused, leave, refreshJob, countOwn };
  editor.types = types;
  showGuide(job.guide);
  showOutbox();
  outbox.flush();
  refreshing = setInterval(() => document.hidden || refreshJob(), REFRESH_EVERY);
  await openView(job.own.isReviewer && job.phase === "review");
}

// Hold a lock while the job is open. False if another tab has it.
let unlock = () => {};

function lock(name, steal) {
  unlock();
  return new Promise((resolve) => {
    const hold = (granted) => granted && new Promise((done) => (unlock = done));
    navigator.locks
      .request(name, steal ? { steal } : { ifAvailable: true }, (granted) => {
        resolve(Boolean(granted));
        return hold(granted);
      })
      .catch(() => {
        closeJob();
        showMessage("You continue in another tab", "This tab saves nothing any more.", button("Use this tab", () => location.reload()));
      });
  });
}

let refreshing = null;

async function refreshJob() {
  if (!session) return;
  try {
    const { outbox } = session;
    const job = await calls.job(session.job.id);
    Object.assign(session.job, job, { own: { ...job.own, photos: job.own.photos + (view instanceof Labelling ? outbox.size : 0) } });
    showJob();
  } catch (error) {
    if (error instanceof Refused && session) refused(error);
  }
}

async function openView(isReview) {
  view?.stop();
  hideToast();
  view = isReview ? new Reviewing(session) : new Labelling(session);
  showJob();
  await view.start();
}

function showJob() {
  const { job } = session;
  const isReview = view instanceof Reviewing;
  showProgress(job.progress, job.own, isReview);
  $("mode").hidden = !job.own.isReviewer;
  $("mode").textContent = isReview ? "Label" : `Review${job.progress.toReview ? ` (${job.progress.toReview})` : ""}`;
  $("list").hidden = false;
  $("list").textContent = view.listTitle;
}

// Count an own answer at once. The next look at the job has the API's count.
function countOwn(more = 1) {
  const { own, progress, answersPerPhoto } = session.job;
  own.photos += more;
  if (answersPerPhoto === 1) progress.labelled = Math.min(progress.total, progress.labelled + more);
  showJob();
}

function closeJob() {
  clearInterval(refreshing);
  view?.stop();
  session?.outbox.stop();
  session = view = null;
  for (const id of ["progress", "saving", "mode", "list", "toast"]) $(id).hidden = true;
}

// Leave the job, after what is not sent yet.
async function leave() {
  if (session.outbox.size > 0 && !session.outbox.trouble) await session.outbox.emptied();
  closeJob();
  unlock();
  await chooseJob(null, true);
}

// What happens

function showOutbox() {
  if (!session) return;
  const { outbox } = session;
  showSaving(outbox.size, outbox.trouble);
  const isUnreachable = outbox.trouble instanceof Unreachable && outbox.size > 0;
  const count = outbox.size === 1 ? "1 answer" : `${outbox.size} answers`;
  if (isUnreachable) {
    wasUnreachable = true;
    showTrouble(`Not saved: ${count}. ${outbox.trouble.message} This browser keeps them and sends them by itself.`);
  } else if (wasUnreachable) {
    wasUnreachable = false;
    showTrouble("");
  }
}

let wasUnreachable = false;

function signedOut() {
  const words = session
    ? "Your sign-in has ended. Nothing is lost: this browser keeps your boxes and sends your answers after you sign in again."
    : "Your sign-in has ended.";
  showTrouble(words, button("Sign in again", () => signIn.begin(), { className: "small" }));
}

// The API refuses to go on: the job takes no more answers, or the person may not label.
function refused(error) {
  closeJob();
  unlock();
  showMessage("Labelling has ended here", error.message, button("Show the jobs", () => chooseJob(null, true), { className: "primary" }));
}

// Keys and buttons

const acts = {
  setType: (key) => {
    const type = editor.types?.withKey(key);
    if (type) view?.setType(type);
  },
  nudge: (...step) => editor.nudge(...step),
  remove: () => editor.remove(),
  redo: () => editor.redo(),
  escape: () => editor.stage.cancel() || editor.boxes?.select(null),
  space: (isDown) => (editor.stage.isSpace = isDown),
  zoomIn: () => editor.stage.zoomBy(1.25),
  zoomOut: () => editor.stage.zoomBy(0.8),
  lighter: () => editor.brighten(1),
  darker: () => editor.brighten(-1),
  search: () => editor.types?.search(),
  guide: toggleGuide,
  help: () => ask($("help-dialog")),
};
for (const name of ["add", "selectNext", "toggleCorner", "toggleFine", "resetView"]) acts[name] = () => editor[name]();
for (const name of ["save", "none", "skip", "previous", "next", "list", "copy", "undo"]) acts[name] = () => view?.[name]?.();

const BUTTONS = {
  save: "save", none: "none", skip: "skip", return: "skip", previous: "previous", list: "list", add: "add", copy: "copy",
  undo: "undo", redo: "redo", "zoom-in": "zoomIn", "zoom-out": "zoomOut", reset: "resetView", "guide-toggle": "guide", help: "help",
};
for (const [id, act] of Object.entries(BUTTONS)) $(id).addEventListener("click", () => acts[act]());
new Keys(acts);

$("mode").addEventListener("click", () => openView(!(view instanceof Reviewing)));
$("person").addEventListener("click", async () => {
  $("other-job").hidden = !session;
  const choice = await ask($("person-dialog"));
  if (choice === "jobs") await leave();
  if (choice !== "out") return;
  if (session?.outbox.size) await Promise.race([session.outbox.emptied(), new Promise((done) => setTimeout(done, 5_000))]);
  await signIn.end();
});
$("skip-dialog").addEventListener("keydown", ({ key }) => {
  const choice = $("skip-dialog").querySelectorAll("button")["123".indexOf(key)];
  if (choice && "123".includes(key)) choice.click();
});
// A click leaves the keys to the photo: otherwise Enter would press the clicked button again.
$("work").addEventListener("click", ({ target, detail }) => {
  if (detail > 0 && target.closest("button, label")) setTimeout(() => document.querySelector("dialog[open]") || $("stage").focus({ preventScroll: true }));
});
$("brightness").addEventListener("change", () => $("stage").focus({ preventScroll: true }));
window.addEventListener("pagehide", () => session?.outbox.sendBeforeClose());

begin();
