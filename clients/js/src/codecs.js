/**
 * Codecs: how the text of a configuration becomes a value, and a value becomes text.
 *
 * @template T
 * @typedef {object} Codec
 * @property {string | undefined} contentType the media type with which a configuration is put
 * @property {(value: T) => string} encode
 * @property {(text: string) => T} decode throws an error for a text that is not such a value
 */

/** @type {Codec<string>} */
const TEXT = {contentType: undefined, encode: String, decode: (text) => text};

/** @type {Codec<any>} */
const JSON_CODEC = {contentType: "application/json", encode: (value) => JSON.stringify(value), decode: JSON.parse};

/** The text as it is. @returns {Codec<string>} */
export function text() {
  return TEXT;
}

/**
 * JSON, as a value of your type. `check` gets the parsed JSON and returns the value, or throws. It can be the parser of
 * a schema library, such as `schema.parse` of Zod. Make a codec with `check` once, not for every `get`.
 *
 * @template T
 * @param {(value: unknown) => T} [check]
 * @returns {Codec<T>}
 */
export function json(check) {
  if (!check) return JSON_CODEC;
  return {...JSON_CODEC, decode: (text) => check(JSON.parse(text))};
}
