/** Which devices are meant, in words: the target of a layer, or a step of a rollout (fleet.md, 3 and 6). */

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
