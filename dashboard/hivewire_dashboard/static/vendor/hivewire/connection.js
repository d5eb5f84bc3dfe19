/**
 * The connection to the gateways: it opens one socket after the other, logs in, and keeps requests and subscriptions
 * over all of them (dashboard-and-clients.md, 6).
 */

import {Addresses, backoff, IN_VAIN, told} from "./addresses.js";
import {Credentials, reach} from "./credentials.js";
import {Busy, HivewireError, LoginRequired, refusal, Refused, Stopped, Uncertain, unavailable} from "./errors.js";
import {Subscription} from "./subscription.js";

/** @typedef {Record<string, any>} Frame */

/**
 * A request that waits for its answer, or for a socket.
 *
 * @typedef {object} Pending
 * @property {number} id
 * @property {string} action
 * @property {object} members
 * @property {Promise<Frame>} answer
 * @property {(reply: Frame) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {number} deadline
 * @property {boolean} own whether the connection itself sends it, and for this socket only
 * @property {boolean} repeat whether it may be sent again, because it is idempotent
 * @property {boolean} sent
 * @property {boolean} lost whether it was sent on an earlier socket and may have been carried out
 * @property {boolean} renewed whether it was sent again with a new token already
 * @property {((reply: Frame) => void) | undefined} atOnce gets the answer before any later push
 */

/**
 * @typedef {object} Listener the callbacks of the connection
 * @property {() => void} open the client is logged in on a socket
 * @property {(reason: string) => void} lost
 * @property {(error: Error | undefined) => void} closed for good
 * @property {(frame: Frame) => void} push
 * @property {(reach: string) => void | Promise<void>} login gets the reach of the token, before any subscription
 */

const TIMEOUT = 30_000;
const SILENCE = 30_000;
const STEADY = 10_000;
const TICK = 1_000;
const PROBE = 5_000;
/** The wait after a failed renewal is that after this many lost connections. */
const LATER = 4;
const MOST_WAITING = 10_000;
const LONGEST = 1 << 20;
const LONGEST_TIMER = 2 ** 31 - 1;

/** Requests that change nothing. */
const READS = /\/(get\w*|list|tree|audit|history|count|effective|check|\w*info)$/i;
/** Requests that are not sent again with a new token when they are refused. */
const LOGIN = /^(authenticate|token|token\/refresh)$/;

export class Connection {
  #addresses;
  #credentials;
  #WebSocket;
  #random;
  #parse;
  #listener;
  #reach = "";
  /** @type {WebSocket | undefined} */
  #socket;
  #entered = false;
  #closed = false;
  /** @type {Error | undefined} why it is closed, if not by the program */
  #reason;
  #draining = false;
  #told = false;
  #number = 0;
  #failures = 0;
  #opened = Infinity;
  #heard = 0;
  #probed = false;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {Set<Subscription>} */
  #subscriptions = new Set();
  /** @type {Map<number, Subscription>} */
  #ids = new Map();
  /** @type {(code: number, reason: string, error?: unknown) => void} */
  #end = () => {};
  /** @type {() => void} */
  #wake = () => {};
  /** @type {Promise<void> | undefined} */
  #renewing;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewal;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;

  /**
   * @param {object} options
   * @param {Addresses} options.addresses
   * @param {Credentials | undefined} options.credentials without them the client does not log in
   * @param {typeof globalThis.WebSocket} options.WebSocket
   * @param {() => number} options.random
   * @param {(text: string) => any} options.parse
   * @param {Listener} listener
   */
  constructor({addresses, credentials, WebSocket, random, parse}, listener) {
    this.#addresses = addresses;
    this.#credentials = credentials;
    this.#WebSocket = WebSocket;
    this.#random = random;
    this.#parse = parse;
    this.#listener = listener;
  }

