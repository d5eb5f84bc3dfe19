/** Edits that are not saved yet, by name and layer, also those of schemas. They outlive the screen, the login and the connection; not the page. */

import {effect, signal} from "../vendor/preact.js";

/**
 * `base` is the version that was opened, 0 for a new name, and `before` its text. Schemas also have `secret`.
 *
 * @type {import("../vendor/preact.js").Signal<Map<string, {value: string, contentType: string, base: number,
 *   before: string, beforeType: string, secret?: boolean, beforeSecret?: boolean}>>}
 */
export const drafts = signal(new Map());

/** What stands in place of a layer for schemas: no layer is called like this. */
export const SCHEMA = "schema:";

/** The key of an edit: a name, and before it the layer if it is in one. */
export function keyOf(name, layer) {
  return layer === undefined ? name : `${layer}\n${name}`;
}

/** Keep an edit, or change some of it. */
export function draft(name, changed, layer) {
  const key = keyOf(name, layer);
  drafts.value = new Map(drafts.peek()).set(key, {...drafts.peek().get(key), ...changed});
}

/** Forget one. */
export function discard(name, layer) {
  const all = new Map(drafts.peek());
  all.delete(keyOf(name, layer));
  drafts.value = all;
}

/** Whether an edit says anything else than what it began with. */
export function edited(found) {
  if (found === undefined) return false;
  return found.value !== found.before || found.contentType !== found.beforeType || found.secret !== found.beforeSecret;
}

const warn = (event) => event.preventDefault();
effect(() => {
  if ([...drafts.value.values()].some(edited)) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
