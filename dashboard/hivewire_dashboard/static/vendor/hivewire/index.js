/** `@hivewire/client`: configurations that follow a gateway. */

export {ABSENT, Hivewire} from "./hivewire.js";
export {json, text} from "./codecs.js";
export {
  Busy,
  Conflict,
  Denied,
  HivewireError,
  LoginRequired,
  NotFound,
  NotReady,
  Refused,
  Stopped,
  TooLarge,
  Unavailable,
  Uncertain,
} from "./errors.js";

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
/** @typedef {import("./hivewire.js").Options} Options */
/** @typedef {import("./watch.js").Event} Event */
/** @typedef {import("./watch.js").State} State */
/** @typedef {import("./subscription.js").Group} Group */
/** @typedef {import("./cache.js").Cache} Cache */
