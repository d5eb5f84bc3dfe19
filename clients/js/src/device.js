/// <reference lib="esnext.disposable" preserve="true" />
/** A device: it follows its effective configurations, and reports which it has applied (fleet.md, 4 and 5). */

import {Busy, Stopped, Unavailable, Uncertain} from "./errors.js";
import {Queue} from "./watch.js";

/** @typedef {import("./hivewire.js").Hivewire} Hivewire */

/**
 * A configuration that a device should have from now on. Answer it once, at any time: one without an answer is
 * `pending`, and comes again after a restart.
 *
 * @typedef {object} Configuration
 * @property {string} name
 * @property {string | null} value null when it is gone, binary or long
 * @property {string | null} tag identifies the content; null: gone
 * @property {boolean} gone the device should not have it any more
 * @property {string} [contentType] when it is not plain text
 * @property {number} [size] in bytes, when it is not plain text
 * @property {boolean} [secret]
 * @property {() => void} applied call it when the device has it
 * @property {(why: string, value?: string) => void} refused call it with the reason, in up to 256 characters, and the
 *   value that the device has instead
 */

/**
 * What a device stores for a name: the last tag that it got, and its answer; a value without an error is a local one.
 *
 * @typedef {{name: string, tag?: string | null, error?: string, value?: string}} Row
 */

/** @typedef {{position?: string, names?: string[], have: Row[]}} Kept plain JSON */

/**
 * A store for the position and the answers of devices, so that they can resume after a restart.
 *
 * @typedef {object} DeviceCache
 * @property {(deviceId: string) => Promise<Kept | undefined>} load
 * @property {(deviceId: string, kept: Kept) => Promise<void>} save must be atomic, also in a crash
 */

/** The most names and bytes of a report, and how many reports a gateway stores for a device. */
const [MOST_NAMES, MOST_BYTES, REPORTS] = [256, 32 << 10, 8];

/** A cache that stores nothing. @type {DeviceCache} */
export const MEMORY = {load: async () => undefined, save: async () => {}};

const MOST_VALUE = 1_024;
const MOST_ERROR = 256;
/** Longest time between reports of a device that has much to apply, in milliseconds. */
const LATEST = 1_000;

export class Device {
  #hw;
  #cache;
  /** @type {Promise<void> | undefined} */
  #loading;
  /** @type {Map<string, Row>} */
  #have = new Map();
  /** @type {Map<string, Configuration | undefined>} the unread configuration of each name; undefined: none any more */
  #unread = new Map();
  /** @type {Map<string, Configuration>} configurations that were read, and are not answered */
  #open = new Map();
  /** @type {Queue<string> | undefined} the names of `#unread` while `configuration` is iterated */
  #queue;
  /** @type {string[] | undefined} */
  #names;
  /** @type {string | undefined} the position up to which everything was pushed */
  #reached;
  /** @type {string | undefined} the position up to which everything was answered */
  #position;
  #unsaved = false;
  /** @type {Set<string>} names whose answers are not reported yet */
  #news = new Set();
  #complete = false;
  /** @type {Promise<void> | undefined} */
  #reporting;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {unknown} */
  #error;

  /** @param {Hivewire} hw with a token of the device @param {string} deviceId @param {DeviceCache} cache */
  constructor(hw, deviceId, cache) {
    this.#hw = hw;
    this.#cache = cache;
    this.deviceId = deviceId;
  }

