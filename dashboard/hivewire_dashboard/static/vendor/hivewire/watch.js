/** Events as async iterators; and the patterns of names. */

/** @typedef {import("./entries.js").Change<any>} Change */

/**
 * @typedef {{type: "reset", changes: Change[], position: string}} Reset the state was replaced: the differences, or
 *   everything at the beginning
 * @typedef {{type: "changes", changes: Change[], position: string, conflated: boolean}} Changes the changes of one
 *   transaction, or of several; conflated: changes in between were left out
 * @typedef {{type: "state", state: State, staleSince: Date | undefined, reason: Error | string | undefined}} StateChanged
 * @typedef {{type: "invalid", name: string, error: Error}} Invalid a value cannot be decoded: the last valid one stays
 * @typedef {"connecting" | "stale" | "catching_up" | "live" | "closed"} State
 * @typedef {Reset | Changes | StateChanged | Invalid} Event
 */

/** Unread changes above which a watcher gets only the last change of each name. */
export const MOST_UNREAD = 10_000;

/**
 * A function that says whether a name matches: exact names, or prefixes that end in `*`.
 *
 * @param {string | string[]} patterns
 * @returns {(name: string) => boolean}
 */
export function matcher(patterns) {
  const all = typeof patterns === "string" ? [patterns] : patterns;
  const exact = new Set(all.filter((each) => !each.endsWith("*")));
  const prefixes = all.filter((each) => each.endsWith("*")).map((each) => each.slice(0, -1));
  return (name) => exact.has(name) || prefixes.some((prefix) => name.startsWith(prefix));
}

/**
 * A queue that is read with `for await`. It ends by its signal, by `break`, and by `finish`.
 *
 * @template T
 */
export class Queue {
  /** @type {T[]} */
  waiting = [];
  /** @type {(() => void) | undefined} */
  #arrived = undefined;
  #finished = false;
  /** @type {Error | undefined} */
  #error = undefined;

  /** @param {T} item */
  add(item) {
    if (this.#finished) return;
    this.waiting.push(item);
    this.#arrived?.();
  }

  /** End the queue, or throw, after the waiting items are read. @param {Error} [error] */
  finish(error) {
    this.#finished = true;
    this.#error ??= error;
    this.#arrived?.();
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @param {() => void} done
   * @returns {AsyncGenerator<T, void, undefined>}
   */
  async *read(signal, done) {
    const abort = () => {
      this.waiting.length = 0;
      this.finish();
    };
    try {
      if (signal?.aborted) return;
      signal?.addEventListener("abort", abort, {once: true});
      for (;;) {
        while (this.waiting.length) yield /** @type {T} */ (this.waiting.shift());
        if (this.#finished) break;
        await /** @type {Promise<void>} */ (new Promise((resolve) => (this.#arrived = resolve)));
      }
      if (this.#error) throw this.#error;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#finished = true;
      done();
    }
  }
}

/**
 * The events of a watcher. Events that it has not read are kept up to MOST_UNREAD changes. Beyond that, only the last
 * change of each name is kept, in one event that is marked `conflated`.
 *
 * @extends {Queue<Event>}
 */
export class Events extends Queue {
  #unread = 0;
  #most = MOST_UNREAD;

  /** @param {Event} event */
  offer(event) {
    if (!this.waiting.length) {
      this.#unread = 0;
      this.#most = MOST_UNREAD;
    }
    this.add(event);
    this.#unread += "changes" in event ? event.changes.length : 1;
    if (this.#unread > this.#most) this.#conflate();
  }

  #conflate() {
    /** @type {Map<string, Change>} */
    const last = new Map();
    /** @type {Map<string, Event>} */
    const others = new Map();
    let reset = false;
    let position = "";
    for (const event of this.waiting) {
      if (!("changes" in event)) {
        others.set(event.type === "invalid" ? `invalid ${event.name}` : event.type, event);
        continue;
      }
      reset ||= event.type === "reset";
      position = event.position;
      for (const change of event.changes) {
        last.delete(change.name);
        last.set(change.name, change);
      }
    }
    this.waiting.length = 0;
    const changes = [...last.values()];
    this.waiting.push(
      reset ? {type: "reset", changes, position} : {type: "changes", changes, position, conflated: true},
      ...others.values(),
    );
    this.#unread = last.size + others.size;
    this.#most = MOST_UNREAD + this.#unread;
  }
}
