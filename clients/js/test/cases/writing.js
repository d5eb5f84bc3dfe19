/** What is asked: writes, and how they fail. */

import {
  ABSENT, Busy, Conflict, Denied, json, NotFound, Refused, TooLarge, Unavailable, Uncertain,
} from "../../src/index.js";
import {Addresses} from "../../src/addresses.js";
import {devices} from "../../src/devices.js";
import {equal, it, noted, rejects, until} from "../helpers.js";

it("own_write", "a put is in memory when it is answered, decoded as it was written", async (world) => {
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

it("writing_later", "what expires is deleted in its time, unless it was written again; a transaction is written at its time", async (world) => {
  const hw = world.client({names: ["later.*"]});
  const soon = new Date(Date.now() + 2000);
  await hw.put("later.kept", "1", {ttl: 1});
  await hw.put("later.kept", "2");
  await hw.put("later.brief", "1", {ttl: 1});
  const now = await hw.transact([{put: "later.b", value: "1", expires: soon}, {put: "later.c", value: "1", ttl: 1}]);
  equal([now.entries.length, now.schedule ?? null], [2, null]);
  const then = await hw.transact([{put: "later.opened", value: "1", expect: ABSENT}], "in time", {at: soon});
  equal([then.entries, typeof then.schedule, hw.get("later.opened") ?? null], [[], "number", null]);
  await until(hw, () => [...hw.names()].sort().join() === "later.kept,later.opened");
  equal(hw.get("later.kept").value, "2");
  equal((await hw.history("later.brief")).map((change) => [change.operation, change.description]), [["delete", "expired"], ["put", null]]);
  equal((await hw.history("later.opened"))[0].description, "in time");
  await rejects(hw.put("later.late", "1", {expires: new Date(Date.now() - 86_400_000)}), Refused);
});

it("conflict", "whoever was slower gets a Conflict with what is there, and who wrote it", async (world) => {
  const hw = world.client({names: ["c.*"]});
  await hw.put("c.x", {n: 1}, {as: json()});
  const conflict = await rejects(hw.put("c.x", {n: 2}, {as: json(), expect: 7}), Conflict);
  equal([conflict.current.value, conflict.current.version, conflict.change.modifiedBy], ['{"n":1}', 1, "admin"]);
  await hw.delete("c.x", {expect: 1});
  equal((await rejects(hw.put("c.x", "1", {expect: 1}), Conflict)).current ?? null, null);
});

it("absent", "a put that expects nothing there fails when something is", async (world) => {
  const hw = world.client({names: ["absent.*"]});
  equal((await hw.put("absent.x", "1", {expect: ABSENT})).version, 1);
  equal((await rejects(hw.put("absent.x", "2", {expect: ABSENT}), Conflict)).current.value, "1");
});

it("transaction_conflict", "when one write of a transaction is refused nothing is written", async (world) => {
  const hw = world.client({names: ["both.*"]});
  await hw.put("both.a", "1");
  const both = [{put: "both.b", value: "1"}, {put: "both.a", value: "2", expect: 5}];
  const conflict = await rejects(hw.transact(both, "both"), Conflict);
  equal([conflict.index, conflict.current.version, hw.get("both.b") ?? null], [1, 1, null]);
  await rejects(hw.fetch("both.b"), NotFound);
});

it("history", "earlier versions are listed, and written again", async (world) => {
  const hw = world.client({names: ["past.*"]});
  for (const value of ["1", "2"]) await hw.put("past.a", value);
  await hw.put("past.b", "1");
  equal((await hw.rollback("past.a", {to: 1, expect: 2})).version, 3);
  equal((await hw.history("past.a")).map((change) => change.entry.value), ["1", "2", "1"]);
  equal((await hw.fetch("past.a", undefined, {version: 2})).value, "2");
  const {entries: [first], count} = await hw.list(["past.*"], {take: 1});
  equal([first.name, count], ["past.a", 2]);
});

it("uncertain", "the connection ends after a put was sent: Uncertain, and it is not sent again", async (world) => {
  const [WebSocket, {sent}] = noted(world.WebSocket);
  const hw = world.client({WebSocket, names: []});
  await hw.ready();
  await world.hush();
  const uncertain = rejects(hw.put("g.x", "2"), Uncertain);
  await world.down();
  await uncertain;
  await world.up();
  await hw.call("server/info");
  equal(sent.filter((action) => action === "configuration/put").length, 1);
});

it("uncertain_message", "an insert that is sent again until its time is over is Uncertain too", async (world) => {
  const hw = world.client({names: []});
  await hw.ready();
  await world.hush();
  const uncertain = rejects(devices(hw).notify("dev-1", "n", {}, {timeout: 1000}), Uncertain);
  await world.down();
  await uncertain;
  await rejects(devices(hw).notify("dev-1", "n", {}, {timeout: 1}), Unavailable);  // it was never sent
});

it("clock_is_set", "a request ends in its time, and an address is used again in its time, though the clock is set back", async (world) => {
  const hw = world.client({names: []});
  await hw.ready();
  await world.hush();
  const addresses = new Addresses(["http://a"], () => 0);
  addresses.hold(5000);
  const uncertain = rejects(hw.put("clock.x", "1", {timeout: 1}), Uncertain);
  const {now} = Date;
  try {
    Date.now = () => now() - 3_600_000;
    equal(addresses.next() <= 5000, true);
    await uncertain;
  } finally {
    Date.now = now;
  }
});

it("reads_repeat", "the connection ends after a read was sent: it is sent again; what was not sent waits", async (world) => {
  await world.down();
  const hw = world.client({names: []});
  const put = hw.put("waits.x", "1");
  await world.up();
  equal((await put).version, 1);
  await world.hush();
  const read = hw.fetch("waits.x");
  await world.down();
  await world.up();
  equal((await read).name, "waits.x");
});

it("refusals", "each code is its own error; a busy gateway says when to try again", async (world) => {
  const hw = world.client({names: []});
  await hw.ready();
  const {answer} = world.gateway;
  const kinds = {400: Refused, 403: Denied, 404: NotFound, 409: Conflict, 413: TooLarge, 429: Busy, 503: Unavailable};
  for (const [code, kind] of Object.entries(kinds)) {
    world.gateway.answer = (_, {action, requestId}) => ({action, requestId, code: Number(code), error: "no", retryAfter: 7});
    const error = await rejects(hw.put("x", "1"), kind);
    equal([error.code, error.message, error.name], [Number(code), "no", kind.name]);
    if (kind === Busy) equal(error.retryAfter, 7);
  }
  world.gateway.answer = (_, {action, requestId}) => ({action, requestId, code: 503, error: "not known whether this was written"});
  await rejects(hw.put("x", "1"), Uncertain);
  world.gateway.answer = answer;
}, {only: "fake"});

it("contents", "contents of any size go over HTTP, and what is too long for a message does not end the connection", async (world) => {
  const hw = world.client({names: ["s.*"]});
  await hw.ready();
  await rejects(hw.put("s.x", "x".repeat(1 << 20)), TooLarge);
  await rejects(hw.put("s.x", "ä".repeat(1 << 19)), TooLarge);
  const body = new Uint8Array([0, 255, 1]);
  const path = "api/rest/configuration/s.x/content";
  await hw.http(path, {method: "PUT", body, headers: {"Content-Type": "image/png"}});
  equal([...new Uint8Array(await (await hw.http(path)).arrayBuffer())], [0, 255, 1]);
  await until(hw, () => hw.get("s.x"));
  equal([hw.get("s.x").value, hw.get("s.x").size, hw.get("s.x").contentType], [null, 3, "image/png"]);
  await rejects(hw.fetch("s.x", json()), TypeError);
}, {only: "real"});
