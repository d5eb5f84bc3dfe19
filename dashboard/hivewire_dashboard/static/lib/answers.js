/** Writes of edits whose answer was lost: whether they were carried out is looked up, so that nobody writes them twice. */

import {hw, me} from "./gateway.js";

/** Most changes of a name that are looked at. */
const MOST = 20;

/** The change of a name right after the one that an edit is based on, if this user has made it and it is this edit. */
async function made({name, layer, base, value}) {
  const changes = await hw.history(name, {layer, take: MOST});
  const gone = changes.findIndex(({operation}) => operation === "delete");
  const alive = gone < 0 ? changes : changes.slice(0, gone);
  // A new name begins at version 1, also after it was deleted.
  const at = base ? changes.findIndex(({revision}) => revision === base) - 1 : alive.findIndex(({entry}) => entry?.version === 1);
  const change = changes[at];
  if (change === undefined || change.modifiedBy !== me.peek()?.login) return undefined;
  const same = value === undefined ? change.operation === "delete" : change.entry?.value === value;
  return same ? change : undefined;
}

/**
 * The result of `write`, which writes edits together. If its answer was lost, but all of them were written, that of `found`
 * with the change of the first; if this is not known, it rejects as `write`. A value that is not shown is null, a deleted
 * one undefined.
 */
export async function answered(edits, write, found = (change) => change.entry) {
  try {
    return await write();
  } catch (error) {
    if (error.name !== "Uncertain") throw error;
    const [first, last] = await Promise.all([made(edits[0]), made(edits.at(-1))]).catch(() => []);
    if (first === undefined || first.revision !== last?.revision) throw error;
    return found(first);
  }
}
