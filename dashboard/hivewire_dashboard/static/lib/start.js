/** How far somebody is in the guided start. What screens show of it is in screens/start.js. */

import {signal} from "../vendor/preact.js";
import {hw} from "./gateway.js";

/** The configuration with which it is tried. */
export const EXAMPLE = "start.hello";

const reachedSteps = signal(new Set());

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
