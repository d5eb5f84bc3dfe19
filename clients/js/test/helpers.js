/** How cases are written: in each a client of one world is tried, and what it does is compared. */

/**
 * @typedef {object} Case
 * @property {string} key the row of `tests/clients/cases.md`, for those that every client has
 * @property {string} name
 * @property {(world: any, runtime: {cache: () => any}) => Promise<void>} run
 * @property {"real" | "fake" | undefined} only the other gateway does not have it
 * @property {boolean | undefined} http of an API that pages of other origins cannot use
 */

/** @type {Case[]} */
export const cases = [];

export const it = (key, name, run, where = {}) => cases.push({key, name, run, ...where});

export function equal(found, expected) {
  const [a, b] = [found, expected].map((each) => JSON.stringify(each));
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

export async function rejects(promise, kind) {
  const error = await promise.then(() => undefined, (error) => error);
  if (!(error instanceof kind)) throw new Error(`it was not rejected with ${kind.name}, but ${error}`);
  return error;
}

/** The value of the next event of a kind that fits. */
export async function next(events, fits) {
  for (;;) {
    const {value, done} = await events.next();
    if (done) throw new Error("the events ended");
    if (fits(value)) return value;
  }
}

export const values = (hw) => Object.fromEntries([...hw.names()].sort().map((name) => [name, hw.get(name).value]));

/** Wait until something is so; looked at after every message. */
export const until = (hw, so) => new Promise((resolve) => {
  const offs = ["push", "state", "changes", "reset"].map((type) => hw.on(type, look));
  const timer = setInterval(look, 50);
  function look() {
    if (!so()) return;
    clearInterval(timer);
    offs.forEach((off) => off());
    resolve();
  }
  look();
});

export const live = (hw) => until(hw, () => hw.state === "live");

/** A WebSocket that notes where it was connected to, and what was sent. */
export function noted(WebSocket) {
  const notes = {hosts: [], sent: [], times: []};
  class Noted extends WebSocket {
    constructor(url) {
      super(url);
      notes.hosts.push(new URL(url).host);
      notes.times.push(Date.now());
    }

    send(text) {
      notes.sent.push(JSON.parse(text).action);
      super.send(text);
    }
  }
  return [Noted, notes];
}
