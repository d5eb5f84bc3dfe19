/** The target of a layer or of a step of a rollout: in words, and as users type it (fleet.md, 3 and 6). */

import {called, networks, types} from "./fleet.js";

const some = (list, name = String) => (list.length > 5 ? `${list.slice(0, 5).map(name).join(", ")} and ${list.length - 5} more` : list.map(name).join(" or "));

/** All conditions in words; "all devices" without any. */
export function described({networkIds, deviceTypeIds, deviceIds, labels, percent}) {
  const parts = [
    networkIds && `network ${some(networkIds, (id) => called(networks, id))}`,
    deviceTypeIds && `type ${some(deviceTypeIds, (id) => called(types, id))}`,
    deviceIds && `device ${some(deviceIds)}`,
    ...Object.entries(labels ?? {}).map(([name, values]) => (values ? `${name}=${some(values)}` : `without ${name}`)),
  ].filter(Boolean);
  if (percent !== undefined && (percent < 100 || !parts.length)) parts.push(`${percent} % of the devices`);
  return parts.length ? parts.join(", ") : "all devices";
}

/** The lines of a text that are not empty, without spaces around them. */
export const lines = (text) => text.split("\n").map((each) => each.trim()).filter(Boolean);

/** Labels from lines such as `site=bonn`, grouped by label; a label without a value is one that devices must not have. */
export function labelled(text) {
  const labels = new Map(); // a label may be called __proto__
  for (const line of lines(text)) {
    const [name, ...rest] = line.split("=");
    labels.set(name, rest.length ? [...(labels.get(name) ?? []), rest.join("=")] : null);
  }
  return Object.fromEntries(labels);
}

/** Lines from labels. */
export function written(labels = {}) {
  return Object.entries(labels).flatMap(([name, values]) => values?.map((value) => `${name}=${value}`) ?? [name]).join("\n");
}

/** Whether labels can be typed as lines: one with a line break cannot, nor one with = in its name. */
export function typeable(labels = {}) {
  return JSON.stringify(labelled(written(labels))) === JSON.stringify(labels);
}

/** What to say of labels that cannot. */
export const UNTYPEABLE = "These have line breaks, spaces or signs that cannot be typed here: change them with a program.";

/** The target with further labels that its devices must have. */
export function narrowed(target = {}, labels = {}) {
  const both = new Map(Object.entries(target.labels ?? {}));
  for (const [name, values] of Object.entries(labels)) both.set(name, both.get(name) && values ? both.get(name).filter((each) => values.includes(each)) : values);
  return {...target, labels: both.size ? Object.fromEntries(both) : undefined};
}
