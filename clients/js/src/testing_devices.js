/** The devices of a fake gateway: the effective configurations and the reports of each (fleet.md, 4 and 5). */

/** @typedef {Record<string, any>} Frame */

/** The beginning of the names of the layers of a fake gateway: each layer is for one device. */
const LAYER = "device/";

export class Devices {
  /** @type {Map<string, Map<string, Frame>>} the effective configurations of each device, by name */
  #desired = new Map();
  /** @type {Map<string, Map<string, Frame>>} the reports of each device, by name */
  #reports = new Map();

  /**
   * Write an effective configuration of a device; null removes it.
   *
   * @param {string} layer `device/ID`
   * @param {string} name
   * @param {string | null} value
   * @param {string} [contentType]
   * @returns {{deviceId: string, configuration: Frame} | undefined} the push for the device; undefined if the layer
   *   does not exist
   */
  change(layer, name, value, contentType) {
    if (!layer.startsWith(LAYER)) return undefined;
    const deviceId = layer.slice(LAYER.length);
    const typed = value !== null && contentType && {contentType, size: new TextEncoder().encode(value).length};
    const configuration = {name, value, tag: value === null ? null : tagOf(contentType, value), ...typed};
    const desired = of(this.#desired, deviceId);
    if (value === null) desired.delete(name);
    else desired.set(name, configuration);
    return {deviceId, configuration};
  }

  /** The effective configurations of a device. @param {string} deviceId @param {(name: string) => boolean} matches */
  state(deviceId, matches) {
    return sorted([...of(this.#desired, deviceId).values()].filter(({name}) => matches(name)));
  }

  /** Take a report; `complete`: the device has no other names. @param {string} deviceId @param {Frame[]} report @param {boolean} [complete] */
  report(deviceId, report, complete) {
    const said = of(this.#reports, deviceId);
    if (complete) said.clear();
    for (const {name, ...entry} of report) {
      if (entry.tag === null && entry.error === undefined) said.delete(name);
      else said.set(name, entry);
    }
  }

  /** The last report of a device, by name. @param {string} deviceId @returns {Frame} */
  reported(deviceId) {
    return Object.fromEntries(of(this.#reports, deviceId));
  }

  /** The effective configurations of a device, with its reports. @param {string} deviceId @param {(name: string) => boolean} matches @returns {Frame} */
  effective(deviceId, matches) {
    const [desired, said] = [of(this.#desired, deviceId), of(this.#reports, deviceId)];
    const names = [...new Set([...desired.keys(), ...said.keys()])].filter(matches);
    const rows = names.map((name) => {
      const reported = said.get(name);
      const row = desired.has(name) ? {...desired.get(name), layer: LAYER + deviceId} : {name, value: null, tag: null};
      return {...row, state: stateOf(row.tag ?? null, reported), ...(reported && {reported})};
    });
    return {layers: [LAYER + deviceId], configurations: sorted(rows), revision: 0};
  }
}

/** The state of a device for a name (fleet.md, 5). @param {string | null} tag @param {Frame} [said] */
function stateOf(tag, said) {
  if (said && said.tag === undefined) return "local";
  if (!said || said.tag !== tag) return "pending";
  return said.error === undefined ? "applied" : "refused";
}

/** @template T @param {Map<string, Map<string, T>>} all @param {string} key @returns {Map<string, T>} */
function of(all, key) {
  const found = all.get(key) ?? new Map();
  all.set(key, found);
  return found;
}

/** @param {Frame[]} rows */
const sorted = (rows) => rows.sort((a, b) => (a.name < b.name ? -1 : 1));

/** The tag of a content, 12 characters: two hashes (FNV-1a). @param {string} contentType @param {string} value */
function tagOf(contentType = "", value) {
  return [0x811c9dc5, 0x01000193].map((hash) => {
    for (const character of `${contentType}\0${value}`) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
    return hash.toString(36).padStart(7, "0").slice(-6);
  }).join("");
}
