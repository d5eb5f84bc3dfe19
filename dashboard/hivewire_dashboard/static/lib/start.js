/** How far somebody is in the guided start. What screens show of it is in screens/start.js. */

import {signal} from "../vendor/preact.js";
import {hw, names} from "./gateway.js";
import {below} from "./scope.js";
import {may} from "./session.js";
import {settings} from "./settings.js";

/** The configuration with which it is tried. */
export const EXAMPLE = "start.hello";

/** How each step ended: `done` or `skipped`. */
const reachedSteps = signal(new Map());

let untouched = false;

/** Whether the steps are shown: to who asked for them, and at first on a gateway that nobody has used yet. */
export function guided() {
  untouched ||= names.ready.value && below() === undefined && names.sorted.every((name) => name === EXAMPLE);
  const {start} = settings.value;
  return (start === "again" || (start && untouched)) && may("ManageConfiguration");
}

/** A screen says that a step was done; somebody may skip it. */
export function reached(step, how = "done") {
  if (reachedSteps.peek().get(step) !== "done") reachedSteps.value = new Map(reachedSteps.peek()).set(step, how);
}

/** How the steps ended that did, by name: those about the value are seen by it. */
export function progress() {
  const version = hw.get(EXAMPLE)?.version ?? 0;
  const done = new Map(reachedSteps.value);
  if (version >= 1) done.set("make", "done");
  if (version >= 2) done.set("watch", "done");
  return done;
}
