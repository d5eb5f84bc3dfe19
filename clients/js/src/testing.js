/**
 * A gateway in memory, in this process, for the tests of programs: give its `WebSocket` to the client.
 *
 *     const gateway = new FakeGateway();
 *     const hw = new Hivewire(gateway.url, {WebSocket: gateway.WebSocket, token: gateway.token()});
 *
 * It has configurations, tokens, devices and their messages as far as the client needs them, and it fails on demand:
 * `drop`, `drain`, `expire`, `loseHistory`, `down`. Of the rights it checks only name patterns.
 */

import {claims} from "./credentials.js";
import {counts, Devices, Rollouts} from "./testing_devices.js";
import {matcher} from "./watch.js";

/** @typedef {Record<string, any>} Frame */

class Failure extends Error {
  /** @param {number} code @param {string} text @param {object} [members] */
  constructor(code, text, members = {}) {
    super(text);
    this.reply = {status: "error", code, error: text, ...members};
  }
}

const LONGEST_TIMER = 2 ** 31 - 1;

let gateways = 0;
const clock = () => new Date().toISOString().slice(0, -1);
const encoded = (/** @type {object} */ value) => btoa(JSON.stringify(value));

/** One log: frames in order, with positions. */
class Log {
  constructor() {
    this.epoch = Math.random().toString(36).slice(2);
    this.place = 0;
    /** @type {{place: number, frames: Frame[]}[]} */
    this.items = [];
  }

  get position() {
    return this.at(this.place);
  }

  /** @param {number} place */
  at(place) {
    return `${this.epoch}-${place}`;
  }

  /** @param {Frame[]} frames that belong together */
  add(frames) {
    this.items.push({place: ++this.place, frames});
  }

  /** The frames after a position; undefined when the position is not known. @param {string} position */
  since(position) {
    const [, epoch, place] = /^(.*)-(\d+)$/.exec(position) ?? [];
    if (epoch !== this.epoch || Number(place) > this.place) return undefined;
    return this.items.filter((item) => item.place > Number(place));
  }
}

export class FakeGateway {
  #ledger = new Log();
  #messages = {command: new Log(), notification: new Log(), desired: new Log()};
  #devices = new Devices();
  #rollouts = new Rollouts();
  /** @type {Map<string, Frame[]>} the changes of each name, oldest first */
  #changes = new Map();
  /** @type {Set<FakeSocket>} */
  #sockets = new Set();
  #revision = 0;
  #ids = 0;
  #generation = 0;
  #down = false;
  #hushed = false;

  constructor() {
    this.url = `http://gateway-${++gateways}.invalid`;
    const gateway = this;
    /** A WebSocket that connects to this gateway, whatever its address. @type {typeof globalThis.WebSocket} */
    this.WebSocket = /** @type {any} */ (
      class extends FakeSocket {
        /** @param {string} url */
        constructor(url) {
          super(url, gateway);
        }
      }
    );
  }

