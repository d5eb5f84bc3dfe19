/** The access token: where it comes from, and when to get a new one. */

import {HivewireError, LoginRequired, Refused} from "./errors.js";

/**
 * An access or refresh token; a function that gives one, and may wait for a person; the login and password of a user;
 * or the id and secret of an OAuth client.
 *
 * @typedef {string | (() => string | Promise<string>) | {login: string, password: string}
 *   | {clientId: string, clientSecret: string}} TokenSource
 */

/** @typedef {(action: string, members: object) => Promise<Record<string, any>>} Ask */

/** A part of its life after which a token is renewed. */
const RENEW_AT = 0.75;
/** After a source gave the same token again, it is asked again no sooner than this. */
const PAUSE = 10_000;

/**
 * What a token says of itself. `t` is 0 for a refresh token, `e` its end and `i` its beginning in milliseconds.
 *
 * @param {string} token
 * @returns {Record<string, any>}
 */
export function claims(token) {
  try {
    const part = /** @type {string} */ (token.split(".")[1]);
    return JSON.parse(atob(part.replace(/-/g, "+").replace(/_/g, "/"))).payload ?? {};
  } catch {
    return {};
  }
}

/** What a token reaches, as text: positions and caches count for one such text only. @param {string} token */
export function reach(token) {
  const {u, cl, a, c, n, dt, tn} = claims(token);
  return JSON.stringify([u, cl, a, c, n, dt, tn]);
}

export class Credentials {
  #source;
  #addresses;
  #access = "";
  #refresh = "";
  #given = "";
  /** @type {Promise<string> | undefined} */
  #asking;
  /** @type {Promise<string> | undefined} */
  #calling;

  /**
   * @param {TokenSource} source
   * @param {import("./addresses.js").Addresses} addresses where a client's token comes from
   */
  constructor(source, addresses) {
    this.#source = source;
    this.#addresses = addresses;
    /** When it is to be renewed. */
    this.due = 0;
    this.got = 0;
  }

  /** Who it is, as far as that is known before a gateway was asked; "" if it is not. */
  get subject() {
    const source = this.#source;
    if (typeof source === "string") return reach(source);
    if (typeof source === "function") return this.#access && reach(this.#access);
    return "login" in source ? `login ${source.login}` : `client ${source.clientId}`;
  }

  /** Ask a function before there is a socket: the gateway does not wait for long until somebody logs in. */
  async prepare() {
    const source = this.#source;
    if (typeof source === "function" && !this.held && !this.#refresh) this.#given = await this.#call(source);
  }

  /** Ask a function, or wait for what it was asked already. @param {() => string | Promise<string>} source */
  #call(source) {
    this.#calling ??= Promise.resolve(source()).finally(() => {
      this.#calling = undefined;
    });
    return this.#calling;
  }

  /** The token, if it is not to be renewed yet. */
  get held() {
    return Date.now() < this.due ? this.#access : "";
  }

  /** Whether there was no other one a moment ago. */
  get fresh() {
    return Date.now() - this.got < PAUSE;
  }

  /** Do not use the token any more. */
  drop() {
    this.due = 0;
  }

  /**
   * An access token: the one that is held, or a new one. Nothing is asked twice at a time.
   *
   * @param {Ask} ask sends a request on the socket
   */
  token(ask) {
    if (this.held) return Promise.resolve(this.held);
    this.#asking ??= this.#obtain(ask).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  /** @param {Ask} ask @returns {Promise<string>} */
  async #obtain(ask) {
    try {
      const refreshed = this.#refresh && (await this.#exchange(ask));
      return this.#hold(refreshed || (await this.#ask(ask)));
    } catch (error) {
      if (error instanceof Refused && error.code === 401) throw new LoginRequired(error.message);
      throw error;
    }
  }

  /** @param {Ask} ask @returns {Promise<string>} */
  async #ask(ask) {
    const source = this.#source;
    let found = this.#given;
    this.#given = "";
    if (typeof source === "string") found = source;
    else if (typeof source === "function") found ||= await this.#call(source);
    else if ("clientId" in source) {
      const {grant} = await import("./oauth.js");
      found = await grant(this.#addresses.http("oauth/token"), source);
    } else {
      const reply = await ask("token", source);
      this.#refresh = reply.refreshToken;
      return reply.accessToken;
    }
    if (typeof found !== "string" || !found) throw new LoginRequired();
    if (claims(found).t !== 0) return found;
    this.#refresh = found;
    return (await ask("token/refresh", {refreshToken: found})).accessToken;
  }

  /** A new token for the refresh token that is held; "" when that is not good any more. @param {Ask} ask */
  async #exchange(ask) {
    try {
      return (await ask("token/refresh", {refreshToken: this.#refresh})).accessToken;
    } catch (error) {
      if (!(error instanceof HivewireError) || /** @type {Refused} */ (error).code !== 401) throw error;
      this.#refresh = "";
      return "";
    }
  }

  /** @param {string} token */
  #hold(token) {
    const {e, i} = claims(token);
    const again = token === this.#access;
    let left = e - Date.now();
    if (!(left > 0 && left <= e - (i ?? 0))) left = e - i;  // one of the clocks is wrong
    this.#access = token;
    this.got = Date.now();
    this.due = Date.now() + (left > 0 ? Math.max(left * RENEW_AT, again ? PAUSE : 0) : Infinity);
    if (typeof this.#source === "string" && token === this.#source) this.due = Infinity;
    return token;
  }
}
