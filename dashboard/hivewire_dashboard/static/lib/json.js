/** JSON that keeps the text of numbers, however long they are. */

const raw = typeof JSON.rawJSON === "function";

/** A value, or undefined if the text is not JSON. */
export function parse(text) {
  try {
    const keep = (_, value, context) => (typeof value === "number" && context?.source ? JSON.rawJSON(context.source) : value);
    return raw ? JSON.parse(text, keep) : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Text in which there may be a number that JavaScript would round: of 16 digits, or beyond all numbers. */
const LONG = /[\d.]{16}|\d[eE]\+?\d{3}/;

/** The same for a text of JSON, but only numbers that would be rounded keep their text; all others are numbers. Throws an error for other texts. */
export function parseExactly(text) {
  if (!raw || !LONG.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) => {
    if (typeof value !== "number" || String(value) === context.source) return value;
    const digits = context.source.replace(/[eE].*|\D/g, "").length;
    return digits > 15 || !Number.isFinite(value) ? JSON.rawJSON(context.source) : value;
  });
}

/** Whether a text of JSON can be formatted again without a loss: its numbers can be kept, and no member occurs twice. */
export function keeps(text) {
  const numbers = raw || !/\d{16}|\d[eE]/.test(text);
  return numbers && members(text) === members(JSON.stringify(parse(text)));
}

/** How many members all objects of a text have: the colons that are in no string. */
function members(text) {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length;
}

/** The text with one member on each line; undefined if it is not JSON, or if that would lose something. */
export function formatted(text, indent = 2) {
  const value = parse(text);
  return value === undefined || !keeps(text) ? undefined : JSON.stringify(value, null, indent);
}

/** The indentation of a text: the spaces before its second line, or none when it has only one line. */
export function indentation(text) {
  return /\n([ \t]+)\S/.exec(text)?.[1];
}

/** Whether a media type is JSON. */
export function isJson(contentType) {
  return /[/+]json\s*(;|$)/.test(contentType ?? "");
}

/** Whether to show a text as JSON: its type says so, or it is an object or a list. */
export function looksLikeJson(text, contentType) {
  return isJson(contentType) || (/^\s*[[{]/.test(text ?? "") && parse(text) !== undefined);
}
