/**
 * Devices, their commands and their notifications (`@hivewire/client/devices`), over all connections: a follower
 * resumes by position, so it misses nothing and gets nothing twice.
 */

import {NotReady} from "./errors.js";
import {MOST_UNREAD, Queue} from "./watch.js";

/** @typedef {import("./hivewire.js").Hivewire} Hivewire */
/** @typedef {import("./hivewire.js").CallOptions} CallOptions */
/** @typedef {Record<string, any>} Frame */

/**
 * @typedef {object} Command
 * @property {number} id
 * @property {string} command its name
 * @property {string} deviceId
 * @property {any} parameters
 * @property {string | null} status
 * @property {any} result
 * @property {string} timestamp
 * @property {string} lastUpdated
 */

/**
 * A command that a device has to carry out.
 *
 * @typedef {Command & {
 *   done: (result?: object, status?: string) => Promise<void>,
 *   failed: (reason: string) => Promise<void>,
 * }} Task
 */

/**
 * @typedef {object} Notification
 * @property {number} id
 * @property {string} notification its name
 * @property {string} deviceId
 * @property {any} parameters
 * @property {string} timestamp
 */

/** @typedef {{id: string, name: string, data: any, networkId: number, deviceTypeId: number, isBlocked: boolean, online?: boolean, lastSeen?: string | null}} Device */

/**
 * Which devices are meant: one, or those of networks and types; all that the token reaches when absent.
 *
 * @typedef {{deviceId?: string, networkIds?: number[], deviceTypeIds?: number[]}} Scope
 */

/** @typedef {{names?: string[], since?: string, signal?: AbortSignal}} Following `since`: a position to resume after */

/** @param {Hivewire} hw */
export function devices(hw) {
  return {
    /**
     * The commands for devices, as they come: `for await (const task of commands({deviceId})) await task.done()`. They
     * include those that were sent while there was no connection; after a restore of a backup, those that are kept come
     * again. Give the `position` of the iterator as `since` to a
     * later one. While too many are unread, no more are fetched.
     *
     * @param {Scope & Following} [options]
     */
    commands: (options = {}) => messages(hw, "command", options, (command) => task(hw, command)),

    /** The updates of commands. @param {Scope & Following} [options] */
    updates: (options = {}) => messages(hw, "command", {...options, returnUpdatedCommands: true}, (each) => /** @type {Command} */ (each)),

    /** @param {Scope & Following} [options] */
    notifications: (options = {}) => messages(hw, "notification", options, (each) => /** @type {Notification} */ (each)),

    /**
     * Insert a notification of a device. It has a key, so that it is inserted once even if it has to be sent again.
     *
     * @param {string} deviceId
     * @param {string} name
     * @param {object} [parameters]
     * @param {CallOptions} [options]
     * @returns {Promise<Frame>} its id and time
     */
    async notify(deviceId, name, parameters, options) {
      const members = {deviceId, notification: {notification: name, parameters}, idempotencyKey: key()};
      return (await hw.call("notification/insert", members, {...options, repeat: true})).notification;
    },

    /**
     * Send a command. It has a key, so that it is inserted once even if it has to be sent again.
     *
     * @param {string} deviceId
     * @param {string} name
     * @param {object} [parameters]
     * @param {CallOptions & {expiresIn?: number}} [options] `expiresIn`: seconds after which it is not delivered any more
     */
    send: (deviceId, name, parameters, options) => send(hw, deviceId, name, parameters, options),

    /**
     * The devices that the token reaches, kept up to date: `all`, by id. `stop` ends it.
     *
     * @param {Scope & {presence?: boolean}} scope `presence`: also which are online
     * @param {(all: Map<string, Device>) => void} told called at each change, always with the same map
     * @param {(error: Error) => void} [fail]
     */
    follow(scope, told, fail) {
      /** @type {Map<string, Device>} */
      const all = new Map();
      const stop = hw.follow("device/subscribe", scope, (group) => told(applied(all, group)), fail);
      return {all, stop};
    },
  };
}

/** @param {Map<string, Device>} all @param {import("./subscription.js").Group} group */
function applied(all, {reset, frames}) {
  if (reset) all.clear();
  for (const {devices = [], deviceId, operation, device, online, lastSeen} of frames) {
    for (const each of devices) all.set(each.id, each);
    const known = all.get(deviceId);
    if (operation === "delete") all.delete(deviceId);
    else if (operation) all.set(deviceId, device);
    else if (known) all.set(deviceId, {...known, online, lastSeen});
  }
  return all;
}

