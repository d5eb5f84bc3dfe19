/** Edits that are not saved yet, by name and layer, also of schemas and of documents of tenants. They last as long as the page: over screens, logins and connections. */

import {effect, signal} from "../vendor/preact.js";

/**
 * `base` is the revision that was opened (0 for a new name), `version` its version, and `before` its text. Schemas
 * also have `secret`.
 *
 * @type {import("../vendor/preact.js").Signal<Map<string, {value: string, contentType: string, base: number,
 *   version?: number, before: string, beforeType: string, secret?: boolean, beforeSecret?: boolean}>>}
 */
export const drafts = signal(new Map());

/** Used in place of a layer for schemas; it is not a valid name of a layer. */
export const SCHEMA = "schema:";
/** The same for the documents of tenants, whose `base` is the time at which the document was saved. */
export const DOCUMENT = "document:";

/** The key of an edit: the layer, if there is one, and the name. */
export function keyOf(name, layer) {
  return layer === undefined ? name : `${layer}\n${name}`;
}

/** What a write expects. Versions begin again at 1 when a name is deleted and made anew, so they do not tell one life from another. */
export function expecting(base) {
  return base ? {revision: base} : {expect: 0};
}

/**
 * Whether `now`, the current configuration or undefined, is another one than that an edit is based on. After a restore of
 * a backup revisions are used again, so another value may have the same one.
 */
export function overtakes(now, {base, before}) {
  return (now?.revision ?? 0) !== base || Boolean(now?.value && before && now.value !== before);
}

/** Add an edit, or change some of its members. */
export function draft(name, changed, layer) {
  const key = keyOf(name, layer);
  drafts.value = new Map(drafts.peek()).set(key, {...drafts.peek().get(key), ...changed});
}

/** Remove an edit. */
export function discard(name, layer) {
  const all = new Map(drafts.peek());
  all.delete(keyOf(name, layer));
  drafts.value = all;
}

/** Remove `edit`, which was saved. If it was changed meanwhile, it stays, and is based on `saved` unless that is a merged value. */
export function settle(name, edit, saved, layer) {
  const found = drafts.peek().get(keyOf(name, layer));
  if (found === edit) return discard(name, layer);
  const {value: before, contentType: beforeType, secret: beforeSecret, revision: base, version} = saved;
  if (found && edit?.value === before) draft(name, {before, beforeType, beforeSecret, base, version}, layer);
}

/** Whether an edit differs from the version that was opened. */
export function edited(found) {
  if (found === undefined) return false;
  return found.value !== found.before || found.contentType !== found.beforeType || found.secret !== found.beforeSecret;
}

const warn = (event) => event.preventDefault();
effect(() => {
  if ([...drafts.value.values()].some(edited)) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
