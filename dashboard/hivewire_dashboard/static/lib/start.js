/** The progress of the guided start. Its display is in screens/start.js. */

import {signal} from "../vendor/preact.js";
import {hw, names} from "./gateway.js";
import {below} from "./scope.js";
import {may} from "./session.js";
import {settings} from "./settings.js";

/** The configuration of the guided start. */
export const EXAMPLE = "start.hello";

/** How each step ended: `done` or `skipped`. */
const reachedSteps = signal(new Map());

let untouched = false;

/** Whether the steps are shown: when the user asked for them, and on a gateway that has not been used yet. */
export function guided() {
  untouched ||= names.ready.value && below() === undefined && names.sorted.every((name) => name === EXAMPLE);
  const {start} = settings.value;
  return (start === "again" || (start && untouched)) && may("ManageConfiguration");
}

/** Note that a step is done, or that the user skips it. */
export function reached(step, how = "done") {
  if (reachedSteps.peek().get(step) !== "done") reachedSteps.value = new Map(reachedSteps.peek()).set(step, how);
}

/** How the finished steps ended, by name. The version of the example shows those that write it. */
export function progress() {
  const version = hw.get(EXAMPLE)?.version ?? 0;
  const done = new Map(reachedSteps.value);
  if (version >= 1) done.set("make", "done");
  if (version >= 2) done.set("watch", "done");
  return done;
}
