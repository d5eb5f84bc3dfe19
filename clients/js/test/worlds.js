/** Where the suite runs: against a real gateway that the program around it starts and kills. */

import {Hivewire} from "../src/index.js";

/** A gateway behind a proxy, as `tests/clients/javascript.py` has it. */
export class RealWorld {
  /** @param {string} address of the commands */
  constructor(address) {
    this.address = address;
    /** @type {Hivewire[]} */
    this.clients = [];
  }

  async command(name, members = {}) {
    const response = await fetch(`${this.address}/world/${name}`, {method: "POST", body: JSON.stringify(members)});
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    return response.json();
  }

  async open() {
    Object.assign(this, await this.command("info"));
  }

  /** A client of the gateway, that comes back at once. @param {import("../src/index.js").Options} [options] */
  client(options = {}) {
    const made = new Hivewire(this.urls[0], {token: this.token, random: () => 0.01, ...options});
    this.clients.push(made);
    return made;
  }

  /** The end of a case, however it ended. */
  async rest() {
    await this.up();
    for (const each of this.clients.splice(0)) each.close();
  }

  /** What an administrator does, on another connection. */
  async ask(action, members = {}) {
    const reply = await this.command("ask", {action, ...members});
    if (reply.status !== "success") throw new Error(reply.error);
    return reply;
  }

  change(name, value, members = {}) {
    return this.ask("configuration/put", {name, value, ...members});
  }

  /** A token with these rights, by `token/create`. */
  async mint(payload) {
    return (await this.ask("token/create", {payload: {userId: 1, ...payload}})).accessToken;
  }

  drop() {
    return this.command("cut");
  }

  /** No answers any more, until it is `up`. */
  hush() {
    return this.command("hush");
  }

  down() {
    return this.command("down");
  }

  up() {
    return this.command("up");
  }

  kill() {
    return this.command("kill");
  }

  drain() {
    return this.command("stop");
  }

  loseHistory() {
    return this.command("lose");
  }
}