  /**
   * The configurations that the device should have: first those that it does not have yet, then every change, over all
   * connections. Only the latest value of each name is returned: values that were replaced before they were read are
   * left out.
   *
   * @param {{names?: string[], signal?: AbortSignal}} [options] `names`: patterns; everything when absent
   * @returns {AsyncGenerator<Configuration, void, undefined>} ends by the signal, by `break`, and when the client is
   *   closed; throws when the gateway refuses the subscription or a report
   */
  async *configuration({names, signal} = {}) {
    if (this.#queue) throw new TypeError(`the configuration of ${this.deviceId} is being read already`);
    /** @type {Queue<string>} */
    const queue = (this.#queue = new Queue());
    /** @type {(() => void)[]} */
    const ends = [];
    try {
      await this.#load();
      if (String(this.#names) !== String(names)) this.#position = undefined;
      this.#names = names;
      this.#reached = this.#position;
      this.#open.clear();
      this.#error = undefined;
      const members = {deviceId: this.deviceId, names, since: this.#position};
      const fail = (/** @type {Error} */ error) => queue.finish(error);
      ends.push(this.#hw.follow("configuration/subscribe", members, (group) => this.#take(group), fail));
      const look = () => this.#hw.state === "closed" && queue.finish();
      ends.push(this.#hw.on("state", look));
      look();
      for await (const name of queue.read(signal, () => {})) {
        const change = this.#unread.get(name);
        this.#unread.delete(name);
        if (change) {
          this.#open.set(name, change);
          yield change;
        } else this.#settle();
      }
    } finally {
      for (const end of ends) end();
      this.#unread.clear();
      this.#reached = this.#position;  // configurations that were not read or not answered come again
      this.#queue = undefined;
    }
  }

  /**
   * Report a value that only the device has, or that was changed there. The gateway's values do not change.
   *
   * @param {Record<string, string | null>} values up to 1,024 characters each; null: the device has none
   * @returns {Promise<void>} once it is reported. Rejects as `flush` does, and with TypeError for an invalid value
   */
  async report(values) {
    for (const [name, value] of Object.entries(values)) {
      if (value === null || (typeof value === "string" && value.length <= MOST_VALUE)) continue;
      throw new TypeError(`the value of '${name}' is not a string of at most ${MOST_VALUE} characters`);
    }
    await this.#load();
    for (const [name, value] of Object.entries(values)) {
      const tag = this.#have.get(name)?.tag;
      this.#keep(name, value === null ? undefined : {name, ...(tag && {tag}), value});
    }
    await this.flush();
  }

  /** Wait until all answers are stored and reported. @returns {Promise<void>} rejects when the gateway refuses a report */
  async flush() {
    await this.#publish();
    if (this.#error) throw this.#error;
  }

  [Symbol.asyncDispose]() {
    return this.flush();
  }

  #load() {
    this.#loading ??= this.#cache.load(this.deviceId).then((kept) => {
      if (!Array.isArray(kept?.have)) return;
      this.#position = kept.position;
      this.#names = kept.names;
      for (const row of kept.have) this.#have.set(row.name, row);
    });
    return this.#loading;
  }

  /** @param {import("./subscription.js").Group} group */
  #take({frames, reset, live}) {
    const seen = new Set();
    for (const {configurations = [], configuration, position} of frames) {
      for (const each of configuration ? [configuration] : configurations) {
        seen.add(each.name);
        this.#offer(each, configuration !== undefined);
      }
      this.#reached = position ?? this.#reached;
    }
    if (reset) {
      const known = [this.#have, this.#open, this.#unread].flatMap((all) => [...all.keys()]);
      for (const name of known) if (!seen.has(name)) this.#offer({name, value: null, tag: null}, false);
    }
    // The gateway writes reports to the disk a moment after it answers them, so each connection reports everything again.
    this.#complete ||= live;
    this.#settle();
  }

  /**
   * Let the program read a configuration, unless the device has it. A push with the tag that the device has already
   * asks it to apply the value again, if it has refused it or has a local value.
   *
   * @param {Record<string, any>} each
   * @param {boolean} pushed
   */
  #offer(each, pushed) {
    const {name, tag} = each;
    const [open, row] = [this.#open.get(name), this.#have.get(name)];
    const insists = pushed && !open && (row?.error ?? row?.value) !== undefined;
    if (((open ?? row)?.tag ?? null) === tag && !insists) {
      if (this.#unread.has(name)) this.#unread.set(name, undefined);
      return;
    }
    /** @type {Configuration} */
    const change = {
      .../** @type {any} */ (each),
      gone: tag === null,
      applied: () => this.#answer(change),
      refused: (why, value) => this.#answer(change, {error: why.slice(0, MOST_ERROR), ...(value !== undefined && {value})}),
    };
    if (!this.#unread.has(name)) this.#queue?.add(name);
    this.#unread.set(name, change);
  }

  /** @param {Configuration} change @param {Partial<Row>} [refusal] */
  #answer(change, refusal) {
    const {name, tag} = change;
    if (this.#open.get(name) !== change) return;  // it was answered or replaced already
    this.#open.delete(name);
    this.#keep(name, tag === null && !refusal ? undefined : {name, tag, ...refusal});
    this.#settle();
  }

  /** @param {string} name @param {Row | undefined} row */
  #keep(name, row) {
    if (row) this.#have.set(name, row);
    else this.#have.delete(name);
    this.#news.add(name);
    this.#unsaved = true;
  }

  /** Report when everything is read, or after a time; the position advances when everything is answered. */
  #settle() {
    if (!this.#unread.size && !this.#open.size && this.#position !== this.#reached) {
      this.#position = this.#reached;
      this.#unsaved = true;
    }
    if (this.#unread.size) this.#timer ??= setTimeout(() => this.#publish(), LATEST);
    else this.#publish();
  }

  /** Store and report new answers, one request at a time. */
  #publish() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#reporting ??= this.#work().catch((error) => {
      this.#error = error;
      this.#reporting = undefined;
      if (!(error instanceof Stopped)) this.#queue?.finish(error);
    });
    return this.#reporting;
  }

  async #work() {
    await this.#loading;
    while (this.#unsaved || this.#complete || this.#news.size) {
      await this.#save();
      if (this.#complete || this.#news.size) await this.#report();
    }
    this.#reporting = undefined;
  }

  async #save() {
    if (!this.#unsaved) return;
    this.#unsaved = false;
    const [position, names, have] = [this.#position, this.#names, [...this.#have.values()]];
    await this.#cache.save(this.deviceId, {...(position && {position}), ...(names && {names}), have});
  }

  /** Send the new answers. When the gateway is busy or cannot be reached, wait; newer answers then join the report. */
  async #report() {
    const complete = this.#complete;
    const names = [...(complete ? this.#have.keys() : this.#news)];
    this.#complete = false;
    this.#news.clear();
    try {
      let first = complete;
      for (const report of reports(names.map((name) => said(this.#have.get(name) ?? {name, tag: null})))) {
        await this.#hw.call("device/report", {deviceId: this.deviceId, report, complete: first}, {repeat: true});
        first = false;
      }
    } catch (error) {
      if (![Busy, Unavailable, Uncertain].some((kind) => error instanceof kind)) throw error;
      this.#complete ||= complete;
      for (const name of names) this.#news.add(name);
      const {retryAfter = 1} = /** @type {Busy} */ (error);
      await new Promise((resolve) => setTimeout(resolve, 1_000 * retryAfter));
    }
  }
}

/** Split entries into reports of the size that a gateway accepts. @param {Row[]} entries @returns {Row[][]} at least one */
function reports(entries) {
  /** @type {Row[][]} */
  const found = [[]];
  let bytes = 2;
  for (const entry of entries) {
    const more = new TextEncoder().encode(JSON.stringify(entry)).length + 1;
    const last = /** @type {Row[]} */ (found.at(-1));
    if (last.length < MOST_NAMES && bytes + more <= MOST_BYTES) {
      last.push(entry);
      bytes += more;
    } else {
      found.push([entry]);
      bytes = 2 + more;
    }
  }
  return found.slice(0, REPORTS);
}

/** @param {Row} row @returns {Row} the entry of a report; without a tag it is a local value */
function said({name, tag, error, value}) {
  if (error === undefined && value !== undefined) return {name, value};
  return {name, tag: tag ?? null, ...(error !== undefined && {error}), ...(value !== undefined && {value})};
}
