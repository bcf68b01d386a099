// Boxes in whole pixels of a photo, and the view: the part of the photo that is on the screen.

export const LEAST = 3; // pixels of the photo; a smaller box is not intended

export function within(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// The box between two corners, in whole pixels inside the photo. Null if it is too small.
export function between(one, other, photo) {
  const left = within(Math.round(Math.min(one.x, other.x)), 0, photo.width);
  const top = within(Math.round(Math.min(one.y, other.y)), 0, photo.height);
  const width = within(Math.round(Math.max(one.x, other.x)), 0, photo.width) - left;
  const height = within(Math.round(Math.max(one.y, other.y)), 0, photo.height) - top;
  return width < LEAST || height < LEAST ? null : { left, top, width, height };
}

// The box moved by pixels of the photo. It stays inside the photo.
export function moved(box, right, down, photo) {
  return {
    left: within(Math.round(box.left + right), 0, photo.width - box.width),
    top: within(Math.round(box.top + down), 0, photo.height - box.height),
    width: box.width,
    height: box.height,
  };
}

// The box with some of its sides ("n", "se", ...) moved by pixels of the photo.
export function resized(box, sides, right, down, photo) {
  let [left, top, end, bottom] = [box.left, box.top, box.left + box.width, box.top + box.height];
  if (sides.includes("w")) left = within(Math.round(left + right), 0, end - LEAST);
  if (sides.includes("e")) end = within(Math.round(end + right), left + LEAST, photo.width);
  if (sides.includes("n")) top = within(Math.round(top + down), 0, bottom - LEAST);
  if (sides.includes("s")) bottom = within(Math.round(bottom + down), top + LEAST, photo.height);
  return { left, top, width: end - left, height: bottom - top };
}

// The box at the same place of another photo, whose size may differ.
export function transferred(box, from, to) {
  const [across, down] = [to.width / from.width, to.height / from.height];
  return between(
    { x: box.left * across, y: box.top * down },
    { x: (box.left + box.width) * across, y: (box.top + box.height) * down },
    to,
  );
}

export function isIn(point, box) {
  return point.x >= box.left && point.x <= box.left + box.width && point.y >= box.top && point.y <= box.top + box.height;
}

export function isSame(one, other) {
  return ["type", "left", "top", "width", "height"].every((name) => one[name] === other[name]);
}

// Where a photo is on the screen: `scale` screen pixels for each of its pixels, its corner at `x`, `y`.
export class View {
  constructor(photo, room) {
    this.photo = photo;
    this.room = room;
    this.fit();
  }

  fit() {
    const { photo, room } = this;
    this.least = Math.max(0.01, Math.min((room.width - 24) / photo.width, (room.height - 24) / photo.height, 3));
    this.scale = this.least;
    this.x = (room.width - photo.width * this.scale) / 2;
    this.y = (room.height - photo.height * this.scale) / 2;
  }

  // The room on the screen has changed: keep the zoom and the middle.
  resize(room) {
    const zoom = this.zoom;
    const middle = this.toPhoto({ x: this.room.width / 2, y: this.room.height / 2 });
    this.room = room;
    this.fit();
    if (zoom <= 1.001) return;
    this.scale *= zoom;
    this.x = room.width / 2 - middle.x * this.scale;
    this.y = room.height / 2 - middle.y * this.scale;
    this.#keepVisible();
  }

  // How much larger the photo is than when it is shown as a whole.
  get zoom() {
    return this.scale / this.least;
  }

  zoomAt(point, factor) {
    const most = Math.max(this.least * 16, 8);
    const scale = within(this.scale * factor, this.least, most);
    this.x = point.x - ((point.x - this.x) * scale) / this.scale;
    this.y = point.y - ((point.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.#keepVisible();
  }

  zoomBy(factor) {
    this.zoomAt({ x: this.room.width / 2, y: this.room.height / 2 }, factor);
  }

  pan(right, down) {
    this.x += right;
    this.y += down;
    this.#keepVisible();
  }

  toPhoto(point) {
    return { x: (point.x - this.x) / this.scale, y: (point.y - this.y) / this.scale };
  }

  toScreen(box) {
    return {
      x: this.x + box.left * this.scale,
      y: this.y + box.top * this.scale,
      width: box.width * this.scale,
      height: box.height * this.scale,
    };
  }

  // The part of the photo that is visible, as a box.
  get visible() {
    const start = this.toPhoto({ x: 0, y: 0 });
    const end = this.toPhoto({ x: this.room.width, y: this.room.height });
    return between(start, end, this.photo) ?? { left: 0, top: 0, width: this.photo.width, height: this.photo.height };
  }

  #keepVisible() {
    const keep = (start, length, room) =>
      length <= room ? (room - length) / 2 : within(start, Math.min(room * 0.7, room - 60) - length, Math.max(room * 0.3, 60));
    this.x = keep(this.x, this.photo.width * this.scale, this.room.width);
    this.y = keep(this.y, this.photo.height * this.scale, this.room.height);
  }
}
