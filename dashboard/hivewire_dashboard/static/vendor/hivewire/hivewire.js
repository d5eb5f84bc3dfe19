/// <reference lib="esnext.disposable" preserve="true" />
/** The client: configurations in memory, and all requests to a gateway (dashboard-and-clients.md, 6). */

import {Addresses} from "./addresses.js";
import {text} from "./codecs.js";
import {Connection} from "./connection.js";
import {Credentials} from "./credentials.js";
import {change, decoded, Entries, entry} from "./entries.js";
import {NotReady, Stopped} from "./errors.js";
import {Subscription} from "./subscription.js";
import {Events, matcher} from "./watch.js";

/**
 * @template T
 * @typedef {import("./codecs.js").Codec<T>} Codec
 */
/**
 * @template T
 * @typedef {import("./entries.js").Entry<T>} Entry
 */
/**
 * @template T
 * @typedef {import("./entries.js").Change<T>} Change
 */
/** @typedef {import("./watch.js").Event} Event */
/** @typedef {import("./watch.js").State} State */
/** @typedef {import("./subscription.js").Group} Group */
/** @typedef {Record<string, any>} Reply */
/**
 * @typedef {object} CallOptions
 * @property {number} [timeout] milliseconds, 30,000 when absent
 * @property {AbortSignal} [signal]
 * @property {boolean} [repeat] send it again when the connection breaks; only for idempotent requests
 */

/**
 * @typedef {object} Options
 * @property {import("./credentials.js").TokenSource} [token] without one only requests that need no login are answered
 * @property {string[]} [names] what to keep in memory: exact names, or prefixes that end in `*`. When absent: all that
 *   the token reaches. When empty: nothing
 * @property {boolean | import("./cache.js").Cache} [cache] true: IndexedDB, in browsers. In Node `fileCache(path)`
 * @property {number} [maxAge] milliseconds after which the content of the cache is ignored
 * @property {boolean} [detail] also who changed each configuration last, and when
 * @property {number} [inline] leave out values of more characters than this
 * @property {typeof globalThis.WebSocket} [WebSocket] for versions of Node without one: that of the package `ws`
 * @property {(text: string) => any} [parse] parses the JSON of the gateway: for numbers that JSON.parse would round
 * @property {() => number} [random] for tests: in place of Math.random
 */

/**
 * @typedef {object} WriteOptions
 * @property {number} [expect] the version that must be the current one; ABSENT: the name must not exist
 * @property {number} [revision] the revision of the last change that must be the current one
 * @property {string} [description] why, for the history
 * @property {string} [layer] the layer to write into; without it plain configurations are written
 * @property {boolean} [dryRun] check the write, and write nothing
 */

/**
 * `ttl`: seconds after which it is deleted, unless it is written again; or `expires`, the time of that.
 *
 * @typedef {WriteOptions & {contentType?: string, check?: boolean, ttl?: number, expires?: Date | string}} PutOptions
 */

/** The version of a name that does not exist. */
export const ABSENT = 0;

export class Hivewire {
  /** @type {import("./watch.js").Event & {type: "state"}} */
  #status = {type: "state", state: "connecting", staleSince: undefined, reason: undefined};
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  /** @type {Map<object, (error?: Error) => void>} */
  #readers = new Map();
  /** @type {Set<() => void>} */
  #undo = new Set();
  #entries = new Entries((found) => this.#emit({type: "invalid", ...found}));
  /** @type {Subscription | undefined} */
  #subscription;
  #known = false;
  #recalled = false;
  #connection;
  #credentials;
  #addresses;
  /** @type {Promise<import("./keeper.js").Keeper> | undefined} loaded when it is used */
  #keeping;
  /** @type {import("./keeper.js").Keeper | undefined} */
  #keeper;

