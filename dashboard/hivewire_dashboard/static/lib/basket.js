/** Edits that are staged to be written together. In memory only; leaving the page warns. */

import {effect, signal} from "../vendor/preact.js";

/**
 * What is staged, by name: what will be there (`value` and `contentType`, or `undefined` to delete it), and the version
 * it was made from, with the value of then.
 *
 * @type {import("../vendor/preact.js").Signal<Map<string, {name: string, value: string | undefined,
 *   contentType: string | undefined, base: number, before: string | undefined, description?: string}>>}
 */
export const staged = signal(new Map());

/** Add edits, or replace those of the same names. */
export function stage(edits) {
  const all = new Map(staged.peek());
  for (const edit of edits) all.set(edit.name, edit);
  staged.value = all;
}

/** Take some out, or all. */
export function unstage(names) {
  const all = new Map(names ? staged.peek() : []);
  for (const name of names ?? []) all.delete(name);
  staged.value = all;
}

const warn = (event) => event.preventDefault();
effect(() => {
  if (staged.value.size) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
