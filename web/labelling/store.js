// What the browser keeps for a person and a job, so that a closed page loses nothing: leases, drafts, answers that are not
// sent yet, the last box of each type, the order of the types. It has no photo, no name and no token.

const PREFIX = "labelling/";

export class Store {
  constructor(person, job) {
    this.prefix = `${PREFIX}${person}/${job}/`;
  }

  get(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(this.prefix + name)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  set(name, value) {
    try {
      localStorage.setItem(this.prefix + name, JSON.stringify(value));
    } catch {
      // The browser has no room or keeps nothing: the page works on, without what a reload would need.
    }
  }

  remove(name) {
    localStorage.removeItem(this.prefix + name);
  }

  // Forget jobs of this person that are not labelled any more.
  static forgetOthers(person, jobs) {
    const kept = jobs.map((job) => `${PREFIX}${person}/${job.id}/`);
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(`${PREFIX}${person}/`) && !kept.some((prefix) => key.startsWith(prefix))) localStorage.removeItem(key);
    }
  }
}

// Settings of this browser, for all people and jobs.
export const preferences = {
  get: (name, otherwise) => localStorage.getItem(`${PREFIX}setting/${name}`) ?? otherwise,
  set: (name, value) => localStorage.setItem(`${PREFIX}setting/${name}`, value),
};
