/**
 * Edits that are staged to be written together. The storage of the tab keeps them for the same user, over a reload, until
 * the logout. Secret values are in memory only. So is a basket that is too large for the storage. The browser asks before
 * these are lost.
 */

import {effect, signal} from "../vendor/preact.js";
import {matcher} from "../vendor/hivewire/watch.js";
import {keyOf} from "./drafts.js";
import {hw, status} from "./gateway.js";
import {user} from "./session.js";

const KEY = "hivewire.basket";
/** The most characters of values that are stored. Browsers store about five million for a tab. */
const ROOM = 2_000_000;

/**
 * The staged edits, by name and layer: the new configuration (`value` and `contentType`, or `undefined` to delete it), and
 * what was edited: its revision, version and value.
 *
 * @type {import("../vendor/preact.js").Signal<Map<string, {name: string, layer?: string, value: string | undefined,
 *   contentType: string | undefined, base: number, version?: number, before: string | undefined, description?: string}>>}
 */
export const staged = signal(restored());

/** The number of edits that a reload would lose. */
export const loose = signal(0);

/** Add edits, or replace those of the same configurations. */
export function stage(edits) {
  const all = new Map(staged.peek());
  for (const edit of edits) all.set(keyOf(edit.name, edit.layer), edit);
  staged.value = all;
}

/** Remove edits, except those that were replaced meanwhile. */
export function unstage(edits) {
  const all = new Map(staged.peek());
  for (const edit of edits) {
    const key = keyOf(edit.name, edit.layer);
    if (all.get(key) === edit) all.delete(key);
  }
  staged.value = all;
}

/**
 * Why the gateway would refuse changes of one transaction: messages by index, at most `most`. The gateway names only
 * one change that it refuses, so it is asked about the others again: about each half of them, because many may be refused.
 */
export async function refusals(changes, most = Infinity) {
  const found = new Map();
  const open = [[...changes.keys()]];
  while (open.length && found.size < most) {
    const part = open.pop();
    try {
      await hw.transact(part.map((index) => changes[index]), undefined, {dryRun: true});
    } catch (error) {
      const at = error.index ?? error.reply?.index;
      if (at === undefined) throw error;
      found.set(part[at], error.message.replace(/^changes\[\d+\]: /, ""));
      const rest = part.toSpliced(at, 1);
      const half = Math.ceil(rest.length / 2);
      open.push(...[rest.slice(half), rest.slice(0, half)].filter(({length}) => length));
    }
  }
  return found;
}

/** The edits that this tab has stored for this user. */
function restored() {
  try {
    const {of, edits} = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
    return new Map(of === user() ? edits.map((edit) => [keyOf(edit.name, edit.layer), edit]) : []);
  } catch {
    return new Map(); // a browser may refuse storage
  }
}

/** The edits that are stored. */
let kept = new Set(staged.peek().values());

/** Store the edits, except secret ones. */
async function keep(all) {
  const edits = [...all.values()];
  const {schemas} = edits.length ? await hw.call("schema/list") : {schemas: []};
  if (all !== staged.peek()) return;
  const secret = matcher(schemas.filter((each) => each.secret).map((each) => each.names));
  const wanted = edits.filter(({name, value, before}) => !(value || before) || !secret(name));
  const size = wanted.reduce((sum, {value = "", before}) => sum + value.length + (before?.length ?? 0), 0);
  kept = new Set();
  try {
    sessionStorage.removeItem(KEY); // also when there is no room for the next
    if (wanted.length && size <= ROOM) sessionStorage.setItem(KEY, JSON.stringify({of: user(), edits: wanted}));
    if (size <= ROOM) kept = new Set(wanted);
  } finally {
    counted(edits);
  }
}

function counted(edits) {
  loose.value = edits.filter((edit) => !kept.has(edit)).length;
}

const warn = (event) => {
  if (loose.peek() || sessionStorage.getItem(KEY) === null) event.preventDefault(); // a logout has emptied it
};
effect(() => {
  const all = staged.value;
  counted([...all.values()]);
  // Without the gateway it is not known which are secret: until then leaving warns.
  if (!all.size || status.value.state === "live") keep(all).catch(() => {});
  if (all.size) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
