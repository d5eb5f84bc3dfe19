/** Keeps a cache up to date, at most once a second, and says whether its content may be used. */

import {checked, indexedDBCache} from "./cache.js";

/** @typedef {import("./cache.js").Cache} Cache */
/** @typedef {import("./cache.js").Saved} Saved */
/** @typedef {import("./entries.js").Change<any>} Change */
/** @typedef {import("./entries.js").Entries} Entries */

const INTERVAL = 1_000;

export class Keeper {
  /** @type {Map<string, any> | undefined} undefined: everything */
  #changed;
  /** @type {{position: string, reach: string, subject: string} | undefined} */
  #head;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Promise<void>} */
  writing = Promise.resolve();
  #gone = false;

  /**
   * @param {true | Cache} cache
   * @param {string} key
   * @param {number} maxAge in milliseconds
   */
  constructor(cache, key, maxAge) {
    this.cache = cache === true ? indexedDBCache() : cache;
    this.key = key;
    this.maxAge = maxAge;
    /** @type {Entries | undefined} */
    this.entries = undefined;
  }

  /**
   * The content of the cache, if it is this subject's, not too old, and not damaged.
   *
   * @param {string} subject
   * @returns {Promise<Saved | undefined>}
   */
  async load(subject) {
    if (!subject) return undefined;
    try {
      const found = await this.cache.load(this.key);
      if (!found) return undefined;
      const saved = checked(found);
      if (!saved) throw new TypeError("the cache is damaged");
      const ours = saved.subject === subject || saved.reach === subject;
      return ours && Date.now() - saved.at <= this.maxAge ? saved : undefined;
    } catch (error) {
      console.warn("hivewire: the cache is not used:", error);
      return undefined;
    }
  }

  /**
   * @param {Change[]} changes
   * @param {boolean} reset
   * @param {{position: string, reach: string, subject: string}} head
   * @param {Entries} entries
   */
  changed(changes, reset, head, entries) {
    if (this.#gone) return;
    this.entries = entries;
    if (reset) this.#changed = undefined;
    else if (!this.#head) this.#changed ??= new Map();
    for (const each of changes) this.#changed?.set(each.name, each.entry);
    this.#head = head;
    this.#timer ??= setTimeout(() => this.flush(), INTERVAL);
  }

  /** Write all changes since the last write. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const head = this.#head;
    const {entries} = this;
    if (!head || !entries || this.#gone) return this.writing;
    const changed = this.#changed;
    this.#changed = new Map();
    this.writing = this.writing
      .then(() => this.cache.save(this.key, {...head, at: Date.now()}, changed, () => entries.all()))
      .catch((error) => {
        this.#changed = undefined;
        console.warn("hivewire: the cache was not written:", error);
      });
    return this.writing;
  }

  /** Remove the content of the cache. */
  async delete() {
    this.#gone = true;
    clearTimeout(this.#timer);
    await this.writing;
    await this.cache.delete(this.key);
  }
}
