/** What the client promises, as cases that run in Node and in browsers, against the real gateway and the fake. */

import {Addresses, backoff, told} from "../src/addresses.js";
import {devices} from "../src/devices.js";
import {
  ABSENT, Conflict, Denied, json, LoginRequired, NotFound, NotReady, Refused, TooLarge, Uncertain,
} from "../src/index.js";
import {Subscription} from "../src/subscription.js";
import {tenant} from "../src/tenants.js";

/** @type {{name: string, run: (world: any, runtime: {cache: () => any}) => Promise<void>, real?: boolean, http?: boolean}[]} */
export const cases = [];

/** A case. `real`: the fake does not have it; `http`: nor do pages of other origins. */
const it = (name, run, where = {}) => cases.push({name, run, ...where});

export function equal(found, expected) {
  const [a, b] = [found, expected].map((each) => JSON.stringify(each));
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

async function rejects(promise, kind) {
  const error = await promise.then(() => undefined, (error) => error);
  if (!(error instanceof kind)) throw new Error(`it was not rejected with ${kind.name}, but ${error}`);
  return error;
}

/** The value of the next event of a kind that fits. */
export async function next(events, fits) {
  for (;;) {
    const {value, done} = await events.next();
    if (done) throw new Error("the events ended");
    if (fits(value)) return value;
  }
}

const values = (hw) => Object.fromEntries([...hw.names()].sort().map((name) => [name, hw.get(name).value]));
/** Wait until something is so; looked at after every message. */
export const until = (hw, so) => new Promise((resolve) => {
  const offs = ["push", "state", "changes", "reset"].map((type) => hw.on(type, look));
  const timer = setInterval(look, 50);
  function look() {
    if (!so()) return;
    clearInterval(timer);
    offs.forEach((off) => off());
    resolve();
  }
  look();
});
const live = (hw) => new Promise((resolve) => {
  const off = hw.on("state", look);
  function look() {
    if (hw.state !== "live") return;
    off();
    resolve();
  }
  look();
});

it("a client has the state, and every change", async (world) => {
  await world.change("a.one", "1");
  const hw = world.client({names: ["a.*"], detail: true});
  equal(await hw.ready(), "live");
  equal(values(hw), {"a.one": "1"});
  equal(hw.get("a.one").modifiedBy, "admin");
  const events = hw.watch("a.*");
  const first = await next(events, (event) => event.type === "reset");
  equal(first.changes.map((change) => [change.name, change.entry.value]), [["a.one", "1"]]);
  await world.change("a.two", "2", {description: "why"});
  const {changes: [put]} = await next(events, (event) => event.type === "changes");
  equal([put.operation, put.entry.value, put.description, put.previous ?? null], ["put", "2", "why", null]);
  await world.ask("configuration/delete", {name: "a.one"});
  const {changes: [gone]} = await next(events, (event) => event.type === "changes");
  equal([gone.operation, gone.name, gone.previous.value], ["delete", "a.one", "1"]);
  equal(values(hw), {"a.two": "2"});
  hw.close();
  equal(hw.state, "closed");
  equal((await events.next()).value.state, "closed");
  equal((await events.next()).done, true);
});

it("a put is in memory when it is answered, decoded as it was written", async (world) => {
  const hw = world.client({names: ["b.*"]});
  const put = await hw.put("b.max", {max: 5}, {as: json(), expect: ABSENT, description: "first"});
  equal([put.value, put.version], [{max: 5}, 1]);
  equal(hw.get("b.max", json()).value.max, 5);
  equal(hw.get("b.max").contentType, "application/json");
  equal((await hw.fetch("b.max", json())).value, {max: 5});
  equal((await hw.put("b.max", {max: 6}, {as: json(), dryRun: true})).version, 2);
  equal((await hw.fetch("b.max")).version, 1);
  hw.close();
});

it("whoever was slower gets a Conflict with what is there", async (world) => {
  const hw = world.client({names: ["c.*"]});
  await hw.put("c.x", {n: 1}, {as: json()});
  const conflict = await rejects(hw.put("c.x", {n: 2}, {as: json(), expect: 7}), Conflict);
  equal([conflict.current.value, conflict.current.version, conflict.change.modifiedBy], ["{\"n\":1}", 1, "admin"]);
  await hw.delete("c.x", {expect: 1});
  equal((await rejects(hw.put("c.x", "1", {expect: 1}), Conflict)).current ?? null, null);
  await rejects(hw.delete("c.x"), NotFound);
  const both = [{put: "c.y", value: "1"}, {delete: "c.x"}];
  equal((await rejects(hw.transact(both, "both"), NotFound)).reply.index, 1);
  hw.close();
});

it("a transaction is seen as one event", async (world) => {
  const hw = world.client({names: ["d.*"]});
  await hw.ready();
  const events = hw.watch("d.*");
  const {revision, entries} = await hw.transact([{put: "d.a", value: "1", expect: 0}, {put: "d.b", value: 2, as: json()}]);
  equal(entries.map((entry) => [entry.name, entry.revision === revision]), [["d.a", true], ["d.b", true]]);
  const {changes} = await next(events, (event) => event.type === "changes");
  equal(changes.map((change) => change.name), ["d.a", "d.b"]);
  equal((await hw.rollback("d.a", {to: 1})).version, 2);
  equal((await hw.history("d.a")).map((change) => change.entry.version), [2, 1]);
  const {entries: [first], count} = await hw.list(["d.*"], {take: 1});
  equal([first.name, count], ["d.a", 2]);
  hw.close();
});

it("what a token does not allow is Denied; without a good one the client closes", async (world) => {
  const token = await world.mint({names: ["e.*"]});
  const hw = world.client({token});
  await hw.ready();
  await rejects(hw.put("other", "1"), Denied);
  equal(hw.state, "live");
  const bad = world.client({token: "no.token"});
  await rejects(bad.ready(), LoginRequired);
  equal(bad.state, "closed");
  await rejects(world.client({token: undefined}).ready(), LoginRequired);
  const {login, password} = world;
  equal(await world.client({token: {login, password}, names: []}).ready(), "live");
});

it("after a cut it resumes by position, and has each change once", async (world) => {
  const hw = world.client({names: ["f.*"]});
  await hw.ready();
  const states = [];
  hw.on("state", ({state, staleSince}) => {
    if (states.at(-1)?.[0] !== state) states.push([state, Boolean(staleSince)]);
  });
  const seen = [];
  hw.on("changes", ({changes}) => seen.push(...changes.map((change) => change.entry.value)));
  hw.on("reset", () => seen.push("reset"));
  await world.change("f.x", "0");
  await world.down();
  await world.change("f.x", "1");
  await world.change("f.x", "2");
  equal([hw.state, hw.get("f.x").value], ["stale", "0"]);
  await world.up();
  await live(hw);
  equal(seen, ["0", "1", "2"]);
  equal(states, [["stale", true], ["catching_up", true], ["live", false]]);
  hw.close();
});

it("a request waits for a connection; a write cut off in flight is Uncertain", async (world) => {
  const hw = world.client();
  await world.down();
  const put = hw.put("g.x", "1");
  await world.up();
  equal((await put).version, 1);
  await world.hush();
  const read = hw.fetch("g.x");
  const uncertain = rejects(hw.put("g.x", "2"), Uncertain);
  await world.down();
  await uncertain;
  await world.up();
  equal((await read).name, "g.x");
  hw.close();
});

it("over fifty kills nothing is missing and nothing comes twice", async (world) => {
  const hw = world.client({names: ["h.*"]});
  await hw.ready();
  const seen = [];
  hw.on("changes", ({changes}) => seen.push(...changes.map((change) => change.entry.version)));
  hw.on("reset", () => seen.push("reset"));
  let written = 0;
  for (let round = 0; round < 50; round++) {
    // A kill of the gateway takes a while, a cut none: most are cuts, some in the middle of a write.
    const end = world.fake || (round + 1) % 10 ? world.drop : world.kill;
    await Promise.all([world.change("h.x", String(++written)), round % 2 ? undefined : world.drop()]);
    await end();
    await world.change("h.x", String(++written));
    if (round % 3 === 0) await live(hw);
  }
  await until(hw, () => hw.get("h.x")?.version === written);
  equal(seen, Array.from({length: written}, (_, index) => index + 1));
});

it("when the history is lost, the state is replaced, as one event with what is different", async (world) => {
  const hw = world.client({names: ["i.*"]});
  await world.change("i.x", "1");
  await world.change("i.y", "1");
  await until(hw, () => hw.get("i.y"));
  const resets = [];
  hw.on("reset", (event) => resets.push(event.changes.map((change) => [change.operation, change.name])));
  await world.down();
  await world.change("i.y", null);
  await world.change("i.z", "1");
  if (!world.fake) await world.loseHistory().then(() => Promise.all([world.change("i.x", "1"), world.change("i.z", "1")]));
  await world.up();
  if (world.fake) await world.loseHistory();
  await until(hw, () => hw.get("i.z") && !hw.get("i.y"));
  equal(hw.get("i.x").value, "1");
  equal(resets.flat().sort().slice(0, 2), [["delete", "i.y"], ["put", "i.z"]]);
});

it("a token is renewed on the connection that is there, before it ends", async (world) => {
  const sockets = [];
  class Counted extends world.WebSocket {
    constructor(url) {
      super(url);
      sockets.push(url);
    }
  }
  let asked = 0;
  const token = () => world.mint({seconds: (asked += 1) < 3 ? 0.4 : 3600});
  const hw = world.client({token, names: ["j.*"], WebSocket: Counted});
  await hw.ready();
  const states = [];
  hw.on("state", ({state}) => states.push(state));
  await until(hw, () => asked >= 3);
  await world.change("j.x", "1");
  await until(hw, () => hw.get("j.x"));
  equal([asked, sockets.length, states], [3, 1, []]);
});

it("a token that has ended is asked for once more; if there is none the client closes", async (world) => {
  let tokens = [await world.mint({seconds: 0.4}), await world.mint()];
  const hw = world.client({token: () => tokens.shift() ?? Promise.reject(new LoginRequired()), names: ["k.*"]});
  await hw.ready();
  await until(hw, () => tokens.length === 0);
  equal((await hw.put("k.x", "1")).version, 1);
  const expired = world.client({token: await world.mint({seconds: 0.4}), names: ["k.*"]});
  await expired.ready();
  await until(expired, () => expired.state === "closed");
  equal(expired.status.reason instanceof LoginRequired, true);
});

it("a refresh token is enough", async (world) => {
  const hw = world.client({token: await world.mint({refresh: true}), names: ["l.*"]});
  equal(await hw.ready(), "live");
});

it("a token that reaches other names begins with the state", async (world) => {
  await world.change("m.a", "1");
  await world.change("m.b", "1");
  const tokens = [await world.mint({names: ["m.a"], seconds: 0.4}), await world.mint()];
  const hw = world.client({token: () => tokens.shift() ?? world.token, names: ["m.*"]});
  await hw.ready();
  equal(values(hw), {"m.a": "1"});
  await until(hw, () => hw.get("m.b"));
  equal(values(hw), {"m.a": "1", "m.b": "1"});
});

it("when the gateway stops, the client goes to another, and misses nothing", async (world) => {
  const urls = [];
  class Seen extends world.WebSocket {
    constructor(url) {
      super(url);
      urls.push(new URL(url).host);
    }
  }
  const hw = world.client({names: ["n.*"], WebSocket: Seen});
  await hw.ready();
  const seen = [];
  hw.on("changes", ({changes}) => seen.push(...changes.map((change) => change.entry.version)));
  hw.on("reset", () => seen.push("reset"));
  await world.change("n.x", "1");
  await world.drain();
  await world.change("n.x", "2");
  await until(hw, () => hw.get("n.x")?.version === 2);
  await live(hw);
  equal(seen, [1, 2]);
  equal(urls.slice(0, 2), world.urls.map((url) => new URL(url).host));
});

it("a value that does not decode leaves the last good one", async (world) => {
  const hw = world.client({names: ["o.*"]});
  await hw.put("o.x", {max: 1}, {as: json()});
  const invalid = [];
  hw.on("invalid", ({name, error}) => invalid.push([name, error.name]));
  equal(hw.get("o.x", json()).value, {max: 1});
  await world.change("o.x", "no JSON");
  await until(hw, () => hw.get("o.x").value === "no JSON");
  equal([hw.get("o.x", json()).value, hw.get("o.x", json()).version, invalid], [{max: 1}, 1, [["o.x", "SyntaxError"]]]);
  await world.change("o.x", '{"max":3}');
  await until(hw, () => hw.get("o.x", json()).value.max === 3);
});

it("what is cached is served while no gateway answers, to the same subject only", async (world, {cache}) => {
  const options = {names: ["p.*"], cache: cache()};
  await world.change("p.x", "1");
  const first = world.client(options);
  await first.ready();
  await first[Symbol.asyncDispose]();
  await world.down();
  await world.change("p.x", "2");
  const second = world.client(options);
  equal([await second.ready(), second.get("p.x").value], ["stale", "1"]);
  equal(second.status.staleSince <= new Date(), true);
  const other = world.client({...options, token: await world.mint({user: await world.stranger()})});
  await rejects(other.ready({timeout: 100}), NotReady);
  const late = world.client({...options, maxAge: -1});
  await rejects(late.ready({timeout: 100}), NotReady);
  for (const each of [other, late]) each.close();
  await world.up();
  await until(second, () => second.get("p.x").value === "2");
  await second.logout();
  equal(second.get("p.x") ?? null, null);
  await world.down();
  await rejects(world.client(options).ready({timeout: 100}), NotReady);
});

it("a damaged cache is ignored", async (world) => {
  const warnings = [];
  const {warn} = console;
  console.warn = (...words) => warnings.push(words.join(" "));
  const damaged = [{position: 1}, {subject: "", reach: "", position: "x-1", at: 1, entries: [{}]}];
  for (const found of damaged) {
    const cache = {load: async () => found, save: async () => {}, delete: async () => {}};
    equal(await world.client({names: ["p.*"], cache}).ready(), "live");
  }
  const cache = {load: () => Promise.reject(new Error("the disk")), save: () => Promise.reject(new Error("full")), delete: async () => {}};
  const hw = world.client({names: ["p.*"], cache});
  await hw.ready();
  await hw[Symbol.asyncDispose]();
  console.warn = warn;
  equal(warnings.length, 4);
});

it("a watcher that does not read keeps only the last change of each name", async (world) => {
  const hw = world.client({names: ["q.*"]});
  await hw.ready();
  const events = hw.watch("q.*");
  await next(events, (event) => event.type === "reset");
  for (let round = 1; round <= 11; round++) {
    await hw.transact(Array.from({length: 1000}, (_, index) => ({put: `q.${index}`, value: String(round)})));
  }
  const {changes, conflated} = await next(events, (event) => event.type === "changes");
  equal([changes.length, conflated, changes.every((change) => change.entry.value === "11")], [1000, true, true]);
});

it("watching ends by its signal, and a store tells of each value once", async (world) => {
  const hw = world.client({names: ["r.*"]});
  await hw.ready();
  const stop = new AbortController();
  const ended = (async () => {
    for await (const event of hw.watch("r.*", {signal: stop.signal, as: json()})) {
      if (event.type === "changes") stop.abort();
    }
  })();
  const told = [];
  const store = hw.store("r.x", json());
  const off = store.subscribe((value) => told.push(value));
  await hw.put("r.x", 1, {as: json()});
  await hw.put("r.y", 1, {as: json()});
  await ended;
  equal([told, store.get()], [[undefined, 1], 1]);
  off();
  await hw.put("r.x", 2, {as: json()});
  equal([told.length, store.get()], [2, 2]);
  await rejects(hw.call("server/info", {}, {signal: stop.signal}), DOMException);
});

it("commands are carried out once, over lost connections, and their answers arrive", async (world) => {
  const [device, people] = [devices(world.client({names: []})), devices(world.client({names: []}))];
  const deviceId = `device-${Math.floor(1e9 * Math.random())}`;
  if (!world.fake) await world.ask("device/save", {deviceId, device: {name: "D", networkId: 1, deviceTypeId: 1}});
  const done = [];
  const tasks = device.commands({deviceId});
  const working = (async () => {
    for await (const task of tasks) {
      done.push(task.parameters.n);
      if (task.parameters.n === 2) await task.failed("stuck");
      else await task.done({n: task.parameters.n});
      if (done.length === 4) return;
    }
  })();
  const first = await people.send(deviceId, "set", {n: 1});
  equal((await first.answer()).result, {n: 1});
  const second = await people.send(deviceId, "set", {n: 2});
  await world.drop();
  equal((await second.answer()).status, "failed");
  const position = tasks.position;
  const third = await people.send(deviceId, "set", {n: 3});
  await world.drop();
  await people.send(deviceId, "set", {n: 4});
  equal((await third.answer()).status, "done");
  await working;
  equal(done, [1, 2, 3, 4]);
  const again = [];
  for await (const task of device.commands({deviceId, since: position})) {
    again.push(task.parameters.n);
    if (task.parameters.n === 4) break;
  }
  equal(again.slice(-2), [3, 4]);
  const heard = people.notifications({deviceId, names: ["level"]});
  const level = heard.next();
  await people.notify(deviceId, "other", {});
  await people.notify(deviceId, "level", {now: 7});
  equal((await level).value.parameters, {now: 7});
  const unanswered = await people.send(deviceId, "never");
  await rejects(unanswered.answer({timeout: 10}), NotReady);
});

it("of a group that the connection broke nothing is seen", async () => {
  const groups = [];
  const subscription = new Subscription("configuration/subscribe", {}, (group) => groups.push(group), () => {});
  subscription.begin({subscriptionId: 1, mode: "live", position: "e-1"});
  subscription.push({operation: "put", more: true});
  subscription.lose();
  equal(subscription.request(""), {since: "e-1"});
  subscription.begin({subscriptionId: 1, mode: "resumed", position: "e-1"});
  subscription.push({operation: "put", more: true});
  subscription.push({operation: "put", position: "e-2"});
  subscription.push({online: true});
  equal(groups.map((group) => group.frames.length), [2, 1]);
  subscription.push({operation: "put", more: true});
  subscription.push({reset: true, last: false});
  subscription.push({last: true, position: "e-3"});
  equal([groups[2].frames.length, groups[2].reset, groups[2].live], [2, true, true]);
});

it("a thousand clients that are cut off at once come back spread", async () => {
  const slots = new Map();
  for (let client = 0; client < 1000; client++) {
    const slot = Math.floor(backoff(0, Math.random) / 100);
    slots.set(slot, (slots.get(slot) ?? 0) + 1);
  }
  equal(Math.max(...slots.values()) <= 100, true);
  equal([backoff(9, () => 1), told(1001, "server going away; retry=1234"), told(4029, ""), told(1006, "") ?? null], [30_000, 1234, 30_000, null]);
});

it("no address is used again before the time that it gave", async () => {
  const addresses = new Addresses(["http://a", "https://b/prefix/"], () => 0);
  equal(addresses.current, "ws://a/api/websocket");
  addresses.hold(60_000);
  equal([addresses.next(), addresses.current], [0, "wss://b/prefix/api/websocket"]);
  addresses.learn(["http://plain", "https://c"]);
  equal(addresses.all.slice(2), ["wss://c/api/websocket"]);  // none without TLS
  addresses.hold(90_000);
  equal([addresses.next(), addresses.current], [0, "wss://c/api/websocket"]);
  addresses.hold(90_000);
  equal([addresses.next() > 50_000, addresses.current], [true, "ws://a/api/websocket"]);
});

it("pushes of any subscription come in groups", async (world) => {
  const hw = world.client({names: []});
  const groups = [];
  const arrived = new Promise((resolve) => hw.follow("network/subscribe", {}, (group) => {
    groups.push(group);
    if (groups.length === 2) resolve();
  }));
  await hw.call("network/insert", {network: {name: `groups ${Math.random()}`}});
  await arrived;
  equal([groups[0].reset, groups[0].live, groups[1].frames[0].action], [true, true, "network/change"]);
  const {all} = devices(hw).follow({presence: true}, () => {});
  await hw.call("device/save", {deviceId: "followed", device: {name: "F"}});
  equal([all.get("followed")?.name, all.get("followed")?.online], ["F", false]);
  await rejects(new Promise((_, reject) => hw.follow("command/subscribe", {deviceId: "nobody"}, () => {}, reject)), NotFound);
}, {real: true});

it("the document of a tenant is read, saved and followed", async (world) => {
  const hw = world.client({names: []});
  await hw.call("tenant/insert", {tenantId: "shop"});
  const shop = tenant(hw, "shop");
  const store = {uri: "configuration/entityTypes/Store", label: "Store", attributes: []};
  await rejects(shop.read(), NotFound);
  const groups = [];
  const arrived = new Promise((resolve) => shop.follow((group) => groups.push(group) === 2 && resolve()));
  await hw.call("subscription/list");
  const stored = await shop.save({label: "Shop", schemaVersion: "1", sources: [], entityTypes: [store]});
  const {document, modified} = await shop.read();
  equal([document.label, stored.label], ["Shop", "Shop"]);
  await arrived;
  equal([groups[0].frames[0].tenants, groups[1].frames[0].tenant], [[], "shop"]);
  equal((await rejects(shop.save(document, {modified: new Date(0).toUTCString()}), Refused)).code, 412);
  equal((await shop.save(document, {modified})).label, "Shop");
  const {clientSecret} = await hw.call("client/insert", {clientId: "editor", tenants: {shop: ["UPDATE"]}});
  const editor = world.client({token: {clientId: "editor", clientSecret}, names: []});
  equal((await tenant(editor, "shop").read()).document.label, "Shop");
  await rejects(world.client({token: {clientId: "editor", clientSecret: "no"}, names: []}).ready(), LoginRequired);
}, {real: true, http: true});

it("contents of any size go over HTTP, and what is too long for a message does not end the connection", async (world) => {
  const hw = world.client({names: ["s.*"]});
  await hw.ready();
  await rejects(hw.put("s.x", "x".repeat(1 << 20)), TooLarge);
  const body = new Uint8Array([0, 255, 1]);
  const path = "api/rest/configuration/s.x/content";
  await hw.http(path, {method: "PUT", body, headers: {"Content-Type": "image/png"}});
  equal([...new Uint8Array(await (await hw.http(path)).arrayBuffer())], [0, 255, 1]);
  await until(hw, () => hw.get("s.x"));
  equal([hw.get("s.x").value, hw.get("s.x").size, hw.get("s.x").contentType], [null, 3, "image/png"]);
  await rejects(hw.fetch("s.x", json()), TypeError);
}, {real: true});
