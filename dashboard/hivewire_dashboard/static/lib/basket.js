/** Edits that are staged to be written together. In memory only; leaving the page warns. */

import {effect, signal} from "../vendor/preact.js";
import {keyOf} from "./drafts.js";
import {hw} from "./gateway.js";

/**
 * The staged edits, by name and layer: the new configuration (`value` and `contentType`, or `undefined` to delete it), and
 * the version that was edited, with its value.
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

/** Remove one edit, or all. */
export function unstage(edit) {
  const all = new Map(edit ? staged.peek() : []);
  if (edit) all.delete(keyOf(edit.name, edit.layer));
  staged.value = all;
}

/**
 * Why the gateway would refuse changes of one transaction: messages by index, at most `most`. The gateway names only the
 * first change that it refuses, so it is asked again without that one.
 */
export async function refusals(changes, most = Infinity) {
  const found = new Map();
  let open = [...changes.keys()];
  while (open.length && found.size < most) {
    try {
      await hw.transact(open.map((index) => changes[index]), undefined, {dryRun: true});
      break;
    } catch (error) {
      const at = error.index ?? error.reply?.index;
      if (at === undefined) throw error;
      found.set(open[at], error.message.replace(/^changes\[\d+\]: /, ""));
      open = open.toSpliced(at, 1);
    }
  }
  return found;
}

const warn = (event) => event.preventDefault();
effect(() => {
  if (staged.value.size) addEventListener("beforeunload", warn);
  else removeEventListener("beforeunload", warn);
});
