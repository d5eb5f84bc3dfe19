/** What is in memory, and what is told of it. */

import {json} from "../../src/index.js";
import {equal, it, next, rejects, until, values} from "../helpers.js";

it("reads_memory", "after `ready` the values are there, decoded", async (world) => {
  await world.change("memory.x", '{"max":5}', {contentType: "application/json"});
  const hw = world.client({names: ["memory.*"], detail: true});
  equal(await hw.ready(), "live");
  equal([hw.get("memory.x", json()).value.max, hw.get("memory.x").value, hw.get("memory.x").modifiedBy], [5, '{"max":5}', "admin"]);
  equal(hw.get("memory.none", json())?.value ?? "a default", "a default");
  equal(hw.get("memory.x", json()) === hw.get("memory.x", json()), true);
});

it("parsed", "a program may parse what the gateway sends by itself", async (world) => {
  const found = [];
  const parse = (text) => (found.push(text), JSON.parse(text));
  const hw = world.client({names: ["parsed.*"], parse});
  await hw.ready();
  await hw.put("parsed.x", "1");
  equal(found.some((text) => text.includes("parsed.x")), true);
});

it("watch_begins", "a watch begins with everything that is known, and ends with the client", async (world) => {
  await world.change("a.one", "1");
  const hw = world.client({names: ["a.*"], detail: true});
  await hw.ready();
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

it("groups", "a transaction is seen as one event", async (world) => {
  const hw = world.client({names: ["d.*"]});
  await hw.ready();
  const events = hw.watch("d.*");
  const {revision, entries} = await hw.transact([{put: "d.a", value: "1", expect: 0}, {put: "d.b", value: 2, as: json()}]);
  equal(entries.map((entry) => [entry.name, entry.revision === revision]), [["d.a", true], ["d.b", true]]);
  const {changes} = await next(events, (event) => event.type === "changes");
  equal(changes.map((change) => change.name), ["d.a", "d.b"]);
});

it("invalid", "a value that does not decode leaves the last good one", async (world) => {
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

it("invalid_at_first", "a first value that does not decode is as if there were none, until there is one that does", async (world) => {
  await world.change("first.x", "no JSON");
  const hw = world.client({names: ["first.*"]});
  await hw.ready();
  equal(hw.get("first.x", json())?.value ?? "a default", "a default");
  await world.change("first.x", '{"max":3}');
  await until(hw, () => hw.get("first.x", json())?.value.max === 3);
});

it("conflated", "a watcher that does not read keeps only the last change of each name", async (world) => {
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

it("on_change", "a store tells of each value once, until it is stopped; watching ends by its signal", async (world) => {
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

