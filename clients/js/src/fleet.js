/**
 * Fleets (`@hivewire/client/fleet`): a device that follows its configurations and reports what it has applied, and
 * counts and rollouts for all devices (fleet.md).
 */

import {text} from "./codecs.js";
import {Device, MEMORY} from "./device.js";
import {Busy, Unavailable} from "./errors.js";
import {Queue} from "./watch.js";

/** @typedef {import("./hivewire.js").Hivewire} Hivewire */
/** @typedef {import("./hivewire.js").CallOptions} CallOptions */
/** @typedef {import("./device.js").Configuration} Configuration */
/** @typedef {import("./device.js").DeviceCache} DeviceCache */

/**
 * The devices for which all members hold.
 *
 * @typedef {object} Target
 * @property {number[]} [networkIds]
 * @property {number[]} [deviceTypeIds]
 * @property {string[]} [deviceIds]
 * @property {Record<string, string[] | null>} [labels] each label with one of these values; null: without the label
 * @property {number} [percent]
 */

/**
 * When a rollout advances, and when it is held or rolled back.
 *
 * @typedef {object} Gate
 * @property {number} [success] percent of the reached devices that must have applied
 * @property {number} [failures] failed devices that are tolerated in any case
 * @property {number} [minimum] devices to be reached
 * @property {number} [wait] shortest time of a step in seconds
 * @property {number} [limit] longest time of a step in seconds
 * @property {number} [silent] seconds without an answer after which a device has failed
 * @property {"hold" | "rollback"} [onFailure]
 */

/** @typedef {Pick<Target, "percent" | "labels" | "deviceIds"> & {gate?: Gate}} Step */
/** @typedef {"scheduled" | "running" | "held" | "completed" | "rolledBack" | "failed"} RolloutState */
/** @typedef {"applied" | "refused" | "pending" | "local"} DeviceState */
/** @typedef {Record<"reached" | "applied" | "refused" | "silent" | "waiting" | "overridden", number>} RolloutCounts */

/**
 * @typedef {object} RolloutStatus
 * @property {number} rollout its number
 * @property {string} layer
 * @property {RolloutState} state
 * @property {number} step from 1
 * @property {Step[]} steps
 * @property {Gate} gate of this step
 * @property {{operation: "put" | "delete", name: string, value?: string, contentType?: string}[]} changes
 * @property {string | null} reason
 * @property {RolloutCounts} counts
 * @property {string} since
 * @property {string | null} at
 * @property {string | null} author
 * @property {number} revision
 */

/**
 * An effective configuration of a device, and what the device has reported of it.
 *
 * @typedef {Omit<Configuration, "applied" | "refused"> & {
 *   layer: string | null, entityVersion: number, state: DeviceState, hidden?: string[], rollout?: number,
 *   reported?: {tag?: string | null, error?: string, value?: string},
 * }} Effective
 */

/** @typedef {Record<"applied" | "refused" | "pending" | "local", number>} Counts */
/** @typedef {Counts & {devices: number, online: number, names?: (Counts & {name: string})[], errors: {name: string, error: string, devices: number}[]} & Partial<RolloutCounts>} FleetCounts */
/** @typedef {{deviceId: string, networkId: number, deviceTypeId: number, labels: Record<string, string>, online: boolean, state: DeviceState, errors: Record<string, string>}} FleetRow */

const OVER = /^(completed|rolledBack|failed)$/;

