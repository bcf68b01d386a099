// The photos that the person has leased: the one on the page and up to two more, whose pictures are loaded ahead.
//
// A photo is one object with its place, lease and picture. Nothing looks a photo up by its position in the queue, so an
// answer can only carry the lease of the photo on which its boxes were drawn.

const AHEAD = 3;

export class Queue {
  #filling = null;

  // `take(count)` leases photos. `keep(leases)` stores the leases, so that a reload gets the same photos.
  constructor({ take, renew, keep }) {
    Object.assign(this, { take, renew, keep });
    this.photos = [];
  }

  // Get the photos of these leases again, after a reload.
  async restore(leases) {
    if (leases.length === 0) return;
    const { tasks } = await this.renew(leases);
    const order = new Map(leases.map(({ place }, index) => [place, index]));
    this.#add(tasks.sort((one, other) => order.get(one.place) - order.get(other.place)));
  }

  // The first photo whose answer is not given, null if there is none now.
  async first() {
    if (this.photos.length === 0) await this.fill();
    return this.photos[0] ?? null;
  }

  // Lease photos until there are enough. One call at a time.
  fill() {
    this.#filling ??= this.#fill().finally(() => (this.#filling = null));
    return this.#filling;
  }

  async #fill() {
    const missing = AHEAD - this.photos.length;
    if (missing > 0) this.#add(await this.take(missing));
  }

  #add(tasks) {
    const known = new Set(this.photos.map((photo) => photo.place));
    this.photos.push(...tasks.filter((task) => !known.has(task.place)).map((task) => new Photo(task)));
    this.#changed();
  }

  remove(photo) {
    this.photos = this.photos.filter((one) => one !== photo);
    this.#changed();
  }

  // Put a photo before all others, because the person has taken its answer back.
  putBack(photo) {
    this.photos = [photo, ...this.photos.filter((one) => one.place !== photo.place)];
    this.#changed();
  }

  get leases() {
    return this.photos.map(({ place, task }) => ({ place, leaseId: task.leaseId }));
  }

  // The API has renewed leases: photos get new URLs. Returns the photos that are lost.
  renewed({ tasks, lost }) {
    for (const task of tasks) this.photos.find((photo) => photo.place === task.place)?.update(task);
    const gone = this.photos.filter((photo) => lost.includes(photo.place));
    this.photos = this.photos.filter((photo) => !gone.includes(photo));
    this.#changed();
    return gone;
  }

  #changed() {
    this.keep(this.leases);
  }
}

// A photo and its picture. `task` is as the API has it: a leased photo, a photo to review, or an own answer.
export class Photo {
  constructor(task) {
    this.task = task;
    this.place = task.place;
    this.#load();
  }

  get width() {
    return this.task.width;
  }

  get height() {
    return this.task.height;
  }

  update(task) {
    this.task = { ...this.task, ...task };
    if (this.hasFailed) this.#load();
  }

  #load() {
    this.hasFailed = false;
    const image = new Image();
    image.alt = "";
    image.src = this.task.url;
    this.picture = image.decode().then(
      () => image,
      () => {
        this.hasFailed = true;
        return null;
      },
    );
  }
}
