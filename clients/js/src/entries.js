/** The configurations in the memory of a client: applied group by group, decoded when they are first read. */

import {text} from "./codecs.js";

/**
 * @template T
 * @typedef {import("./codecs.js").Codec<T>} Codec
 */

/**
 * A configuration with its decoded value. It has author and time if it came with a change.
 *
 * @template T
 * @typedef {object} Entry
 * @property {string} name
 * @property {T} value
 * @property {number} version
 * @property {string | undefined} contentType undefined for plain text
 * @property {number | undefined} size in bytes, when the type is not plain text or the value was left out
 * @property {boolean | undefined} secret whether the value is hidden, and so null
 * @property {number | undefined} revision of the change that made it
 * @property {string | undefined} modified in UTC, such as `2026-03-01T09:30:00.123`
 * @property {string | null | undefined} modifiedBy the login
 * @property {string | null | undefined} description
 */

/**
 * A change on the wire.
 *
 * @typedef {object} WireChange
 * @property {number} revision
 * @property {"put" | "delete"} operation
 * @property {string} modified
 * @property {string | null} modifiedBy
 * @property {string | null} description
 * @property {{name: string, value: string | null, entityVersion: number, contentType?: string, size?: number, secret?: boolean}} configuration
 */

/**
 * A change of one name. It has the author, time and reason, unless it was found by comparing two states.
 *
 * @template T
 * @typedef {object} Change
 * @property {string} name
 * @property {"put" | "delete"} operation
 * @property {Entry<T> | undefined} entry the configuration after it; undefined after a delete
 * @property {Entry<string | null> | undefined} previous the configuration before it, as text
 * @property {number | undefined} revision
 * @property {string | undefined} modified
 * @property {string | null | undefined} modifiedBy
 * @property {string | null | undefined} description
 */

/** @typedef {{name: string, error: Error}} Undecodable */

const TEXT = text();

/** @param {WireChange["configuration"]} found @param {Partial<WireChange>} [change] @returns {Entry<any>} */
export function entry({name, value, entityVersion, contentType, size, secret}, change = {}) {
  const {revision, modified, modifiedBy, description} = change;
  return {name, value, version: entityVersion, contentType, size, secret, revision, modified, modifiedBy, description};
}

/** @param {WireChange} found @param {Entry<any>} [previous] @returns {Change<any>} */
export function change(found, previous) {
  const {configuration, operation} = found;
  return happened(configuration.name, operation === "put" ? entry(configuration, found) : undefined, previous, found);
}

/**
 * @param {string} name
 * @param {Entry<any> | undefined} now
 * @param {Entry<any> | undefined} previous
 * @param {Partial<WireChange> | Entry<any>} [by] who, when and why
 * @returns {Change<any>}
 */
function happened(name, now, previous, {revision, modified, modifiedBy, description} = {}) {
  return {name, operation: now ? "put" : "delete", entry: now, previous, revision, modified, modifiedBy, description};
}

/**
 * @template T
 * @param {Entry<string | null>} raw
 * @param {Codec<T>} as
 * @returns {Entry<T>}
 */
export function decoded(raw, as) {
  if (as === /** @type {Codec<any>} */ (TEXT)) return /** @type {any} */ (raw);
  if (raw.value === null) throw new TypeError("the gateway left out this value, because it is binary, long or secret");
  return {...raw, value: as.decode(raw.value)};
}

/** Most codecs whose results are cached: a program that makes one for every `get` must not fill the memory. */
const MOST_CODECS = 100;

/** @typedef {Map<string, Entry<any> | undefined>} View entries by name; undefined for values that were never decoded */

export class Entries {
  /** @type {Map<string, Entry<any>>} */
  #raw = new Map();
  /** @type {Map<Codec<any>, View>} the cached results of each codec */
  #views = new Map();

  /** @param {(found: Undecodable) => void} invalid called for a value that cannot be decoded */
  constructor(invalid) {
    this.invalid = invalid;
  }

  /** The names, in the order in which they were received. */
  names() {
    return this.#raw.keys();
  }

  /** @returns {Iterable<Entry<string | null>>} */
  all() {
    return this.#raw.values();
  }

  /**
   * @template T
   * @param {string} name
   * @param {Codec<T>} as
   * @returns {Entry<T> | undefined}
   */
  get(name, as) {
    if (as === /** @type {Codec<any>} */ (TEXT)) return this.#raw.get(name);
    return this.#views.get(as)?.get(name) ?? this.#look(name, as);
  }

  /** Decode a configuration that this codec has not decoded yet. @param {string} name @param {Codec<any>} as */
  #look(name, as) {
    const raw = this.#raw.get(name);
    let view = this.#views.get(as);
    if (!raw || view?.has(name)) return undefined;
    if (!view) {
      for (const [oldest] of this.#views) if (this.#views.size >= MOST_CODECS) this.#views.delete(oldest);
      this.#views.set(as, (view = new Map()));
    }
    this.#decode(raw, as, view);
    return view.get(name);
  }

  /** Decode a value; if that fails, the last valid one stays. @param {Entry<any>} raw @param {Codec<any>} as @param {View} view */
  #decode(raw, as, view) {
    const {name} = raw;
    try {
      view.set(name, decoded(raw, as));
    } catch (error) {
      if (!view.has(name)) view.set(name, undefined);
      this.invalid({name, error: /** @type {Error} */ (error)});
    }
  }

  /** Apply a group. @param {import("./subscription.js").Group} group @returns {Change<any>[]} for a reset the differences */
  apply({frames, reset}) {
    const before = this.#raw;
    if (reset) this.#raw = new Map();
    const changes = [];
    for (const frame of frames) {
      for (const each of frame.configurations ?? []) this.#set(entry(each));
      for (const each of frame.changes ?? []) this.#set(entry(each.configuration, each));
      if (!frame.operation) continue;
      const {name} = frame.configuration;
      const found = change(/** @type {any} */ (frame), this.#raw.get(name));
      changes.push(found);
      if (found.entry) this.#set(found.entry);
      else this.#delete(name);
    }
    return reset ? this.#difference(before) : changes;
  }

  /** Decode at once what was read before, so that an invalid value is noticed. @param {Entry<any>} raw */
  #set(raw) {
    this.#raw.set(raw.name, raw);
    for (const [as, view] of this.#views) if (view.has(raw.name)) this.#decode(raw, as, view);
  }

  /** @param {string} name */
  #delete(name) {
    this.#raw.delete(name);
    for (const view of this.#views.values()) view.delete(name);
  }

  /** @param {Map<string, Entry<any>>} before @returns {Change<any>[]} */
  #difference(before) {
    const changes = [];
    for (const raw of this.all()) {
      const previous = before.get(raw.name);
      const same = previous?.version === raw.version && previous.value === raw.value;
      if (!same) changes.push(happened(raw.name, raw, previous, raw));
    }
    for (const [name, previous] of before) {
      if (this.#raw.has(name)) continue;
      this.#delete(name);
      changes.push(happened(name, undefined, previous));
    }
    return changes;
  }

  /** The whole state, as changes to an empty one. */
  state() {
    return [...this.all()].map((raw) => happened(raw.name, raw, undefined, raw));
  }

  /** @param {Entry<string | null>[]} entries of a cache */
  load(entries) {
    this.#raw = new Map(entries.map((raw) => [raw.name, raw]));
    this.#views.clear();
  }
}