  /** Connect, and reconnect whenever the connection is lost, until `close`. */
  async run() {
    if (this.#closed) return;  // at once, while the cache was loaded
    this.#ticking = setInterval(() => this.#tick(), TICK);
    while (!this.#closed) await this.#pause(await this.#attend().catch((error) => this.#failed(error)));
  }

  /** Open one socket and wait for its end. @returns {Promise<number>} milliseconds to wait before the next one */
  async #attend() {
    await this.#credentials?.prepare();
    if (this.#closed) return 0;
    const {code, reason} = await this.#session();
    const why = reason || (code === 1006 ? "the connection was lost" : `closed with ${code}`);
    if (IN_VAIN.includes(code)) this.close(new HivewireError(`${why} (${code})`));
    const wait = told(code, reason);
    if (wait !== undefined) this.#addresses.hold(wait);
    return this.#lost(why, wait !== undefined);
  }

  /** @param {unknown} error @returns {number} */
  #failed(error) {
    const {message} = /** @type {Error} */ (error);
    if (error instanceof LoginRequired) this.close(error);
    if (error instanceof Busy) this.#addresses.hold(error.retryAfter * 1000);
    return this.#lost(message, error instanceof Busy);
  }

  /**
   * Choose the address and the time of the next attempt.
   *
   * @param {string} why
   * @param {boolean} held whether the gateway said when to reconnect
   * @returns {number} milliseconds
   */
  #lost(why, held) {
    if (!this.#closed) this.#listener.lost(why);
    if (performance.now() - this.#opened >= STEADY) this.#failures = 0;
    this.#opened = Infinity;
    const jitter = backoff(this.#failures++, this.#random);
    const wait = this.#addresses.next();
    this.#told = wait > 0;
    const drained = this.#draining;
    this.#draining = false;
    return wait || (held || drained ? 0 : jitter);
  }

  /** @param {number} milliseconds */
  #pause(milliseconds) {
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      })
    );
  }

  /** @returns {Promise<{code: number, reason: string}>} how the socket ended */
  #session() {
    return new Promise((resolve, reject) => {
      const address = this.#addresses.current;
      const socket = (this.#socket = new this.#WebSocket(address));
      this.#heard = performance.now();
      /** @type {(code: number, reason: string, error?: unknown) => void} */
      const end = (this.#end = (code, reason, error) => {
        if (this.#socket !== socket) return;
        this.#leave(socket);
        if (error) reject(error);
        else resolve({code, reason});
      });
      socket.onopen = () => this.#enter().catch((error) => end(1006, "", error));
      socket.onmessage = ({data}) => {
        if (this.#socket !== socket) return;
        let frame;
        try {
          frame = Object(this.#parse(data));
        } catch {
          return end(1006, "the answer is not from a gateway");
        }
        this.#receive(frame);
      };
      socket.onclose = ({code, reason}) => end(code, reason);
      // Every socket ends with `close`, except in some runtimes outside of browsers: there a failed attempt gives only
      // `error`.
      socket.onerror = () => setTimeout(end, 0, 1006, `no connection to ${address}`);
    });
  }

  /** Log in, subscribe, and send the waiting requests. */
  async #enter() {
    await this.#login();
    this.#opened = performance.now();
    this.#entered = true;
    this.#listener.open();
    const subscribed = [...this.#subscriptions].map((each) => this.#subscribe(each));
    for (const pending of this.#pending.values()) if (!pending.sent) this.#send(pending);
    await Promise.all(subscribed);
  }

  /** @param {WebSocket} socket */
  #leave(socket) {
    this.#socket = undefined;
    this.#entered = false;
    this.#probed = false;
    clearTimeout(this.#renewal);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    socket.close();
    this.#ids.clear();
    for (const subscription of this.#subscriptions) subscription.lose();
    for (const pending of [...this.#pending.values()]) this.#cut(pending);
  }

  /** Keep or reject a request when the connection breaks. @param {Pending} pending */
  #cut(pending) {
    if (pending.own) return this.#settle(pending, unavailable("the connection was lost"));
    pending.lost = uncertain(pending);
    pending.sent = false;
    if (pending.lost && (this.#closed || !pending.repeat)) {
      this.#settle(pending, new Uncertain(`the connection was lost before the answer to ${pending.action}`));
    } else if (this.#closed) this.#settle(pending, this.#stopped());
  }

  #stopped() {
    const cause = this.#reason;
    return cause ? new Stopped(`the client is closed: ${cause.message}`, {cause}) : new Stopped("the client is closed");
  }

  /** @param {Pending} pending @param {Error} error */
  #settle(pending, error) {
    this.#pending.delete(pending.id);
    pending.reject(error);
  }

  // Logging in.

  /** Authenticate the socket: when it opens, and again with each new token. */
  #login() {
    this.#renewing ??= this.#authenticate().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** @param {boolean} [again] @returns {Promise<void>} */
  async #authenticate(again = false) {
    const credentials = this.#credentials;
    if (!credentials) return;
    const socket = this.#socket;
    const ask = (/** @type {string} */ action, /** @type {object} */ members) => this.#ask(action, members);
    const token = await credentials.token(ask);
    if (socket !== this.#socket) throw unavailable("the connection was lost");
    try {
      await this.#ask("authenticate", {token}, ({ended}) => {
        // The socket belongs to another user now, so its subscriptions have ended: connect again.
        if (ended) this.#end(1006, "the token is another user's");
      });
    } catch (error) {
      if (!(error instanceof Refused) || error.code !== 401) throw error;
      credentials.drop();
      if (again) throw new LoginRequired(error.message);
      return this.#authenticate(true);
    }
    this.#reach = reach(token);
    await this.#listener.login(this.#reach);
    this.#renewLater();
  }

  #renewLater() {
    clearTimeout(this.#renewal);
    const wait = /** @type {Credentials} */ (this.#credentials).due - Date.now();
    if (wait < LONGEST_TIMER) this.#renewal = setTimeout(() => this.#renew(false), Math.max(wait, 0));
  }

  /**
   * Authenticate the socket with a new token. A failure is tried again while the present token is valid. Without a valid
   * one the socket is closed, as if the connection was lost.
   *
   * @param {boolean} needed whether the present token is not valid
   */
  async #renew(needed) {
    const socket = this.#socket;
    try {
      await this.#login();
      return true;
    } catch (error) {
      if (this.#socket !== socket) return false;
      if (needed || error instanceof LoginRequired) this.#end(1006, "", error);
      else this.#renewal = setTimeout(() => this.#renew(false), backoff(LATER, this.#random));
      return false;
    }
  }

  // Requests.

  /**
   * Send a request as soon as there is a connection. When the connection breaks, a request that only reads is sent
   * again, and any other is rejected with Uncertain.
   *
   * @param {string} action
   * @param {object} members
   * @param {{timeout?: number, signal?: AbortSignal, repeat?: boolean}} [options]
   * @returns {Promise<Frame>}
   */
  async call(action, members, {timeout = TIMEOUT, signal, repeat = READS.test(action)} = {}) {
    if (this.#closed) throw this.#stopped();
    if (this.#pending.size >= MOST_WAITING) throw unavailable("too many requests wait already");
    signal?.throwIfAborted();
    const pending = this.#request(action, members, {timeout, repeat});
    if (!signal) return pending.answer;
    const abort = () => this.#settle(pending, signal.reason);
    signal.addEventListener("abort", abort);
    return pending.answer.finally(() => signal.removeEventListener("abort", abort));
  }

  /** A request of the connection's own. @param {string} action @param {object} members @param {(reply: Frame) => void} [atOnce] */
  #ask(action, members, atOnce) {
    return this.#request(action, members, {own: true, atOnce}).answer;
  }

  /**
   * @param {string} action
   * @param {object} members
   * @param {{timeout?: number, own?: boolean, repeat?: boolean, atOnce?: ((reply: Frame) => void) | undefined}} options
   */
  #request(action, members, {timeout = TIMEOUT, own = false, repeat = own, atOnce}) {
    const pending = /** @type {Pending} */ ({action, members, own, repeat, atOnce, sent: false, lost: false, renewed: false});
    pending.id = ++this.#number;
    pending.deadline = performance.now() + timeout;
    pending.answer = new Promise((resolve, reject) => Object.assign(pending, {resolve, reject}));
    this.#pending.set(pending.id, pending);
    if (own || this.#entered) this.#send(pending);
    return pending;
  }

  /** @param {Pending} pending */
  #send(pending) {
    if (this.#draining && !pending.own) return;
    if (this.#socket?.readyState !== 1) {
      if (pending.own) this.#settle(pending, unavailable("there is no connection"));
      return;
    }
    const text = JSON.stringify({action: pending.action, requestId: pending.id, ...pending.members});
    // A longer message would end the connection (1009), and every other request with it.
    if (3 * text.length > LONGEST && new Blob([text]).size > LONGEST) return this.#settle(pending, refusal({code: 413, error: `${pending.action} is too long`}));
    pending.sent = true;
    this.#socket.send(text);
  }

  /** @param {Frame} frame */
  #receive(frame) {
    this.#heard = performance.now();
    this.#probed = false;
    if (frame.requestId === undefined) return this.#push(frame);
    const pending = this.#pending.get(frame.requestId);
    if (!pending) return;
    if (frame.code === 401 && this.#credentials && !pending.renewed && !LOGIN.test(pending.action)) {
      return this.#again(pending);
    }
    this.#pending.delete(frame.requestId);
    if (frame.status === "success") {
      pending.atOnce?.(frame);
      pending.resolve(frame);
    } else if (frame.code === 401 && !pending.own) pending.reject(new LoginRequired(frame.error));
    else pending.reject(refusal(frame));
    if (this.#draining) this.#depart();
  }

  /** The token was refused: send the request again with a new one. @param {Pending} pending */
  async #again(pending) {
    pending.renewed = true;
    pending.sent = false;
    this.#credentials?.drop();
    if ((await this.#renew(true)) && this.#pending.has(pending.id)) this.#send(pending);
  }

  // Subscriptions.

  /** Follow something until `unfollow`. @param {Subscription} subscription */
  follow(subscription) {
    this.#subscriptions.add(subscription);
    if (this.#entered) this.#subscribe(subscription).catch((error) => this.#end(1006, "", error));
  }

  /** @param {Subscription} subscription */
  unfollow(subscription) {
    this.#subscriptions.delete(subscription);
    if (this.#ids.delete(subscription.id)) this.#unsubscribe(subscription, subscription.id);
  }

  /** @param {Subscription} subscription @param {number} subscriptionId */
  #unsubscribe({action}, subscriptionId) {
    const end = action.replace(/subscribe$/, "unsubscribe");
    this.#ask(end, {subscriptionId}).catch(() => {});  // a connection that breaks ends it too
  }

  /** @param {Subscription} subscription */
  async #subscribe(subscription) {
    try {
      await this.#ask(subscription.action, subscription.request(this.#reach), (reply) => {
        if (!this.#subscriptions.has(subscription)) return this.#unsubscribe(subscription, reply.subscriptionId);
        this.#ids.set(reply.subscriptionId, subscription);
        subscription.begin(reply);
      });
    } catch (error) {
      // These refusals may be temporary, so the subscription is tried again on another connection. Others are final.
      const {code} = /** @type {Refused} */ (error);
      if (code === 401 && !this.#credentials) throw new LoginRequired();
      if (!(error instanceof Refused) || code === 401 || code === 429 || code >= 500) throw error;
      this.#subscriptions.delete(subscription);
      subscription.fail(error);
    }
  }

  /** @param {Frame} frame */
  #push(frame) {
    if (frame.action === "server/draining") this.#drain(frame);
    else if (frame.action === "token/expiring") this.#expire(false);
    else {
      this.#ids.get(frame.subscriptionId)?.push(frame);
      if (frame.action === "subscription/paused") this.#expire(true);
    }
    this.#listener.push(frame);
  }

  /**
   * The token expires soon, or has expired. A token that was renewed just now is not renewed again: the next one would
   * probably expire as early.
   *
   * @param {boolean} ended
   */
  #expire(ended) {
    if (this.#renewing || !this.#credentials) return;
    if (this.#credentials.fresh) {
      if (ended) this.#end(1006, "the token has expired already");
      return;
    }
    this.#credentials.drop();
    this.#renew(ended);
  }

  /** The gateway is about to stop: go to another one as soon as all requests are answered. @param {Frame} frame */
  #drain({alternatives, retry}) {
    this.#addresses.hold(retry);
    this.#addresses.learn(alternatives);
    if (this.#addresses.all.length < 2) return;
    this.#draining = true;
    this.#depart();
  }

  #depart() {
    for (const {sent} of this.#pending.values()) if (sent) return;
    this.#end(1001, "the gateway stops");
  }

  // Timeouts.

  #tick() {
    const now = performance.now();  // it goes on when the clock is set
    for (const pending of [...this.#pending.values()]) {
      if (now < pending.deadline) continue;
      const {action, sent} = pending;
      const text = `${sent ? "no answer to" : "no connection for"} ${action} in time`;
      this.#settle(pending, uncertain(pending) ? new Uncertain(text) : unavailable(text));
      if (sent) this.#end(1006, "no answer in time");
    }
    const socket = this.#socket;
    if (!socket || now - this.#heard < SILENCE) return;
    if (socket.readyState === 1) this.probe(TIMEOUT);
    else this.#end(1006, "no connection in time");
  }

  /** Test whether the connection still works: a lost network gives no error. */
  probe(timeout = PROBE) {
    if (this.#probed || !this.#entered) return;
    this.#probed = true;
    this.#request("server/info", {}, {own: true, timeout}).answer.catch(() => {});
  }

  /** The machine has slept, or has a network again: check the connection, or reconnect now unless told to wait. */
  wake() {
    if (!this.#told) this.#wake();
    if (!this.#entered) return;
    if (this.#credentials && !this.#credentials.held) this.#renew(false);
    this.probe();
  }

  /** Close for good. @param {Error} [reason] */
  close(reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason = reason;
    clearInterval(this.#ticking);
    this.#end(1000, "");
    for (const pending of [...this.#pending.values()]) this.#cut(pending);
    this.#wake();
    this.#listener.closed(reason);
  }
}

/** Whether a request without an answer may have changed something. @param {Pending} pending */
function uncertain({action, own, repeat, sent, lost}) {
  return lost || (sent && !own && !(repeat && READS.test(action)));
}
