/** Which devices are meant, in words and as people write it: the target of a layer, or a step of a rollout (fleet.md, 3 and 6). */

import {called, networks, types} from "./fleet.js";

const some = (list, name = String) => (list.length > 5 ? `${list.slice(0, 5).map(name).join(", ")} and ${list.length - 5} more` : list.map(name).join(" or "));

/** All conditions, which must hold together; "all devices" without any. */
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

/** What is written on lines, without blanks around it. */
export const lines = (text) => text.split("\n").map((each) => each.trim()).filter(Boolean);

/** Lines such as `site=bonn`, those of one label together; a label alone is one that devices must not have. */
export function labelled(text) {
  const labels = {};
  for (const line of lines(text)) {
    const [name, ...rest] = line.split("=");
    if (!rest.length) labels[name] = null;
    else labels[name] = [...(labels[name] ?? []), rest.join("=")];
  }
  return labels;
}

/** The same, the other way round. */
export function written(labels = {}) {
  return Object.entries(labels).flatMap(([name, values]) => values?.map((value) => `${name}=${value}`) ?? [name]).join("\n");
}

/** Of the devices of a target those that also have labels. */
export function narrowed(target = {}, labels = {}) {
  const both = {...target.labels};
  for (const [name, values] of Object.entries(labels)) both[name] = both[name] && values ? both[name].filter((each) => values.includes(each)) : values;
  return {...target, labels: Object.keys(both).length ? both : undefined};
}