/** @param {Hivewire} hw */
export function fleet(hw) {
  return {
    /**
     * A device, with its own token: `for await (const change of device("pump-1").configuration()) ...`.
     *
     * @param {string} deviceId
     * @param {{cache?: DeviceCache}} [options] `cache`: its store, with which it resumes after a restart
     */
    device: (deviceId, {cache = MEMORY} = {}) => new Device(hw, deviceId, cache),

    /**
     * The effective configurations of a device, their layers, and what it has reported of them (fleet.md, 3).
     *
     * @param {string} deviceId
     * @param {{names?: string[]} & CallOptions} [options]
     * @returns {Promise<{layers: string[], configurations: Effective[], revision: number}>} rejects with NotFound
     */
    effective: (deviceId, {names, ...options} = {}) =>
      /** @type {Promise<any>} */ (hw.call("device/effective", {deviceId, names}, {repeat: true, ...options})),

    /**
     * Give new values to more and more devices of a layer, and write them into it on success (fleet.md, 6).
     *
     * @param {string} layer
     * @param {Record<string, any>} changes the new values by name; null deletes
     * @param {(number | Step)[]} steps a number is a percentage; the last is 100
     * @param {{gate?: Gate, salt?: string, at?: number | string, as?: import("./codecs.js").Codec<any>} & CallOptions} [options]
     *   `as` when the values are not strings, such as `json()`
     * @returns {Promise<Rollout>} rejects with Conflict when another rollout holds one of the names
     */
    async startRollout(layer, changes, steps, {gate, salt, at, as = text(), ...options} = {}) {
      const {contentType} = as;
      const request = {
        layer,
        changes: Object.entries(changes).map(([name, value]) =>
          value === null ? {operation: "delete", name} : {operation: "put", name, value: as.encode(value), contentType},
        ),
        steps: steps.map((each) => (typeof each === "number" ? {percent: each} : each)),
        ...{gate, salt, at},
      };
      return new Rollout(hw, (await hw.call("rollout/start", request, options)).rollout);
    },

    /** The rollout with this number. @param {number} number */
    rollout: (number) => new Rollout(hw, number),

    /**
     * The counts of the devices in reach, and with `rows` so many of them by id, at most once a second (fleet.md, 9).
     * Whoever reads slowly gets the latest.
     *
     * @param {{target?: Target, names?: string[], rollout?: number, state?: DeviceState, rows?: number, signal?: AbortSignal}} [options]
     * @returns {AsyncGenerator<{counts: FleetCounts, rows: Map<string, FleetRow>}, void, undefined>}
     */
    async *watchFleet({signal, ...members} = {}) {
      /** @type {Queue<{counts: FleetCounts, rows: Map<string, FleetRow>}>} */
      const queue = new Queue();
      /** @type {any} */
      let counts;
      /** @type {Map<string, FleetRow>} */
      let rows = new Map();
      const take = (/** @type {import("./subscription.js").Group} */ {frames, reset}) => {
        if (reset) rows = new Map();
        for (const {action, subscriptionId, entered = [], changed = [], left = [], ...rest} of frames) {
          if (action === "fleet/count") counts = rest;
          for (const row of [...entered, ...changed]) rows.set(row.deviceId, row);
          for (const {deviceId} of left) rows.delete(deviceId);
        }
        queue.waiting.length = 0;
        if (counts) queue.add({counts, rows: new Map(rows)});
      };
      const stop = hw.follow("fleet/subscribe", members, take, (error) => queue.finish(error));
      yield* ended(hw, queue, signal, stop);
    },
  };
}

/** New values that more and more devices of a layer get, before the layer is written (fleet.md, 6). */
export class Rollout {
  #hw;

  /** @param {Hivewire} hw @param {number} number */
  constructor(hw, number) {
    this.#hw = hw;
    this.number = number;
  }

  /** Its current state. @param {CallOptions} [options] @returns {Promise<RolloutStatus>} rejects with NotFound */
  async get(options) {
    return (await this.#call("get", options)).rollout;
  }

  /** Pause it: no further devices get the new values. @param {CallOptions} [options] */
  async hold(options) {
    await this.#call("hold", options);
  }

  /** Resume it; earlier failures do not count any more. @param {{step?: number} & CallOptions} [options] `step`: go to this step, without gates */
  async resume({step, ...options} = {}) {
    await this.#call("resume", options, {step});
  }

  /**
   * End it: its devices get the values of the layer again.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<void>} rejects with Conflict when it is completed: `reply.changes` would undo it
   */
  async rollback(options) {
    await this.#call("rollback", options);
  }

  /**
   * Its current state, and then each new state or new counts, until it has ended.
   *
   * @param {{signal?: AbortSignal, interval?: number}} [options] how often to look, in milliseconds: 1,000 when absent
   * @returns {AsyncGenerator<RolloutStatus, void, undefined>}
   */
  async *follow({signal, interval = 1_000} = {}) {
    for (let last = ""; !signal?.aborted; await pause(interval, signal)) {
      const found = await this.get(signal && {signal}).catch((error) => {
        // Ask again when the gateway is busy or cannot be reached.
        if (!signal?.aborted && !(error instanceof Busy || error instanceof Unavailable)) throw error;
      });
      const now = JSON.stringify(found);
      if (!found || now === last) continue;
      last = now;
      yield found;
      if (OVER.test(found.state)) return;
    }
  }

  /** @param {string} verb @param {CallOptions} [options] @param {object} [members] */
  #call(verb, options, members) {
    return this.#hw.call(`rollout/${verb}`, {rollout: this.number, ...members}, options);
  }
}

/**
 * Read a queue until the client is closed.
 *
 * @template T
 * @param {Hivewire} hw
 * @param {Queue<T>} queue
 * @param {AbortSignal | undefined} signal
 * @param {() => void} stop
 */
function ended(hw, queue, signal, stop) {
  const look = () => hw.state === "closed" && queue.finish();
  const off = hw.on("state", look);
  look();
  return queue.read(signal, () => {
    stop();
    off();
  });
}

/** @param {number} milliseconds @param {AbortSignal} [signal] ends it early */
function pause(milliseconds, signal) {
  return /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const timer = setTimeout(done, milliseconds);
      signal?.addEventListener("abort", done);
      function done() {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      }
    })
  );
}
