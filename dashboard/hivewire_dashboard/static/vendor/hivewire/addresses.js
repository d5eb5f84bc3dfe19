/** Where to connect, and when: the addresses of the gateways, and how long to wait before the next attempt. */

const LONGEST = 30_000;
const FIRST = 2_000;
const MOST = 32;

/** Close codes after which another attempt would end in the same way (configuration contract, section 9). */
export const IN_VAIN = [1002, 1003, 1007, 1009];

/**
 * How long to wait after the `failures`th loss in a row: full jitter, so that clients that were cut off together do not
 * reconnect together.
 *
 * @param {number} failures from 0
 * @param {() => number} random
 * @returns {number} milliseconds
 */
export function backoff(failures, random) {
  return random() * Math.min(LONGEST, FIRST * 2 ** failures);
}

/**
 * When to reconnect, if the close frame says so.
 *
 * @param {number} code
 * @param {string} reason
 * @returns {number | undefined} milliseconds; undefined when it does not say
 */
export function told(code, reason) {
  const found = /\bretry=(\d{1,7})\b/.exec(reason);
  if (found) return Number(found[1]);
  return code === 4029 ? LONGEST : undefined;
}

/**
 * The address of a gateway's socket: `https://host/prefix` is `wss://host/prefix/api/websocket`. In a browser it may be
 * relative to the page.
 *
 * @param {string | URL} address
 * @returns {string}
 */
export function socketAddress(address) {
  const url = new URL(address, globalThis.location?.href);
  if (!/^(http|ws)s?:$/.test(url.protocol)) throw new TypeError(`not the address of a gateway: ${address}`);
  url.protocol = /s:$/.test(url.protocol) ? "wss:" : "ws:";
  if (!url.pathname.endsWith("/websocket")) url.pathname = `${url.pathname.replace(/\/$/, "")}/api/websocket`;
  url.hash = "";
  return url.href;
}

/** The addresses of a ledger's gateways, which are used in turn. */
export class Addresses {
  #given;
  /** @type {Map<string, number>} the time until which an address is not used */
  #held = new Map();

  /** @param {(string | URL)[]} addresses @param {() => number} random where to begin, so that clients spread */
  constructor(addresses, random) {
    this.all = addresses.map(socketAddress);
    if (!this.all.length) throw new TypeError("there is no address");
    this.current = /** @type {string} */ (this.all[Math.floor(random() * this.all.length)]);
    this.#given = this.all.length;
  }

  /** The URL of a path of the current gateway. @param {string} path such as `api/rest/info` */
  http(path) {
    const url = new URL(this.current.replace(/^ws/, "http"));
    return new URL(url.pathname.replace(/(api|dh)\/websocket$/, path), url);
  }

  /** Do not connect to the current address for a time. @param {number} milliseconds */
  hold(milliseconds) {
    this.#held.set(this.current, performance.now() + milliseconds);
  }

  /**
   * Add the other gateways that the current one names, in place of those that it named before. What is no address is left
   * out, and if the current one has TLS, so are those without.
   *
   * @param {string[]} alternatives
   */
  learn(alternatives) {
    const secure = this.current.startsWith("wss:");
    const found = alternatives.slice(0, MOST).map(named).filter((url) => url.startsWith(secure ? "wss:" : "ws"));
    this.all = [...new Set([...this.all.slice(0, this.#given), this.current, ...found])];
  }

  /** Choose the next address: one that may be used now, or the one that may be used first. @returns {number} milliseconds until then */
  next() {
    const start = this.all.indexOf(this.current);
    const order = [...this.all.slice(start + 1), ...this.all.slice(0, start + 1)];
    const until = (/** @type {string} */ url) => this.#held.get(url) ?? 0;
    const now = performance.now();
    this.current = order.find((url) => until(url) <= now) ?? order.reduce((a, b) => (until(b) < until(a) ? b : a));
    return Math.max(0, Math.ceil(until(this.current) - now));
  }
}

/** The address of another gateway; "" for what its operator has mistyped. @param {string} address */
function named(address) {
  try {
    return socketAddress(address);
  } catch {
    return "";
  }
}
