/** The devices of a fake gateway: the effective configurations and the reports of each (fleet.md, 4 and 5). */

/** @typedef {Record<string, any>} Frame */

/** The beginning of the names of the layers of a fake gateway: each layer is for one device. */
const LAYER = "device/";

/** The states, the worst first. */
const WORST = ["refused", "pending", "local", "applied"];

export class Devices {
  /** @type {Set<string>} the devices that were saved */
  #saved = new Set();
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

  /** The devices that were saved, should have something, or have reported something. @returns {string[]} */
  ids() {
    const filled = (/** @type {Map<string, Map<string, Frame>>} */ all) => [...all].filter(([, {size}]) => size).map(([id]) => id);
    return [...new Set([...this.#saved, ...filled(this.#desired), ...filled(this.#reports)])].sort();
  }

  /** @param {string} deviceId */
  save(deviceId) {
    this.#saved.add(deviceId);
  }

  /** @param {string} deviceId */
  delete(deviceId) {
    for (const kept of [this.#saved, this.#desired, this.#reports]) kept.delete(deviceId);
  }

  /** A device and its worst state. @param {string} deviceId @param {(name: string) => boolean} matches @param {boolean} online */
  row(deviceId, matches, online) {
    const {configurations} = this.effective(deviceId, matches);
    const state = WORST.find((each) => configurations.some((/** @type {Frame} */ found) => found.state === each)) ?? "applied";
    const refused = configurations.filter((/** @type {Frame} */ found) => found.state === "refused");
    const errors = Object.fromEntries(refused.map((/** @type {Frame} */ {name, reported}) => [name, reported.error]));
    return {deviceId, networkId: 1, deviceTypeId: 1, labels: {}, online, state, errors};
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

/** The numbers of devices by their state, and the five most frequent errors. @param {ReturnType<Devices["row"]>[]} rows */
export function counts(rows) {
  const states = Object.fromEntries(WORST.map((state) => [state, rows.filter((row) => row.state === state).length]));
  /** @type {Map<string, {name: string, error: any, devices: number}>} */
  const errors = new Map();
  for (const [name, error] of rows.flatMap((row) => Object.entries(row.errors))) {
    const key = JSON.stringify([name, error]);
    errors.set(key, {name, error, devices: (errors.get(key)?.devices ?? 0) + 1});
  }
  const frequent = [...errors.values()].sort((a, b) => b.devices - a.devices).slice(0, 5);
  return {devices: rows.length, online: rows.filter((row) => row.online).length, ...states, errors: frequent};
}

const NOBODY = {reached: 0, applied: 0, refused: 0, silent: 0, waiting: 0, overridden: 0};
const OVER = ["completed", "rolledBack", "failed"];

/** Rollouts by number. They reach no device, and no gate decides: a test or a client says what becomes of them. */
export class Rollouts {
  /** @type {Map<number, Frame>} */
  #all = new Map();

  /** @param {Frame} request */
  start({layer, changes, steps, gate = {}, salt = "", at = null}) {
    const rollout = this.#all.size + 1;
    const since = new Date().toISOString().slice(0, -1);
    const begun = {state: "running", step: 1, reason: null, counts: NOBODY, since, author: "admin", revision: 0};
    this.#all.set(rollout, {rollout, layer, changes, steps, gate, salt, at, ...begun});
    return rollout;
  }

  /** @param {number} number @returns {Frame | undefined} */
  get(number) {
    return this.#all.get(number);
  }

  /** Give a rollout another state; false when it is over. @param {Frame} found @param {Frame} members */
  decide(found, members) {
    if (OVER.includes(found.state)) return false;
    this.#all.set(found.rollout, {...found, ...members});
    return true;
  }
}
