/** Where the suite runs: a real gateway that the program around it starts and kills, or the fake in this process. */

import {Hivewire} from "../src/index.js";
import {FakeGateway} from "../src/testing.js";

/** What both have: clients that come back at once, and end with their case. */
class World {
  /** @type {Hivewire[]} */
  clients = [];

  /** @param {import("../src/index.js").Options} [options] @param {string | string[]} [url] */
  client(options = {}, url = this.urls[0]) {
    const made = new Hivewire(url, {token: this.token, random: () => 0.001, WebSocket: this.WebSocket, ...options});
    this.clients.push(made);
    return made;
  }

  /** Seconds that a token lives whose end a case waits for: twenty times as long as this machine needs to connect. */
  async brief() {
    const start = performance.now();
    await this.client({names: []}).ready();
    return Math.max(0.8, (performance.now() - start) / 50);
  }

  /** The end of a case, however it ended. */
  async rest() {
    await this.up();
    for (const each of this.clients.splice(0)) each.close();
  }

  change(name, value, members = {}) {
    return this.ask(value === null ? "configuration/delete" : "configuration/put", {name, ...(value !== null && {value}), ...members});
  }
}

/** A gateway behind a proxy, as `tests/clients/javascript.py` has it. */
export class RealWorld extends World {
  /** @param {string} address of the commands */
  constructor(address) {
    super();
    this.address = address;
    this.WebSocket = globalThis.WebSocket;
  }

  async command(name, members = {}) {
    const response = await fetch(`${this.address}/world/${name}`, {method: "POST", body: JSON.stringify(members)});
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    return response.json();
  }

  async open() {
    Object.assign(this, await this.command("info"));
  }

  /** What an administrator does, on another connection. */
  async ask(action, members = {}) {
    const reply = await this.command("ask", {action, ...members});
    if (reply.status !== "success") throw new Error(reply.error);
    return reply;
  }

  /** A token for some names, or of another user. */
  mint({names = null, seconds = 3600, user = 1, refresh = false} = {}) {
    return this.command("mint", {names, seconds, user, refresh});
  }

  /** The number of another user. */
  async stranger() {
    const user = {login: `stranger-${Math.random()}`.slice(0, 20), password: "a good password", role: 0, status: 0};
    return (await this.ask("user/insert", {user})).user.id;
  }

  drop = () => this.command("cut");
  hush = () => this.command("hush");
  down = () => this.command("down");
  up = () => this.command("up");
  kill = () => this.command("kill");
  drain = () => this.command("stop");
  /** The gateway names no other one, until the end of the case. */
  alone = () => this.command("alone");
  loseHistory = () => this.command("lose");
}

export class FakeWorld extends World {
  gateway = new FakeGateway();
  urls = [this.gateway.url, "http://another.invalid"];
  WebSocket = this.gateway.WebSocket;
  token = this.gateway.token();
  login = "admin";
  password = "any";
  fake = true;

  async ask(action, {name, value, changes, ...members}) {
    if (action === "device/save") return this.gateway.devices.save(members.deviceId);
    if (action === "device/delete") return this.gateway.devices.delete(members.deviceId);
    if (action === "token/create") return {accessToken: this.token};
    if (action === "configuration/put") return this.gateway.change(name, value, members);
    if (action === "configuration/delete") return this.gateway.change(name, null, members);
    throw new Error(`the fake does not know ${action}`);
  }

  mint = async (claims) => this.gateway.token(claims);
  stranger = async () => 2;
  drop = async () => this.gateway.drop();
  hush = async () => this.gateway.hush();
  down = async () => this.gateway.down();
  up = async () => this.gateway.up();
  kill = async () => this.gateway.drop();
  drain = async ({alternatives = [this.urls[1]], retry} = {}) => this.gateway.drain({alternatives, retry});
  alone = async () => {};
  loseHistory = async () => this.gateway.loseHistory();
}
