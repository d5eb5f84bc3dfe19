/** Access tokens: how to get one, and when to renew it. */

import {HivewireError, LoginRequired, Refused} from "./errors.js";

/**
 * An access or refresh token; a function that returns one, and may wait for a person; the login and password of a user;
 * or the id and secret of an OAuth client.
 *
 * @typedef {string | (() => string | Promise<string>) | {login: string, password: string}
 *   | {clientId: string, clientSecret: string}} TokenSource
 */

/** @typedef {(action: string, members: object) => Promise<Record<string, any>>} Ask */

/** The part of its lifetime after which a token is renewed. */
const RENEW_AT = 0.75;
/** Milliseconds to wait before a source that returned the same token again is asked once more. */
const PAUSE = 10_000;

/**
 * The claims of a token. `t` is 0 for a refresh token, `e` its end and `i` its beginning in milliseconds.
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

/** What a token reaches, as text: a position or a cache is valid for tokens of one reach only. @param {string} token */
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
   * @param {import("./addresses.js").Addresses} addresses of the gateways, which give tokens to OAuth clients
   */
  constructor(source, addresses) {
    this.#source = source;
    this.#addresses = addresses;
    /** When to renew the token, in milliseconds since 1970. */
    this.due = 0;
    this.got = -Infinity;
  }

  /** Who logs in, as far as that is known without asking a gateway; otherwise "". */
  get subject() {
    const source = this.#source;
    if (typeof source === "string") return reach(source);
    if (typeof source === "function") return this.#access && reach(this.#access);
    return "login" in source ? `login ${source.login}` : `client ${source.clientId}`;
  }

  /** Call a token function before the socket is opened: the gateway does not wait long for a login. */
  async prepare() {
    const source = this.#source;
    if (typeof source === "function" && !this.held && !this.#refresh) this.#given = await this.#call(source);
  }

  /** Call a token function, or wait for the call in progress. @param {() => string | Promise<string>} source */
  #call(source) {
    this.#calling ??= Promise.resolve(source()).finally(() => {
      this.#calling = undefined;
    });
    return this.#calling;
  }

  /** The token, if it need not be renewed yet. */
  get held() {
    return Date.now() < this.due ? this.#access : "";
  }

  /** Whether the token was renewed a moment ago. */
  get fresh() {
    return performance.now() - this.got < PAUSE;
  }

  /** Do not use the token any more. */
  drop() {
    this.due = 0;
  }

  /**
   * An access token: the present one, or a new one. Concurrent calls share one request.
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

  /** A new access token for the refresh token; "" when that is not valid any more. @param {Ask} ask */
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
    this.got = performance.now();
    this.due = Date.now() + (left > 0 ? Math.max(left * RENEW_AT, again ? PAUSE : 0) : Infinity);
    if (typeof this.#source === "string" && token === this.#source) this.due = Infinity;
    return token;
  }
}
