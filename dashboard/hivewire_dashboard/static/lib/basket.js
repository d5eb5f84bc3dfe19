/** Edits that are staged to be written together. In memory only; leaving the page warns. */

import {effect, signal} from "../vendor/preact.js";
import {keyOf} from "./drafts.js";

/**
 * What is staged, by name and layer: what will be there (`value` and `contentType`, or `undefined` to delete it), and the version
 * it was made from, with the value of then.
 *
 * @type {import("../vendor/preact.js").Signal<Map<string, {name: string, layer?: string, value: string | undefined,
 *   contentType: string | undefined, base: number, before: string | undefined, description?: string}>>}
 */
export const staged = signal(new Map());

/** Add edits, or replace those of the same configurations. */
export function stage(edits) {
  const all = new Map(staged.peek());
  for (const edit of edits) all.set(keyOf(edit.name, edit.layer), edit);
  staged.value = all;
}

/** Take one out, or all. */
export function unstage(edit) {
  const all = new Map(edit ? staged.peek() : []);
  if (edit) all.delete(keyOf(edit.name, edit.layer));
  staged.value = all;
}

const warn = (event) => event.preventDefault();
effect(() => {
  if (staged.value.size) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