  /**
   * A token. It lives for an hour, unless `seconds` says otherwise.
   *
   * @param {{seconds?: number, user?: number, names?: string[], refresh?: boolean}} [claims] `names`: patterns
   */
  token({seconds = 3600, user = 1, names, refresh = false} = {}) {
    const now = Date.now();
    const [t, g, c] = [refresh ? 0 : 1, this.#generation, names];
    const payload = {u: user, a: [0], t, i: now, e: now + 1000 * seconds, g, c, id: ++this.#ids};
    return `${encoded({alg: "none"})}.${encoded({payload})}.`;
  }

  // What happens.

  /**
   * Write a configuration, as another client would; null deletes it.
   *
   * @param {string} name
   * @param {string | null} value
   * @param {{contentType?: string, description?: string, modifiedBy?: string, layer?: string}} [options] `layer`:
   *   `device/ID`, for the effective configurations of this device
   * @returns {Frame[]} the changes
   */
  change(name, value, {modifiedBy = "admin", layer, ...members} = {}) {
    if (layer !== undefined) return [this.desire(layer, name, value, members.contentType)];
    const operation = value === null ? "delete" : "put";
    return this.#write([{operation, name, value, ...members}], modifiedBy);
  }

  /** @param {string} layer @param {string} name @param {string | null} value @param {string} [contentType] @returns {Frame} */
  desire(layer, name, value, contentType) {
    const told = this.#devices.change(layer, name, value, contentType);
    if (!told) throw new Failure(404, `Layer '${layer}' not found: a fake gateway has those of devices, device/ID`);
    this.#tell("desired", "update", told);
    this.#census();
    return {operation: value === null ? "delete" : "put", configuration: {name, value, entityVersion: 1, layer}};
  }

  /** The last report of a device, by name. @param {string} deviceId @returns {Frame} */
  reported(deviceId) {
    return this.#devices.reported(deviceId);
  }

  /**
   * A rollout gets another state; `completed` writes it into its layer.
   *
   * @param {number} number
   * @param {"running" | "held" | "completed" | "rolledBack" | "failed"} state
   * @param {{reason?: string | null, step?: number}} [options]
   */
  decide(number, state, {reason = null, step} = {}) {
    const found = this.existingRollout(number);
    if (!this.#rollouts.decide(found, {state, reason, step: step ?? found.step})) {
      throw new Failure(409, `Rollout ${number} has ended: it is ${found.state}`);
    }
    if (state !== "completed") return;
    for (const {name, value = null, contentType} of found.changes) this.desire(found.layer, name, value, contentType);
  }

  /** @param {number} number */
  existingRollout(number) {
    const found = this.#rollouts.get(number);
    if (!found) throw new Failure(404, `Rollout ${number} not found`);
    return found;
  }

  get rollouts() {
    return this.#rollouts;
  }

  /** Everybody who watches the fleet is told what is new. */
  #census() {
    const followed = [...this.#sockets].flatMap((socket) => [...socket.subscriptions.values()]);
    const online = new Set(followed.filter(({noun}) => noun === "desired").map(({members}) => members.deviceId));
    for (const socket of this.#sockets) socket.census(this.#devices, online);
  }

  get devices() {
    return this.#devices;
  }

  /** Insert a command or a notification. @param {"command" | "notification"} noun @param {Frame} message */
  insert(noun, message) {
    const now = clock();
    const blank = {id: ++this.#ids, timestamp: now, parameters: null, networkId: 1, deviceTypeId: 1};
    const [found] = [{...blank, ...(noun === "command" && {lastUpdated: now, status: null, result: null}), ...message}];
    this.#tell(noun, "insert", found);
    return found;
  }

  /** Break every connection. */
  drop() {
    this.close(1006, "");
  }

  /** Close every connection. @param {number} code @param {string} reason */
  close(code, reason) {
    for (const socket of [...this.#sockets]) socket.end(code, reason);
  }

  /** Refuse every connection until `up`. */
  down() {
    this.#down = true;
    this.drop();
  }

  up() {
    this.#down = this.#hushed = false;
  }

  /** Lose everything that the gateway sends until `up`. */
  hush() {
    this.#hushed = true;
  }

  /** Announce a stop to all clients, and close their connections. @param {{alternatives?: string[], retry?: number}} [options] */
  async drain({alternatives = [], retry = 100} = {}) {
    for (const socket of this.#sockets) socket.tell("server/draining", {alternatives, retry});
    await new Promise((resolve) => setTimeout(resolve));
    this.close(1001, `server going away; retry=${retry}`);
  }

  /** Expire all tokens. */
  expire() {
    this.#generation++;
    for (const socket of this.#sockets) socket.pause("Token expired");
  }

  /** Give the ledger and the messages new epochs with the same state, so that all positions become unknown. */
  loseHistory() {
    this.#ledger = new Log();
    this.#messages = {command: new Log(), notification: new Log(), desired: new Log()};
    this.drop();
  }

  // Requests. A handler gets the socket and the members; it returns the members of the reply, or throws Failure.

  /** @param {FakeSocket} socket @param {Frame} request */
  answer(socket, request) {
    const {action, requestId, ...members} = request;
    try {
      const [noun, verb] = action.split("/");
      const open = /^(token.*|authenticate|server\/info)$/.test(action);
      if (!open) this.#admit(socket.token);
      const handler = HANDLERS[action] ?? HANDLERS[`*/${verb}`];
      if (!handler) throw new Failure(400, `Illegal argument: ${action}`);
      const reply = {action, requestId, status: "success", ...handler.call(this, socket, members, noun)};
      queueMicrotask(() => this.#census());
      return reply;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return {action, requestId, ...error.reply};
    }
  }

  /** @param {string} token @param {number} [type] */
  #admit(token, type = 1) {
    const {t, e, g} = claims(token);
    if (!token) throw new Failure(401, "Unauthorized");
    if (t !== type) throw new Failure(401, "Invalid credentials");
    if (e <= Date.now() || (t === 1 && g !== this.#generation)) throw new Failure(401, "Token expired");
  }

  /** @param {string} token @returns {Frame} */
  renew(token) {
    this.#admit(token, 0);
    const {u, c} = claims(token);
    return {accessToken: this.token({user: u, names: c})};
  }

  /** @param {FakeSocket} socket @param {string} token @returns {Frame} */
  authenticate(socket, token) {
    this.#admit(token);
    const [before, now] = [claims(socket.token), claims(token)];
    socket.hold(token);
    if (socket.subscriptions.size && before.u !== now.u) {
      const ended = [...socket.subscriptions.keys()];
      socket.subscriptions.clear();
      return {ended};
    }
    const other = JSON.stringify(before.c) !== JSON.stringify(now.c);
    queueMicrotask(() => socket.resume(other));
    return {};
  }

  /** @param {string} name @param {string} token */
  current(name, token) {
    const {c} = claims(token);
    if (c && !matcher(c)(name)) throw new Failure(403, "Access is denied");
    return this.#changes.get(name)?.at(-1);
  }

  /** @param {string} name @param {string} token */
  existing(name, token) {
    const found = this.current(name, token);
    if (found?.operation !== "put") throw new Failure(404, `Configuration '${name}' not found`);
    return found;
  }

  /** @param {string} name */
  changesOf(name) {
    return this.#changes.get(name) ?? [];
  }

  /** The last change of each existing name. @param {(name: string) => boolean} matches */
  state(matches) {
    const found = [...this.#changes].filter(([name]) => matches(name)).map(([, changes]) => /** @type {Frame} */ (changes.at(-1)));
    return found.filter((change) => change.operation === "put").sort((a, b) => (a.configuration.name < b.configuration.name ? -1 : 1));
  }

  /** @param {FakeSocket} socket @param {Frame[]} writes @param {boolean} [dry] @returns {Frame[]} the changes */
  write(socket, writes, dry) {
    writes.forEach(({operation, name, entityVersion, revision}, index) => {
      const current = this.current(name, socket.token);
      const there = current?.operation === "put" ? current : undefined;
      const version = there?.configuration.entityVersion ?? 0;
      const off = (entityVersion ?? version) !== version || (revision ?? current?.revision) !== current?.revision;
      const text = `Configuration '${name}' is at version ${version}, not ${entityVersion}`;
      if (off) throw new Failure(409, text, {index, change: current ?? null});
      if (operation === "delete" && !there) throw new Failure(404, `Configuration '${name}' not found`, {index});
    });
    return this.#write(writes, "admin", dry);
  }

  /** @param {Frame[]} writes @param {string | null} modifiedBy @param {boolean} [dry] @returns {Frame[]} */
  #write(writes, modifiedBy, dry = false) {
    for (const {expires} of writes) if (expires) moment("expires", expires);
    const revision = this.#revision + 1;
    const changes = writes.map(({operation, name, value, contentType, description = null}) => {
      const last = this.#changes.get(name)?.at(-1);
      const entityVersion = last && last.operation === "put" ? last.configuration.entityVersion + 1 : operation === "put" ? 1 : 0;
      const typed = operation === "put" && contentType && {contentType, size: new TextEncoder().encode(value).length};
      const configuration = {name, value: operation === "put" ? value : null, entityVersion, ...typed};
      return {revision, operation, modified: clock(), modifiedBy, description, configuration};
    });
    if (dry) return changes;
    this.#revision = revision;
    for (const each of changes) this.#changes.set(each.configuration.name, [...this.changesOf(each.configuration.name), each]);
    this.#tell("configuration", "update", ...changes);
    writes.forEach(({ttl, expires}, index) => {
      const time = ttl === undefined ? expires && moment("expires", expires) : Date.now() + 1000 * ttl;
      if (time) later(time, () => this.#expire(/** @type {Frame} */ (changes[index])));
    });
    return changes;
  }

  /** @param {Frame} change */
  #expire(change) {
    const {name} = change.configuration;
    if (this.changesOf(name).at(-1) !== change) return;
    this.#write([{operation: "delete", name, description: "expired"}], null);
  }

  /** Judge writes now, and write them at a time, unless they are refused then. @param {FakeSocket} socket @param {Frame[]} writes @param {string} at */
  schedule(socket, writes, at) {
    this.write(socket, writes, true);
    const work = () => {
      try {
        this.write(socket, writes);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
      }
    };
    later(moment("at", at), work);
    return {schedule: ++this.#ids, revision: this.#revision};
  }

  /** @param {string} noun @param {string} verb @param {Frame[]} found */
  #tell(noun, verb, ...found) {
    const log = this.log(noun);
    const whole = noun === "configuration" || noun === "desired";
    const bodies = found.map((each) => ({action: `${actions(noun)}/${verb}`, ...(whole ? each : {[noun]: each})}));
    log.add(bodies);
    for (const socket of this.#sockets) socket.publish(noun, bodies, log.position);
  }

  /** @param {string} noun */
  log(noun) {
    return /** @type {Record<string, Log>} */ (this.#messages)[noun] ?? this.#ledger;
  }

  /** @param {number} id */
  command(id) {
    const found = this.#messages.command.items.flatMap(({frames}) => frames).filter((frame) => frame.command.id === id).at(-1);
    if (!found) throw new Failure(404, `Command ${id} not found`);
    return found.command;
  }

  /** @param {Frame} command */
  update(command) {
    this.#tell("command", "update", {...command, lastUpdated: clock()});
  }

  /** @param {FakeSocket} socket */
  accept(socket) {
    if (this.#down) return false;
    this.#sockets.add(socket);
    return true;
  }

  /** @param {FakeSocket} socket */
  forget(socket) {
    this.#sockets.delete(socket);
    this.#census();
  }

  get hushed() {
    return this.#hushed;
  }
}

/** The time of a member, in milliseconds since 1970, which is to come. @param {string} name @param {string} text */
function moment(name, text) {
  const found = Date.parse(text);
  if (found <= Date.now()) throw new Failure(400, `${name} must be in the future, a hundred years ahead at most`);
  return found;
}

/** Do something at a time, unless the program has ended. @param {number} time @param {() => void} work */
function later(time, work) {
  const timer = setTimeout(work, Math.min(time - Date.now(), LONGEST_TIMER));
  if (typeof timer === "object") /** @type {any} */ (timer).unref();
}

/** The noun of the actions for a topic: `desired` stands for the effective configurations of devices. @param {string} noun */
const actions = (noun) => (noun === "desired" ? "configuration" : noun);

/** Whether a subscription gets a message of a device. @param {string} noun @param {Frame} members @param {Frame} frame */
function isFor(noun, {deviceId, names, returnUpdatedCommands}, frame) {
  const verb = noun === "command" && returnUpdatedCommands ? "command/update" : `${noun}/insert`;
  const {deviceId: device, [noun]: name} = frame[noun];
  return frame.action === verb && (deviceId ?? device) === device && (!names || names.includes(name));
}

/** @type {Record<string, (this: FakeGateway, socket: FakeSocket, members: Frame, noun: string) => Frame>} */
const HANDLERS = {
  "server/info": () => ({info: {apiVersion: "fake", serverTimestamp: clock()}}),
  token() {
    return {accessToken: this.token(), refreshToken: this.token({refresh: true})};
  },
  "token/refresh"(_, {refreshToken}) {
    return this.renew(refreshToken);
  },
  authenticate(socket, {token}) {
    return this.authenticate(socket, token);
  },
  "configuration/get"(socket, {name, entityVersion, revision}) {
    let found = this.existing(name, socket.token);
    if (entityVersion || revision) {
      const fits = (/** @type {Frame} */ each) => each.revision === revision || each.configuration.entityVersion === entityVersion;
      const earlier = this.changesOf(name).filter(fits).at(-1);
      if (!earlier) throw new Failure(404, `Configuration '${name}' has no such version`);
      found = earlier;
    }
    return {configuration: found.configuration, revision: found.revision};
  },
  "configuration/put"(socket, {dryRun, ...members}) {
    if (members.layer) return {...this.desire(members.layer, members.name, members.value, members.contentType), revision: 0};
    const [change] = this.write(socket, [{operation: "put", ...members}], dryRun);
    return {configuration: change?.configuration, ...(dryRun ? {dryRun} : {revision: change?.revision})};
  },
  "configuration/delete"(socket, {dryRun, ...members}) {
    if (members.layer) return {...this.desire(members.layer, members.name, null), revision: 0};
    const [change] = this.write(socket, [{operation: "delete", ...members}], dryRun);
    return dryRun ? {dryRun} : {revision: change?.revision};
  },
  "configuration/transact"(socket, {changes, dryRun, at}) {
    if (at) return this.schedule(socket, changes, at);
    const done = this.write(socket, changes, dryRun);
    const configurations = done.map((change) => change.configuration);
    return {configurations, ...(dryRun ? {dryRun} : {revision: done[0]?.revision})};
  },
  "configuration/rollback"(socket, {name, to, toRevision, dryRun, ...members}) {
    const fits = (/** @type {Frame} */ each) => each.revision === toRevision || each.configuration.entityVersion === to;
    const earlier = this.changesOf(name).filter(fits).at(-1);
    if (!earlier) throw new Failure(404, `Configuration '${name}' has no such version`);
    const {value, contentType} = earlier.configuration;
    const [change] = this.write(socket, [{operation: "put", name, value, contentType, ...members}], dryRun);
    return {configuration: change?.configuration, ...(dryRun ? {dryRun} : {revision: change?.revision})};
  },
  "configuration/list"(socket, {names = ["*"], take = 1000, after = "", detail}) {
    const found = this.state(allowed(socket.token, names));
    const page = found.filter((change) => change.configuration.name > after).slice(0, take);
    const body = detail ? {changes: page} : {configurations: page.map((change) => change.configuration)};
    return {...body, count: found.length, revision: this.log("configuration").place};
  },
  "configuration/history"(socket, {name, take = 20, before = Infinity}) {
    this.current(name, socket.token);
    const changes = this.changesOf(name).filter((change) => change.revision < before);
    return {changes: changes.reverse().slice(0, take)};
  },
  "device/save"(_, {deviceId}) {
    this.devices.save(deviceId);
    return {};
  },
  "device/delete"(_, {deviceId}) {
    this.devices.delete(deviceId);
    return {};
  },
  "device/report"(_, {deviceId, report, complete}) {
    this.devices.report(deviceId, report, complete);
    return {};
  },
  "device/effective"(_, {deviceId, names = ["*"]}) {
    return this.devices.effective(deviceId, matcher(names));
  },
  "command/insert"(_, {deviceId, command}) {
    return {command: this.insert("command", {...command, deviceId})};
  },
  "command/update"(_, {commandId, command}) {
    this.update({...this.command(commandId), ...command});
    return {};
  },
  "command/get"(_, {commandId}) {
    return {command: this.command(commandId)};
  },
  "notification/insert"(_, {deviceId, notification}) {
    return {notification: this.insert("notification", {...notification, deviceId})};
  },
  "fleet/subscribe"(socket, members) {
    const others = Object.keys(members.target ?? {}).some((each) => each !== "deviceIds");
    if (others || members.rollout) throw new Failure(400, "A fake gateway finds devices by deviceIds only");
    return {...socket.subscribe("fleet", members, this.log("fleet")), mode: "snapshot"};
  },
  "rollout/start"(_, request) {
    return {rollout: this.rollouts.start(request)};
  },
  "rollout/get"(_, {rollout}) {
    return {rollout: this.existingRollout(rollout)};
  },
  "rollout/hold"(_, {rollout}) {
    this.decide(rollout, "held");
    return {};
  },
  "rollout/resume"(_, {rollout, step}) {
    this.decide(rollout, "running", {step});
    return {};
  },
  "rollout/rollback"(_, {rollout}) {
    this.decide(rollout, "rolledBack");
    return {};
  },
  "*/subscribe"(socket, members, noun) {
    const what = noun === "configuration" && members.deviceId !== undefined ? "desired" : noun;
    return socket.subscribe(what, members, this.log(what));
  },
  "*/unsubscribe"(socket, {subscriptionId}) {
    socket.subscriptions.delete(subscriptionId);
    return {};
  },
};

/** A function that says whether a name is in a request and allowed by the token. @param {string} token @param {string[]} names */
function allowed(token, names) {
  const {c} = claims(token);
  const [reached, meant] = [matcher(c ?? ["*"]), matcher(names)];
  return (/** @type {string} */ name) => reached(name) && meant(name);
}

/**
 * A subscription of a socket.
 *
 * @typedef {{id: number, noun: string, members: Frame, positions: boolean, paused: boolean, position: string, counts?: string, rows?: Map<string, Frame>}} Followed
 */

/** The client's end of a connection, with the members of WebSocket that the client uses. */
class FakeSocket {
  #ids = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #expiry;
  /** @type {Map<number, Followed>} */
  subscriptions = new Map();
  token = "";
  readyState = 0;
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: {data: string}) => void) | null} */
  onmessage = null;
  /** @type {((event: {code: number, reason: string}) => void) | null} */
  onclose = null;
  /** @type {(() => void) | null} */
  onerror = null;

  /** @param {string} url @param {FakeGateway} gateway */
  constructor(url, gateway) {
    this.url = url;
    this.gateway = gateway;
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      if (!gateway.accept(this)) return this.end(1006, "");
      this.readyState = 1;
      this.onopen?.();
    });
  }

  /** @param {string} text */
  send(text) {
    if (this.readyState !== 1) return;
    const request = JSON.parse(text);
    queueMicrotask(() => {
      if (this.readyState === 1) this.#deliver(this.gateway.answer(this, request));
    });
  }

  close() {
    this.end(1000, "");
  }

  /** Use a token until it expires. @param {string} token */
  hold(token) {
    this.token = token;
    clearTimeout(this.#expiry);
    const left = claims(token).e - Date.now();
    this.#expiry = setTimeout(() => this.pause("Token expired"), Math.min(left, LONGEST_TIMER));
  }

  /** @param {number} code @param {string} reason */
  end(code, reason) {
    if (this.readyState === 3) return;
    clearTimeout(this.#expiry);
    this.readyState = 3;
    this.gateway.forget(this);
    queueMicrotask(() => this.onclose?.({code, reason}));
  }

  /** @param {Frame} frame */
  #deliver(frame) {
    if (this.readyState === 1 && !this.gateway.hushed) this.onmessage?.({data: JSON.stringify(frame)});
  }

  /** Send to every subscription with positions. @param {string} action @param {Frame} members */
  tell(action, members) {
    for (const {id, positions} of this.subscriptions.values()) {
      if (positions) queueMicrotask(() => this.#deliver({action, subscriptionId: id, ...members}));
    }
  }

  /** @param {string} noun @param {Frame} members @param {Log} log @returns {Frame} */
  subscribe(noun, members, log) {
    const id = ++this.#ids;
    const stateful = actions(noun) === "configuration";
    const positions = stateful || members.resumable || members.since !== undefined;
    /** @type {Followed} */
    const followed = {id, noun, members, positions, paused: false, position: log.position};
    this.subscriptions.set(id, followed);
    if (!positions) return {subscriptionId: id};
    const missed = members.since === undefined ? undefined : log.since(members.since);
    const mode = missed ? "resumed" : members.since !== undefined ? "reset" : stateful ? "snapshot" : "live";
    followed.paused = mode !== "live";  // until the missed frames are sent
    queueMicrotask(() => {
      if (missed) this.#catchUp(followed, missed);
      else if (mode !== "live") this.#begin(followed, log);
      followed.paused = false;
    });
    const here = mode === "live" || mode === "resumed" || !stateful;
    return {subscriptionId: id, mode, ...(here && {position: members.since ?? log.position})};
  }

  /** Send the state; for messages, all that are stored. @param {Followed} followed @param {Log} log */
  #begin({id, noun, members}, log) {
    if (actions(noun) !== "configuration") {
      return this.#catchUp({id, noun, members}, log.items, true);
    }
    const names = allowed(this.token, members.names ?? ["*"]);
    const found = noun === "desired" ? [] : this.gateway.state(names);
    const states = noun === "desired" ? this.gateway.devices.state(members.deviceId, names) : found.map((change) => change.configuration);
    const body = members.detail ? {changes: found} : {configurations: states};
    const reset = members.since !== undefined && {reset: true};
    const action = "configuration/snapshot";
    this.#deliver({action, subscriptionId: id, position: log.position, ...reset, ...body, last: true});
  }

  /** @param {{id: number, noun: string, members: Frame}} followed @param {Log["items"]} missed @param {boolean} [reset] */
  #catchUp({id, noun, members}, missed, reset = false) {
    const log = this.gateway.log(noun);
    let first = reset && {reset};
    const send = (/** @type {Frame} */ frame) => {
      this.#deliver({...frame, subscriptionId: id, ...first});
      first = false;
    };
    for (const {place, frames} of missed) this.#group(noun, members, frames, log.at(place)).forEach(send);
    send({action: `${actions(noun)}/bookmark`, position: log.position, live: true});
  }

  /**
   * The frames that a subscription gets; the last one has the position.
   *
   * @param {string} noun
   * @param {Frame} members
   * @param {Frame[]} frames
   * @param {string} position
   * @returns {Frame[]}
   */
  #group(noun, members, frames, position) {
    const names = actions(noun) === "configuration" && allowed(this.token, members.names ?? ["*"]);
    const isMine = (/** @type {Frame} */ {deviceId}) => noun !== "desired" || deviceId === members.deviceId;
    const matching = frames.filter((frame) => (names ? names(frame.configuration.name) && isMine(frame) : isFor(noun, members, frame)));
    return matching.map(({deviceId, ...frame}, index) => ({...frame, ...(index < matching.length - 1 ? {more: true} : {position})}));
  }

  /** @param {string} noun @param {Frame[]} frames @param {string} position */
  publish(noun, frames, position) {
    for (const followed of this.subscriptions.values()) {
      if (followed.noun !== noun || followed.paused) continue;
      followed.position = position;
      for (const frame of this.#group(noun, followed.members, frames, position)) {
        if (!followed.positions) delete frame.position;
        queueMicrotask(() => this.#deliver({...frame, subscriptionId: followed.id}));
      }
    }
  }

  /** Tell who watches the fleet what is new. @param {Devices} devices @param {Set<string>} online */
  census(devices, online) {
    for (const followed of this.subscriptions.values()) {
      if (followed.noun !== "fleet") continue;
      const {names = ["*"], target, state, rows: most = 0} = followed.members;
      const ids = devices.ids().filter((id) => target?.deviceIds?.includes(id) ?? true);
      const all = ids.map((id) => devices.row(id, matcher(names), online.has(id)));
      const body = counts(all);
      if (JSON.stringify(body) !== followed.counts) this.#deliver({action: "fleet/count", subscriptionId: followed.id, ...body});
      followed.counts = JSON.stringify(body);
      this.#rows(followed, all.filter((row) => !state || row.state === state).slice(0, most), ids);
    }
  }

  /** @param {Followed} followed @param {Frame[]} shown @param {string[]} ids */
  #rows(followed, shown, ids) {
    const [before, now] = [followed.rows ?? new Map(), new Map(shown.map((row) => [row.deviceId, row]))];
    const other = (/** @type {Frame} */ row) => JSON.stringify(row) !== JSON.stringify(before.get(row.deviceId));
    const entered = shown.filter((row) => !before.has(row.deviceId));
    const changed = shown.filter((row) => before.has(row.deviceId) && other(row));
    const gone = [...before.keys()].filter((id) => !now.has(id));
    const left = gone.map((deviceId) => ({deviceId, why: ids.includes(deviceId) ? "state" : "deleted"}));
    followed.rows = now;
    if (entered.length + changed.length + left.length === 0) return;
    this.#deliver({action: "fleet/rows", subscriptionId: followed.id, entered, changed, left});
  }

  /** @param {string} reason */
  pause(reason) {
    this.tell("subscription/paused", {reason});
    for (const followed of this.subscriptions.values()) if (followed.positions) followed.paused = true;
  }

  /** Send what was missed in the pause; the state, if the token reaches other names. @param {boolean} other */
  resume(other) {
    for (const followed of this.subscriptions.values()) {
      if (!followed.paused && !other) continue;
      followed.paused = false;
      const missed = this.gateway.log(followed.noun).since(followed.position);
      if (missed && !other) this.#catchUp(followed, missed);
      else this.#begin({...followed, members: {...followed.members, since: ""}}, this.gateway.log(followed.noun));
    }
  }
}