  /**
   * Connect to a gateway, or to one of several of the same ledger.
   *
   * @param {string | URL | (string | URL)[]} url such as `https://hivewire.example.com`
   * @param {Options} [options]
   */
  constructor(url, {token, names, cache, maxAge = Infinity, detail, inline, ...options} = {}) {
    const {WebSocket = globalThis.WebSocket, random = Math.random, parse = JSON.parse} = options;
    if (!WebSocket) throw new TypeError("this runtime has no WebSocket: give one as {WebSocket}");
    if (cache === true && !globalThis.indexedDB) throw new TypeError("this runtime has no IndexedDB: give a fileCache(path)");
    this.#addresses = new Addresses(Array.isArray(url) ? url : [url], random);
    if (token !== undefined) this.#credentials = new Credentials(token, this.#addresses);
    this.#connection = new Connection(
      {addresses: this.#addresses, credentials: this.#credentials, WebSocket, random, parse},
      {
        open: () => this.#opened(),
        lost: (reason) => this.#stale(reason),
        closed: (reason) => this.#closed(reason),
        push: (frame) => this.#emit(frame, "push"),
        login: (reach) => this.#recall(reach),
      },
    );
    if (names?.length !== 0) this.#follow({names, detail, inline});
    const key = JSON.stringify([this.#addresses.all, names]);
    if (cache) this.#keeping = import("./keeper.js").then(({Keeper}) => new Keeper(cache, key, maxAge));
    this.#attendPage();
    this.#start();
  }

  async #start() {
    this.#keeper = await this.#keeping;
    await this.#recall(this.#credentials?.subject ?? "");
    await this.#connection.run();
  }

  // The state.

  /** `connecting`, `stale`, `catching_up`, `live` or `closed`. @returns {State} */
  get state() {
    return this.#status.state;
  }

  /** The state, since when it is stale, and why: the last event of `on("state")`. */
  get status() {
    return this.#status;
  }

  /** The position that the configurations in memory have reached. */
  get position() {
    return this.#subscription?.position;
  }

  /**
   * A configuration, from memory: current while `live`, otherwise the last known. The default codec is `text()`.
   * With it, a value that the gateway leaves out because it is binary or long is null.
   *
   * @template [T=string]
   * @param {string} name
   * @param {Codec<T>} [as]
   * @returns {Entry<T> | undefined} undefined if there is none, or if it never decoded
   */
  get(name, as = /** @type {any} */ (TEXT)) {
    return this.#entries.get(name, as);
  }

  /** The names in memory. */
  names() {
    return this.#entries.names();
  }

  /**
   * Wait until values can be read: current ones, or those of the cache; with `{stale: false}` only current ones.
   *
   * @param {{timeout?: number, stale?: boolean}} [options] `timeout`: milliseconds, 10,000 when absent
   * @returns {Promise<State>} rejects with NotReady, or with the error that closed the client
   */
  ready({timeout = 10_000, stale = true} = {}) {
    return new Promise((resolve, reject) => {
      const finish = (/** @type {boolean} */ late) => {
        const {state, reason} = this.#status;
        if (state === "closed") reject(reason ?? new Stopped("the client is closed"));
        else if (state === "live" || (stale && this.#known)) resolve(state);
        else if (late) reject(new NotReady(`not ready in ${timeout} ms: ${state}${reason ? `, ${reason}` : ""}`));
        else return;
        clearTimeout(timer);
        off();
      };
      const timer = setTimeout(() => finish(true), timeout);
      const off = this.on("state", () => finish(false));
      finish(false);
    });
  }

  // Events.

  /**
   * Listen to events: `state`, `reset`, `changes`, `invalid`; `push` gets every push of the gateway unchanged.
   *
   * @template {Event["type"] | "push"} K
   * @param {K} type
   * @param {(event: K extends "push" ? Reply : Extract<Event, {type: K}>) => void} listener
   * @returns {() => void} stops it
   */
  on(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => void all.delete(listener);
  }

  /**
   * The events of some names: first a `reset` with the known values, if there are any, then the changes.
   *
   * @template [T=string]
   * @param {string | string[]} patterns exact names, or prefixes that end in `*`
   * @param {{signal?: AbortSignal, as?: Codec<T>}} [options]
   * @returns {AsyncGenerator<Event, void, undefined>} it ends by the signal, by `break`, and when the client is closed
   */
  watch(patterns, {signal, as = /** @type {any} */ (TEXT)} = {}) {
    const events = new Events();
    const plain = as === /** @type {Codec<any>} */ (TEXT);
    const matches = matcher(patterns);
    const offer = (/** @type {Event} */ event) => {
      if (event.type === "state") return events.offer(event);
      if (event.type === "invalid") return plain && matches(event.name) && events.offer(event);
      const changes = [];
      for (const each of event.changes) {
        if (!matches(each.name)) continue;
        try {
          changes.push(plain || !each.entry ? each : {...each, entry: decoded(each.entry, as)});
        } catch (error) {
          events.offer({type: "invalid", name: each.name, error: /** @type {Error} */ (error)});
        }
      }
      if (changes.length || event.type === "reset") events.offer({...event, changes});
    };
    if (this.#known) offer(this.#everything());
    const offs = /** @type {const} */ (["reset", "changes", "state", "invalid"]).map((type) => this.on(type, offer));
    this.#readers.set(events, () => events.finish());
    if (this.state === "closed") events.finish();
    return events.read(signal, () => {
      for (const off of offs) off();
      this.#readers.delete(events);
    });
  }

  /**
   * One value as a store: of Svelte, and of React's `useSyncExternalStore`.
   *
   * @template [T=string]
   * @param {string} name
   * @param {Codec<T>} [as]
   */
  store(name, as) {
    const get = () => this.get(name, as)?.value;
    return {
      get,
      /** @param {(value: T | undefined) => void} told called at once, and at each change @returns {() => void} */
      subscribe: (told) => {
        let last = get();
        const look = () => {
          const value = get();
          if (value === last) return;
          last = value;
          told(value);
        };
        const offs = [this.on("reset", look), this.on("changes", look)];
        told(last);
        return () => offs.forEach((off) => off());
      },
    };
  }

  // Requests.

  /**
   * Send any request; see api.md for all of them. It waits for a connection. When the connection breaks, a request that
   * only reads is sent again, and any other is rejected with Uncertain.
   *
   * @param {string} action such as `configuration/audit`
   * @param {object} [members]
   * @param {CallOptions} [options]
   * @returns {Promise<Reply>} rejects with a HivewireError
   */
  call(action, members = {}, options = {}) {
    return this.#connection.call(action, members, options);
  }

  /**
   * Follow any subscription over all connections: `device/subscribe`, or `configuration/subscribe` with other members.
   * Every group ends at a position; a push without a position is a group by itself.
   *
   * @param {string} action
   * @param {object} members
   * @param {(group: Group) => void} take
   * @param {(error: Error) => void} [fail] called when the subscription is refused; when absent the error is reported
   * @returns {() => void} stops it
   */
  follow(action, members, take, fail = report) {
    const subscription = new Subscription(action, members, guarded(take), fail);
    this.#connection.follow(subscription);
    return () => this.#connection.unfollow(subscription);
  }

  /**
   * @template [T=string]
   * @param {string} name
   * @param {T} value
   * @param {PutOptions & CallOptions & {as?: Codec<T>}} [options] `as` when the value is not a string, such as `json()`
   * @returns {Promise<Entry<T>>} the new configuration. Rejects with Conflict, Denied, Uncertain, ...
   */
  async put(name, value, {as, ...options} = {}) {
    const [members, how] = parts(options);
    const reply = await this.call("configuration/put", {...written(name, value, as), ...members}, how);
    return {...entry(reply.configuration, reply), value};
  }

  /** @param {string} name @param {WriteOptions & CallOptions} [options] @returns {Promise<number | undefined>} the revision */
  async delete(name, options = {}) {
    const [members, how] = parts(options);
    return (await this.call("configuration/delete", {name, ...members}, how)).revision;
  }

  /**
   * Write several configurations in one transaction: all or none.
   *
   * @param {(({put: string, value: any, as?: Codec<any>} | {delete: string}) & PutOptions)[]} changes 1 to 1,000
   * @param {string} [description] for each change that has none
   * @param {CallOptions & {dryRun?: boolean, at?: Date | string}} [options] `at`: check them now, and write them at this time
   * @returns {Promise<{revision: number | undefined, entries: Entry<string | null>[], schedule?: number}>} in the order of
   *   the changes; with `at` none, and the number for `schedule/cancel`
   */
  async transact(changes, description, options = {}) {
    const [members, how] = parts(options);
    const all = changes.map((each) => operation(each, description));
    const reply = await this.call("configuration/transact", {changes: all, ...members}, how);
    const {revision, schedule, configurations = []} = reply;
    return {revision, schedule, entries: configurations.map((/** @type {any} */ each) => entry(each, reply))};
  }

  /**
   * Write the content of an earlier version as a new one.
   *
   * @param {string} name
   * @param {({to: number} | {toRevision: number}) & WriteOptions & CallOptions} options
   * @returns {Promise<Entry<string | null>>}
   */
  async rollback(name, options) {
    const [members, how] = parts(options);
    const reply = await this.call("configuration/rollback", {name, ...members}, how);
    return entry(reply.configuration, reply);
  }

  /**
   * Read a configuration from the gateway: also one that is not in memory, or an earlier version.
   *
   * @template [T=string]
   * @param {string} name
   * @param {Codec<T>} [as]
   * @param {{layer?: string, version?: number, revision?: number, atLeast?: number, fresh?: boolean} & CallOptions} [options]
   * @returns {Promise<Entry<T>>} rejects with NotFound
   */
  async fetch(name, as = /** @type {any} */ (TEXT), {version, ...options} = {}) {
    const [members, how] = parts(options);
    const reply = await this.call("configuration/get", {name, ...members, entityVersion: version}, how);
    return decoded(entry(reply.configuration, reply), as);
  }

  /**
   * A page of configurations, sorted by name.
   *
   * @param {string[]} [names] patterns; all when absent
   * @param {{layer?: string, take?: number, skip?: number, after?: string, inline?: number, detail?: boolean} & CallOptions} [options]
   * @returns {Promise<{entries: Entry<string | null>[], count: number, revision: number}>} `count` of all pages
   */
  async list(names, options = {}) {
    const [members, how] = parts(options);
    const {configurations, changes, count, revision} = await this.call("configuration/list", {names, ...members}, how);
    const entries = changes?.map((/** @type {any} */ each) => entry(each.configuration, each)) ?? configurations.map(entry);
    return {entries, count, revision};
  }

  /**
   * The changes of a name, newest first, deletes included.
   *
   * @param {string} name
   * @param {{layer?: string, take?: number, before?: number} & CallOptions} [options] `before`: a revision
   * @returns {Promise<Change<string | null>[]>}
   */
  async history(name, options = {}) {
    const [members, how] = parts(options);
    const reply = await this.call("configuration/history", {name, ...members}, how);
    return reply.changes.map((/** @type {any} */ each) => change(each));
  }

  /**
   * Send a request over HTTP to the gateway of this connection, with its token: for contents of any size, and tenant
   * documents.
   *
   * @param {string} path such as `api/rest/configuration/logo/content`
   * @param {RequestInit} [init]
   * @returns {Promise<Response>} rejects with Refused unless the status is 200 to 299; without an answer with Unavailable,
   *   or Uncertain if the request may have been carried out
   */
  async http(path, init = {}) {
    const {request} = await import("./http.js");
    return request(() => this.#addresses.http(path), init, this.#credentials, (action, members) => this.call(action, members));
  }

  /** Close the connection. The configurations in memory can still be read. */
  close() {
    this.#connection.close();
  }

  /** Close, and remove all configurations from memory and from the cache. */
  async logout() {
    this.close();
    this.#entries.load([]);
    this.#known = false;
    await (await this.#keeping)?.delete();
  }

  async [Symbol.asyncDispose]() {
    this.close();
    await this.#keeper?.writing;
  }

  // Inside.

  /** @param {object} members */
  #follow(members) {
    const fail = (/** @type {Error} */ error) => this.#connection.close(error);
    const turn = (/** @type {boolean} */ live) => this.#turn(live);
    this.#subscription = new Subscription("configuration/subscribe", members, (group) => this.#take(group), fail, turn);
    this.#connection.follow(this.#subscription);
  }

  /** @param {Group} group */
  #take(group) {
    const changes = this.#entries.apply(group);
    this.#known = true;
    const {position = "", reach = ""} = this.#subscription ?? {};
    this.#keeper?.changed(changes, group.reset, {position, reach, subject: this.#credentials?.subject ?? ""}, this.#entries);
    if (group.reset) this.#emit({type: "reset", changes, position});
    else if (changes.length) this.#emit({type: "changes", changes, position, conflated: group.frames[0]?.conflated === true});
  }

  /** Load the cache, once the subject of the token is known. @param {string} subject */
  async #recall(subject) {
    if (this.#recalled || !subject || !this.#subscription) return;
    this.#recalled = true;
    const saved = await this.#keeper?.load(subject);
    if (!saved) return;
    this.#entries.load(saved.entries);
    this.#known = true;
    this.#subscription.position = saved.position;
    this.#subscription.reach = saved.reach;
    this.#set("stale", new Date(saved.at), undefined);
    this.#emit(this.#everything());
  }

  /** @returns {Event & {type: "reset"}} */
  #everything() {
    return {type: "reset", changes: this.#entries.state(), position: this.position ?? ""};
  }

  #opened() {
    if (this.#subscription) this.#set("catching_up", this.#status.staleSince, undefined);
    else this.#set("live", undefined, undefined);
  }

  /** @param {boolean} live */
  #turn(live) {
    if (live) this.#set("live", undefined, undefined);
    else this.#stale("the token is not accepted at present");
  }

  /** @param {string} reason */
  #stale(reason) {
    if (this.state === "closed") return;
    if (this.#known) this.#set("stale", this.#status.staleSince ?? new Date(), reason);
    else this.#set("connecting", undefined, reason);
  }

  /** @param {Error | undefined} reason */
  #closed(reason) {
    this.#set("closed", this.#known ? (this.#status.staleSince ?? new Date()) : undefined, reason);
    for (const undo of this.#undo) undo();
    for (const finish of this.#readers.values()) finish();
  }

  /** @param {State} state @param {Date | undefined} staleSince @param {Error | string | undefined} reason */
  #set(state, staleSince, reason) {
    const {state: before, reason: why} = this.#status;
    if (state === before && String(reason) === String(why)) return;
    if (before === "live") this.#keeper?.flush();
    this.#status = {type: "state", state, staleSince, reason};
    this.#emit(this.#status);
  }

  /** @param {any} event @param {string} [type] */
  #emit(event, type = event.type) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) guarded(listener)(event);
  }

  /** In a page: notice that the machine has slept, or that it has a network again. */
  #attendPage() {
    if (typeof document === "undefined") return;
    const wake = () => document.visibilityState === "visible" && this.#connection.wake();
    document.addEventListener("visibilitychange", wake);
    addEventListener("online", wake);
    this.#undo.add(() => {
      document.removeEventListener("visibilitychange", wake);
      removeEventListener("online", wake);
    });
  }
}

const TEXT = text();

/**
 * The members of a request, and how to send it.
 *
 * @param {any} options
 * @returns {[Record<string, any>, CallOptions]}
 */
function parts({timeout, signal, repeat, expect, ...members}) {
  return [{...members, entityVersion: expect}, {timeout, signal, repeat}];
}

/** @param {string} name @param {any} value @param {Codec<any> | undefined} as */
function written(name, value, as) {
  if (!as && typeof value !== "string") throw new TypeError("the value is not a string: give {as: json()}");
  return {name, value: as ? as.encode(value) : value, ...(as?.contentType && {contentType: as.contentType})};
}

/** @param {any} each @param {string | undefined} description */
function operation({put, delete: gone, value, as, expect, ...members}, description) {
  const what = put === undefined ? {name: gone} : written(put, value, as);
  return {operation: put === undefined ? "delete" : "put", ...what, description, ...members, entityVersion: expect};
}

/** Report what a listener throws, so that it does not stop the client. @param {(event: any) => void} listener */
function guarded(listener) {
  return (/** @type {any} */ event) => {
    try {
      listener(event);
    } catch (error) {
      report(error);
    }
  };
}

/** @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
