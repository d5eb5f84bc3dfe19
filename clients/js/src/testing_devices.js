/** What a fake gateway knows of devices: what each should have, and what it says of that (fleet.md, 4 and 5). */

/** @typedef {Record<string, any>} Frame */

/** How the names of the layers begin that a fake gateway has: each is for one device. */
const LAYER = "device/";

export class Devices {
  /** @type {Map<string, Map<string, Frame>>} what each device should have, by name */
  #desired = new Map();
  /** @type {Map<string, Map<string, Frame>>} what each device says, by name */
  #reports = new Map();

  /**
   * Write what a device should have; null: no more.
   *
   * @param {string} layer `device/ID`
   * @param {string} name
   * @param {string | null} value
   * @param {string} [contentType]
   * @returns {{deviceId: string, configuration: Frame} | undefined} what the device is told; undefined without such a
   *   layer
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

  /** What a device should have. @param {string} deviceId @param {(name: string) => boolean} matches */
  state(deviceId, matches) {
    return sorted([...of(this.#desired, deviceId).values()].filter(({name}) => matches(name)));
  }

  /** A device says something; `complete`: of other names it has nothing. @param {string} deviceId @param {Frame[]} report @param {boolean} [complete] */
  report(deviceId, report, complete) {
    const said = of(this.#reports, deviceId);
    if (complete) said.clear();
    for (const {name, ...entry} of report) {
      if (entry.tag === null && entry.error === undefined) said.delete(name);
      else said.set(name, entry);
    }
  }

  /** What a device said last, by name. @param {string} deviceId @returns {Frame} */
  reported(deviceId) {
    return Object.fromEntries(of(this.#reports, deviceId));
  }

  /** What a device should have and what it says. @param {string} deviceId @param {(name: string) => boolean} matches @returns {Frame} */
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

/** How a device stands with a name (fleet.md, 5). @param {string | null} tag @param {Frame} [said] */
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

/** 12 characters that stand for a content: two hashes (FNV-1a). @param {string} contentType @param {string} value */
function tagOf(contentType = "", value) {
  return [0x811c9dc5, 0x01000193].map((hash) => {
    for (const character of `${contentType}\0${value}`) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
    return hash.toString(36).padStart(7, "0").slice(-6);
  }).join("");
}
