// The grid of the person's own photos, with their boxes: to go back to one, or to check all before the last save.

import { $, ask, element } from "./dom.js";
import { svg } from "./stage.js";

// Ask for a photo. `load()` gets the photos: {place, url, width, height, time, boxes, words}. `isLast`: the job ends with
// the answer that is being saved. Returns the photo's place, "finish", or "".
export async function choosePhoto({ title, text, load, isLast = false }) {
  $("list-title").textContent = title;
  $("list-finish").hidden = !isLast;
  $("list-text").textContent = "Loading…";
  $("own-photos").replaceChildren();
  const chosen = ask($("list-dialog"));
  load().then(
    (photos) => {
      $("list-text").textContent = photos.length ? text : "There is no photo yet.";
      $("own-photos").replaceChildren(...photos.map(line));
    },
    (error) => ($("list-text").textContent = `The photos cannot be shown. ${error.message}`),
  );
  const choice = await chosen;
  return choice === "finish" ? choice : Number(choice) || "";
}

function line({ place, url, width, height, time, boxes, words }) {
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const box of boxes) {
    drawing.append(svg("rect", { x: box.left, y: box.top, width: box.width, height: box.height, class: "thumb-box" }));
  }
  const picture = element("span", { className: "thumb" }, element("img", { src: url, alt: "", loading: "lazy" }), drawing);
  const when = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const caption = element("span", {}, `Photo ${place}: ${words}`);
  return element("li", {}, element("button", { value: String(place) }, picture, caption, element("small", {}, when)));
}
