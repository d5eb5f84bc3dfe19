/** How far somebody is in the guided start. What screens show of it is in screens/start.js. */

import {signal} from "../vendor/preact.js";
import {hw, names} from "./gateway.js";
import {below} from "./scope.js";
import {may} from "./session.js";
import {settings} from "./settings.js";

/** The configuration with which it is tried. */
export const EXAMPLE = "start.hello";

const reachedSteps = signal(new Set());

let untouched = false;

/** Whether the steps are shown: to who asked for them, and at first on a gateway that nobody has used yet. */
export function guided() {
  untouched ||= names.ready.value && below() === undefined && names.sorted.every((name) => name === EXAMPLE);
  const {start} = settings.value;
  return (start === "again" || (start && untouched)) && may("ManageConfiguration");
}

/** A screen says that a step was done. */
export function reached(step) {
  if (!reachedSteps.peek().has(step)) reachedSteps.value = new Set(reachedSteps.peek()).add(step);
}

/** The steps that are done, in their order: those about the value are seen by it. */
export function progress() {
  const version = hw.get(EXAMPLE)?.version ?? 0;
  const done = new Set(reachedSteps.value);
  if (version >= 1) done.add("make");
  if (version >= 2) done.add("watch");
  return done;
}
