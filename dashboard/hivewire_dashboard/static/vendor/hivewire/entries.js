/** The configurations that a client follows, in memory: applied group by group, decoded at the first look. */

import {text} from "./codecs.js";

/**
 * @template T
 * @typedef {import("./codecs.js").Codec<T>} Codec
 */

/**
 * A configuration, as the codec sees its value. Author and time are there when a change brought it.
 *
 * @template T
 * @typedef {object} Entry
 * @property {string} name
 * @property {T} value
 * @property {number} version
 * @property {string | undefined} contentType undefined for plain text
 * @property {number | undefined} size in bytes, when the type is not plain text or the value was left out
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
 * @property {{name: string, value: string | null, entityVersion: number, contentType?: string, size?: number}} configuration
 */

/**
 * What happened to one name. The change says who, when and why, unless it was found by comparing two states.
 *
 * @template T
 * @typedef {object} Change
 * @property {string} name
 * @property {"put" | "delete"} operation
 * @property {Entry<T> | undefined} entry what is there now; undefined after a delete
 * @property {Entry<string | null> | undefined} previous what was there before, as text
 * @property {number | undefined} revision
 * @property {string | undefined} modified
 * @property {string | null | undefined} modifiedBy
 * @property {string | null | undefined} description
 */

/** @typedef {{name: string, error: Error}} Undecodable */

const TEXT = text();

/** @param {WireChange["configuration"]} found @param {Partial<WireChange>} [change] @returns {Entry<any>} */
export function entry({name, value, entityVersion, contentType, size}, change = {}) {
  const {revision, modified, modifiedBy, description} = change;
  return {name, value, version: entityVersion, contentType, size, revision, modified, modifiedBy, description};
}

/** @param {WireChange} found @param {Entry<any>} [previous] @returns {Change<any>} */
export function change(found, previous) {
  const {configuration, operation, revision, modified, modifiedBy, description} = found;
  const now = operation === "put" ? entry(configuration, found) : undefined;
  return {name: configuration.name, operation, entry: now, previous, revision, modified, modifiedBy, description};
}

/**
 * @template T
 * @param {Entry<string | null>} raw
 * @param {Codec<T>} as
 * @returns {Entry<T>}
 */
export function decoded(raw, as) {
  if (as === /** @type {Codec<any>} */ (TEXT)) return /** @type {any} */ (raw);
  if (raw.value === null) throw new TypeError("the gateway left out this value, because it is binary or long");
  return {...raw, value: as.decode(raw.value)};
}

/** One name: its entry, and what the codecs made of it. The first codec has its own place, because it is the usual one. */
class Record {
  /** @param {Entry<any>} raw */
  constructor(raw) {
    this.raw = raw;
    /** @type {Codec<any>} */
    this.as = TEXT;
    /** @type {Entry<any> | undefined} */
    this.view = raw;
    /** @type {Map<Codec<any>, Entry<any> | undefined> | undefined} */
    this.views = undefined;
  }
}

export class Entries {
  /** @type {Map<string, Record>} */
  #records = new Map();

  /** @param {(found: Undecodable) => void} invalid told of a value that does not decode */
  constructor(invalid) {
    this.invalid = invalid;
  }

  /** The names in the order in which they came. */
  names() {
    return this.#records.keys();
  }

  /** @returns {Generator<Entry<string | null>>} */
  *all() {
    for (const record of this.#records.values()) yield record.raw;
  }

  /**
   * @template T
   * @param {string} name
   * @param {Codec<T>} as
   * @returns {Entry<T> | undefined}
   */
  get(name, as) {
    const record = this.#records.get(name);
    if (record === undefined) return undefined;
    return record.as === as ? record.view : this.#view(record, as);
  }

  /**
   * @param {Record} record
   * @param {Codec<any>} as
   */
  #view(record, as) {
    if (as === TEXT) return record.raw;
    if (record.views?.has(as)) return record.views.get(as);
    const found = this.#decode(record, as, undefined);
    if (record.as === TEXT && found) {
      record.as = as;
      record.view = found;
    } else (record.views ??= new Map()).set(as, found);
    return found;
  }

  /**
   * @param {Record} record
   * @param {Codec<any>} as
   * @param {Entry<any> | undefined} last the last good one
   */
  #decode(record, as, last) {
    try {
      return decoded(record.raw, as);
    } catch (error) {
      this.invalid({name: record.raw.name, error: /** @type {Error} */ (error)});
      return last;
    }
  }

  /** What a group changes; a reset by comparing. @param {import("./subscription.js").Group} group @returns {Change<any>[]} */
  apply(group) {
    const before = this.#records;
    if (group.reset) this.#records = new Map();
    const changes = [];
    for (const frame of group.frames) {
      for (const each of frame.configurations ?? []) this.#set(entry(each), before);
      for (const each of frame.changes ?? []) this.#set(entry(each.configuration, each), before);
      if (frame.operation) changes.push(this.#take(/** @type {any} */ (frame), before));
    }
    return group.reset ? this.#difference(before) : changes;
  }

  /** @param {WireChange} found @param {Map<string, Record>} before */
  #take(found, before) {
    const {name} = found.configuration;
    const made = change(found, this.#records.get(name)?.raw);
    if (made.entry) this.#set(made.entry, before);
    else this.#records.delete(name);
    return made;
  }

  /**
   * What has been read with a codec is decoded at once: who reads it should hear of a value that does not decode.
   *
   * @param {Entry<any>} raw
   * @param {Map<string, Record>} before
   */
  #set(raw, before) {
    const record = new Record(raw);
    const last = this.#records.get(raw.name) ?? before.get(raw.name);
    this.#records.set(raw.name, record);
    if (!last || (last.as === TEXT && !last.views)) return;
    for (const [as, view] of last.views ?? []) (record.views ??= new Map()).set(as, this.#decode(record, as, view));
    if (last.as === TEXT) return;
    record.view = this.#decode(record, last.as, last.view);
    record.as = last.as;
  }

  /** @param {Map<string, Record>} before @returns {Change<any>[]} */
  #difference(before) {
    const changes = [];
    for (const [name, {raw}] of this.#records) {
      const previous = before.get(name)?.raw;
      if (!previous || previous.version !== raw.version || previous.value !== raw.value) changes.push(put(raw, previous));
    }
    for (const [name, {raw}] of before) if (!this.#records.has(name)) changes.push(gone(raw));
    return changes;
  }

  /** Everything, as changes to somebody who knows nothing. @returns {Change<any>[]} */
  state() {
    return [...this.all()].map((raw) => put(raw));
  }

  /** @param {Entry<string | null>[]} entries of a cache */
  load(entries) {
    this.#records = new Map(entries.map((raw) => [raw.name, new Record(raw)]));
  }
}

/** @param {Entry<any>} found @param {Entry<any>} [previous] @returns {Change<any>} */
function put(found, previous) {
  const {name, revision, modified, modifiedBy, description} = found;
  return {name, operation: "put", entry: found, previous, revision, modified, modifiedBy, description};
}

/** @param {Entry<any>} previous @returns {Change<any>} */
function gone(previous) {
  const nobody = {revision: undefined, modified: undefined, modifiedBy: undefined, description: undefined};
  return {name: previous.name, operation: "delete", entry: undefined, previous, ...nobody};
}
