/** What the client promises, as cases that run in Node and in browsers, against the real gateway and the fake. */

import {ABSENT, Conflict, Denied, json, LoginRequired, NotFound, Uncertain} from "../src/index.js";

/** @type {[string, (world: any) => Promise<void>][]} */
export const cases = [];

const it = (name, run) => cases.push([name, run]);

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
  equal([conflict.current.value, conflict.current.version, conflict.change.modifiedBy], [{n: 1}, 1, "admin"]);
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
  const token = await world.mint({actions: ["GetConfiguration"], configurations: ["e.*"]});
  const hw = world.client({token, names: ["e.*"]});
  await hw.ready();
  await rejects(hw.put("e.x", "1"), Denied);
  equal(hw.state, "live");
  hw.close();
  const bad = world.client({token: "no.token", names: ["e.*"]});
  await rejects(bad.ready(), LoginRequired);
  equal(bad.state, "closed");
  await rejects(world.client({names: ["e.*"], token: undefined}).ready(), LoginRequired);
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

it("pushes of any subscription come in groups", async (world) => {
  const hw = world.client();
  const groups = [];
  const arrived = new Promise((resolve) => hw.follow("network/subscribe", {}, (group) => {
    groups.push(group);
    if (groups.length === 2) resolve();
  }));
  await hw.call("network/insert", {network: {name: `groups ${Math.random()}`}});
  await arrived;
  equal([groups[0].reset, groups[0].live, groups[1].frames[0].action], [true, true, "network/change"]);
  hw.close();
});
