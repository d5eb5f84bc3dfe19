/**
 * The errors with which a request can be rejected.
 *
 *     HivewireError
 *     ├── Refused         the gateway refused it: `code`, and the members of its answer
 *     │   ├── LoginRequired   401  there is no token that the gateway accepts
 *     │   ├── Denied          403  the token does not allow it
 *     │   ├── NotFound        404
 *     │   ├── Conflict        409  somebody else wrote first: `change`, `current`
 *     │   ├── TooLarge        413
 *     │   ├── Busy            429  `retryAfter` seconds
 *     │   └── Unavailable     503  nothing was written; also when no gateway could be asked in time
 *     ├── Uncertain       the connection broke before the answer: it may have been written
 *     ├── NotReady        `ready` gave up waiting
 *     └── Stopped          the client is closed
 */

import {entry} from "./entries.js";

/** @typedef {import("./entries.js").Entry<string | null>} Entry */
/** @typedef {import("./entries.js").WireChange} WireChange */

export class HivewireError extends Error {
  /** @param {string} message @param {ErrorOptions} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The gateway refused a request; `reply` is its whole answer. */
export class Refused extends HivewireError {
  /** @param {Record<string, any>} reply */
  constructor(reply) {
    super(reply.error);
    /** @type {number} as the status in HTTP */
    this.code = reply.code;
    this.reply = reply;
  }
}

/** Somebody else wrote first (409). Nothing of this request was written. */
export class Conflict extends Refused {
  /** @param {Record<string, any>} reply */
  constructor(reply) {
    super(reply);
    /** @type {WireChange | null} the change that caused the conflict; null if the name never existed */
    this.change = reply.change ?? null;
    /** @type {Entry | undefined} the current configuration, as text; undefined when there is none */
    this.current = this.change?.operation === "put" ? entry(this.change.configuration, this.change) : undefined;
    /** @type {number | undefined} in a transaction: the index of the change that failed */
    this.index = reply.index;
  }
}

/** There is no token, or none that the gateway accepts (401). A token function may throw it to give up. */
export class LoginRequired extends Refused {
  /** @param {string} [text] */
  constructor(text = "there is no token") {
    super({code: 401, error: text});
  }
}

/** The token does not allow this (403). */
export class Denied extends Refused {}

/** It does not exist (404). */
export class NotFound extends Refused {}

/** The request, or its answer, is larger than the gateway allows (413). */
export class TooLarge extends Refused {}

/** Too many requests, or attempts to log in (429). */
export class Busy extends Refused {
  /** Seconds to wait. */
  get retryAfter() {
    return Number(this.reply.retryAfter) || 1;
  }
}

/** The gateway cannot do it now, or could not be asked in time (503). Nothing was written. */
export class Unavailable extends Refused {}

/** The connection broke, or the answer did not come in time. The request may have been carried out: check before you repeat it. */
export class Uncertain extends HivewireError {}

/** `ready` waited until its timeout. */
export class NotReady extends HivewireError {}

/** The client was closed. */
export class Stopped extends HivewireError {}

/** @type {Record<number, typeof Refused>} */
const BY_CODE = {403: Denied, 404: NotFound, 409: Conflict, 413: TooLarge, 429: Busy, 503: Unavailable};

/** The error for an answer of the gateway. @param {Record<string, any>} reply @returns {HivewireError} */
export function refusal(reply) {
  if (reply.code === 503 && reply.error.startsWith("not known")) return new Uncertain(reply.error);
  return new (BY_CODE[reply.code] ?? Refused)(reply);
}

/** No gateway could be asked. @param {string} text */
export function unavailable(text) {
  return new Unavailable({code: 503, error: text});
}
