/**
 * The names in the client's memory, sorted, and their latest changes: the data of tables, folders and searches. Long work
 * is done in slices, so that the page stays responsive. Changes are drawn once a frame.
 */

import {signal} from "../vendor/preact.js";

const SLICE = 8;
/** Milliseconds for which a deleted name stays in the table. */
const GHOST = 5_000;
/** Milliseconds for which a change is marked. */
export const MARKED = 12_000;
/** Changes at a time above which all names are sorted again. */
const BULK = 2_000;

/** The first index whose name is not before `name`. */
export function position(sorted, name) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first index after all names that begin with `prefix`. */
export function ending(sorted, prefix, from = 0) {
  let low = from;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < prefix || sorted[middle].startsWith(prefix)) low = middle + 1;
    else high = middle;
  }
  return low;
}

const breathe = () => new Promise((resolve) => setTimeout(resolve));

/** Call `step` for each index below `count`, in slices of time; false when `stopped` says so. */
async function sliced(count, step, stopped) {
  let began = performance.now();
  for (let index = 0; index < count; index++) {
    step(index);
    if ((index & 255) === 255 && performance.now() - began > SLICE) {
      await breathe();
      if (stopped()) return false;
      began = performance.now();
    }
  }
  return !stopped();
}

/** A sorted copy: runs that can be sorted within a slice, then merged in pairs. */
async function sorted(list, compare, stopped) {
  const RUN = 4_096;
  let runs = [];
  for (let start = 0; start < list.length; start += RUN) {
    runs.push(list.slice(start, start + RUN).sort(compare));
    await breathe();
    if (stopped()) return undefined;
  }
  while (runs.length > 1) {
    const merged = [];
    for (let index = 0; index < runs.length; index += 2) {
      const [left, right = []] = [runs[index], runs[index + 1]];
      const both = new Array(left.length + right.length);
      let [l, r] = [0, 0];
      const whole = await sliced(both.length, (at) => {
        both[at] = r >= right.length || (l < left.length && compare(left[l], right[r]) <= 0) ? left[l++] : right[r++];
      }, stopped);
      if (!whole) return undefined;
      merged.push(both);
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export class Names {
  /** Sorted by code units. The array is changed in place. */
  sorted = [];
  /** Increases with each frame in which something has changed. */
  version = signal(0);
  /** The same, at most twice a second: for data that is expensive to compute. */
  slow = signal(0);
  /** Whether all names have been sorted once. */
  ready = signal(false);
  /** While paused, the number of changes since. */
  paused = signal(undefined);
  #marks = new Map();
  #ghosts = new Map();
  #held = new Map();
  #drawing = false;
  #slowing = false;
  #generation = 0;
  #sorting = false;

  constructor(hw) {
    this.hw = hw;
  }

  /** Take a new state of the client, and mark its changes unless it is the first one. */
  async reset(changes) {
    if (this.ready.peek()) for (const change of changes) this.#mark(change);
    await this.#sort();
  }

  /** Take a group of changes, which the client has applied already. */
  async apply(changes) {
    for (const change of changes) this.#mark(change);
    if (this.#sorting || changes.length > BULK) return this.#sort();
    for (const {name, operation} of changes) if (operation === "put") this.#insert(name);
    this.#draw();
  }

  #mark(change) {
    const {name, operation, previous} = change;
    const at = Date.now();
    this.#marks.set(name, {at, operation});
    if (this.paused.peek() !== undefined) {
      if (!this.#held.has(name)) this.#held.set(name, previous);
      this.paused.value += 1;
    }
    if (operation === "put") this.#ghosts.delete(name);
    else {
      this.#ghosts.set(name, previous);
      setTimeout(() => this.#bury(name, at), GHOST);
    }
    // Old marks come first, because maps are in the order of insertion. So the loop ends at the first recent one.
    this.#marks.delete(name);
    this.#marks.set(name, {at, operation});
    for (const [old, mark] of this.#marks) {
      if (at - mark.at < MARKED) break;
      this.#marks.delete(old);
    }
  }

  #insert(name) {
    const at = position(this.sorted, name);
    if (this.sorted[at] !== name) this.sorted.splice(at, 0, name);
  }

  #bury(name, at) {
    if (this.#marks.get(name)?.at !== at && this.#marks.has(name)) return;
    this.#ghosts.delete(name);
    if (this.paused.peek() === undefined) this.#remove(name);
  }

  #remove(name) {
    const at = position(this.sorted, name);
    if (this.sorted[at] === name && !this.hw.get(name)) this.sorted.splice(at, 1);
    this.#draw();
  }

  async #sort() {
    const generation = ++this.#generation;
    this.#sorting = true;
    const found = await sorted([...this.hw.names()], byName, () => generation !== this.#generation);
    if (!found) return;
    this.#sorting = false;
    this.sorted = found;
    for (const name of this.#ghosts.keys()) this.#insert(name);
    this.ready.value = true;
    this.#draw();
  }

  #draw() {
    if (!this.#slowing) {
      this.#slowing = true;
      setTimeout(() => {
        this.#slowing = false;
        this.slow.value += 1;
      }, 500);
    }
    if (this.#drawing || this.paused.peek() !== undefined) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.version.value += 1;
    });
  }

  /** Freeze the table at its current state, until it is called again. */
  pause() {
    const names = [...this.#held.keys()];
    this.#held.clear();
    this.paused.value = this.paused.peek() === undefined ? 0 : undefined;
    for (const name of names) if (!this.hw.get(name)) this.#remove(name);
    this.#draw();
  }

  /** A row of the table: the entry, the mark of a recent change, and whether it is deleted. */
  row(name) {
    const paused = this.paused.peek() !== undefined && this.#held.has(name);
    const entry = paused ? this.#held.get(name) : this.hw.get(name);
    const mark = paused ? undefined : this.#marks.get(name);
    if (entry) return {name, entry, mark: mark && Date.now() - mark.at < MARKED ? mark : undefined, gone: false};
    return {name, entry: this.#ghosts.get(name), mark, gone: !paused};
  }

  /** The folders directly below a prefix, each with the number of names below it. */
  folders(prefix, delimiter, most = 500) {
    const {sorted} = this;
    const found = [];
    let at = position(sorted, prefix);
    const end = ending(sorted, prefix, at);
    while (at < end && found.length < most) {
      const cut = sorted[at].indexOf(delimiter, prefix.length);
      if (cut < 0) at += 1;
      else {
        const folder = sorted[at].slice(0, cut + delimiter.length);
        const next = ending(sorted, folder, at);
        found.push({prefix: folder, label: folder.slice(prefix.length, -delimiter.length), count: next - at});
        at = next;
      }
    }
    return {folders: found, more: at < end && found.length >= most};
  }

  /** The names for which `matches` holds, sorted; undefined when it was `stopped`. */
  async filter(matches, compare, stopped) {
    const all = this.sorted.slice();
    const found = [];
    const whole = await sliced(all.length, (at) => matches(all[at]) && found.push(all[at]), stopped);
    return whole ? (compare ? sorted(found, compare, stopped) : found) : undefined;
  }
}