/**
 * @template T
 * @param {Hivewire} hw
 * @param {"command" | "notification"} noun
 * @param {Scope & Following & {returnUpdatedCommands?: boolean}} options
 * @param {(message: any) => T} made
 * @returns {AsyncGenerator<T, void, undefined> & {readonly position: string | undefined}}
 */
function messages(hw, noun, {signal, ...members}, made) {
  /** @type {Queue<{message: T, position: string | undefined}>} */
  const queue = new Queue();
  let [position, reached] = [members.since, members.since];
  /** @type {(() => void) | undefined} undefined while too much is unread */
  let stop;
  const follow = () => {
    const request = {resumable: true, ...members, ...(reached && {since: reached})};
    stop = hw.follow(`${noun}/subscribe`, request, take, (error) => queue.finish(error));
  };
  const take = (/** @type {import("./subscription.js").Group} */ {frames}) => {
    for (const frame of frames) {
      reached = frame.position ?? reached;
      if (frame[noun]) queue.add({message: made(frame[noun]), position: frame.position});
    }
    if (queue.waiting.length < MOST_UNREAD || !reached) return;
    stop?.();
    stop = undefined;
  };
  follow();
  const look = () => hw.state === "closed" && queue.finish();
  const off = hw.on("state", look);
  look();
  async function* read() {
    const end = () => {
      stop?.();
      off();
    };
    for await (const found of queue.read(signal, end)) {
      position = found.position ?? position;
      yield found.message;
      if (!stop && !queue.waiting.length) follow();
    }
  }
  return Object.defineProperty(/** @type {any} */ (read()), "position", {get: () => position});
}

/** @param {Hivewire} hw @param {Command} command @returns {Task} */
function task(hw, command) {
  const {deviceId, id: commandId} = command;
  const update = async (/** @type {string} */ status, /** @type {object | undefined} */ result) => {
    await hw.call("command/update", {deviceId, commandId, command: {status, result}}, {repeat: true});
  };
  return {
    ...command,
    done: (result, status = "done") => update(status, result),
    failed: (reason) => update("failed", {reason}),
  };
}

/** An idempotency key. `randomUUID` exists in secure contexts only. */
const key = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/**
 * @param {Hivewire} hw
 * @param {string} deviceId
 * @param {string} name
 * @param {object} [parameters]
 * @param {CallOptions & {expiresIn?: number}} [options]
 */
async function send(hw, deviceId, name, parameters, {expiresIn, ...options} = {}) {
  const members = {deviceId, command: {command: name, parameters}, idempotencyKey: key(), expiresIn};
  const {command} = await hw.call("command/insert", members, {...options, repeat: true});
  const commandId = command.id;
  return {
    ...command,
    /**
     * The command after its next update.
     *
     * @param {CallOptions} [options] `timeout`: milliseconds, 30,000 when absent
     * @returns {Promise<Command>} rejects with NotReady when it is not updated in time
     */
    async answer({timeout = 30_000, signal} = {}) {
      const late = AbortSignal.timeout(timeout);
      const ended = signal ? AbortSignal.any([signal, late]) : late;
      /** @type {(() => void) | undefined} */
      let stop;
      const updated = new Promise((resolve, reject) => {
        const take = (/** @type {import("./subscription.js").Group} */ {frames}) => {
          for (const {command: each} of frames) if (each?.id === commandId) resolve(each);
        };
        stop = hw.follow("command/subscribe", {deviceId, returnUpdatedCommands: true, resumable: true}, take, reject);
        ended.addEventListener("abort", () => reject(ended.reason));
      });
      // Subscribe first, so that one of the two sees an update that comes between them.
      const now = hw.call("command/get", {deviceId, commandId}, {timeout, signal: ended}).then(({command: found}) => {
        return found.lastUpdated !== found.timestamp || found.status !== null ? found : updated;
      });
      try {
        return await Promise.race([updated, now]);
      } catch (error) {
        if (late.aborted) throw new NotReady(`command ${commandId} was not answered in ${timeout} ms`);
        throw error;
      } finally {
        stop?.();
      }
    },
  };
}
