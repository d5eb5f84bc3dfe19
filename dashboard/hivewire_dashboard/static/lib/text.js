/** Text for people: stored text, times, sizes. Nothing here makes markup. */

import {html, signal} from "../vendor/preact.js";

/** Control characters, and characters that change how others are shown, such as bidirectional overrides. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** How a hidden character is shown: `\n`, `\u202E`. */
function escaped(character) {
  const known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character];
  return known ?? `\\u${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

/**
 * Stored text, isolated from the direction of the text around it, with hidden characters as escapes. `lines` keeps line
 * breaks and tabs; at most `most` characters are shown. `words` is for a sentence of the page with stored text in it,
 * which runs from left to right whatever it begins with.
 */
export function Text({of, lines = false, most = Infinity, mono = false, words = false}) {
  const text = String(of ?? "");
  const shown = text.length > most ? text.slice(0, most) : text;
  const parts = [];
  let end = 0;
  for (const {0: found, index} of shown.matchAll(HIDDEN)) {
    if (lines && (found === "\n" || found === "\t")) continue;
    parts.push(shown.slice(end, index), html`<span class="escape">${escaped(found)}</span>`);
    end = index + found.length;
  }
  parts.push(shown.slice(end));
  if (shown !== text) parts.push("…");
  return html`<bdi class=${mono ? "mono" : undefined} dir=${words ? "ltr" : undefined}>${parts}</bdi>`;
}

/** The same as one plain string, for titles, labels and announcements. */
export function plain(text) {
  return String(text ?? "").replace(HIDDEN, escaped);
}

/** A text as one argument of a command in a terminal. */
export function quoted(text) {
  return `'${text.replace(/'/g, "'\\''")}'`;
}

/** The current time in milliseconds, updated each second while the page is visible. */
export const clock = signal(Date.now());
setInterval(() => {
  if (!document.hidden) clock.value = Date.now();
}, 1000);

/** Milliseconds by which the clock of the gateway is ahead of that of this machine; 0 unless one of them is wrong. */
export const ahead = signal(0);

/** A time of the gateway in milliseconds. The gateway writes UTC without a zone. */
export function milliseconds(time) {
  return typeof time === "number" ? time : Date.parse(/Z$/.test(time) ? time : `${time}Z`);
}

const UNITS = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
const RELATIVE = new Intl.RelativeTimeFormat("en", {numeric: "always", style: "narrow"});
const LOCAL = new Intl.DateTimeFormat("en-GB", {dateStyle: "medium", timeStyle: "long"});
const SHORT = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});
const EXACT = new Intl.DateTimeFormat("en-GB", {timeStyle: "medium"});

/** "3s ago". */
export function ago(time, now = Date.now()) {
  let amount = Math.max(0, (now - time) / 1000);
  for (const [unit, size] of UNITS) {
    if (amount < size) return amount < 1 ? "just now" : RELATIVE.format(-Math.floor(amount), unit);
    amount /= size;
  }
}

/** The local hour and minute. */
export function hour(time) {
  return SHORT.format(time);
}

/** The local hour, minute and second. */
export function second(time) {
  return EXACT.format(time);
}

/** A complete time: in the user's zone, with the name of the zone, and in UTC. */
export function moment(time) {
  const at = milliseconds(time);
  return `${LOCAL.format(at)} (${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC)`;
}

/** The age of something; its complete time is in a tooltip, or next to it with `full`. */
export function When({time, full = false}) {
  if (time === undefined || time === null) return html`<span class="quiet">–</span>`;
  const at = milliseconds(time);
  const iso = new Date(at).toISOString();
  return html`<time datetime=${iso} title=${moment(at)}>${full ? moment(at) : ago(at, clock.value + ahead.value)}</time>`;
}

/** A number of bytes or characters, in a few digits. */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

const COUNT = new Intl.NumberFormat("en");

/** A number with thousands separators, and a noun in the singular or plural: "1 name", "2,000 names". */
export function count(number, word) {
  const digits = COUNT.format(number);
  return word === undefined ? digits : `${digits} ${word}${number === 1 ? "" : "s"}`;
}

/** Seconds in the largest unit that gives a whole number: "2 minutes". */
export function lasting(seconds) {
  const [unit, length] = [["day", 86_400], ["hour", 3_600], ["minute", 60]].find(([, each]) => seconds && seconds % each === 0) ?? ["second", 1];
  return count(seconds / length, unit);
}

/** A media type in a word. */
export function kind(contentType) {
  const type = (contentType ?? "").split(";")[0];
  if (!type || type === "text/plain") return "text";
  return /[/+]json$/.test(type) ? "JSON" : type;
}
