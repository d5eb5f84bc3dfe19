/** Devices that follow what they should have, and the fleet as people see it. */

import {fleet} from "../../src/fleet.js";
import {Conflict, Denied, NotFound} from "../../src/index.js";
import {equal, it, rejects, until} from "../helpers.js";

let made = 0;

/** A cache that has what was saved last, as JSON. */
function memory() {
  const kept = new Map();
  return {
    load: async (id) => kept.has(id) && JSON.parse(kept.get(id)),
    save: async (id, state) => void kept.set(id, JSON.stringify(state)),
  };
}

/** A device that exists, and a layer for it. `start` begins to follow, as a process of the device does. */
async function one(world) {
  const id = `fleet-${Date.now()}-${++made}`;
  const layer = `device/${id}`;
  await world.ask("device/save", {deviceId: id, device: {name: id, networkId: 1, deviceTypeId: 1}});
  const rights = {actions: ["SyncConfiguration"], networkIds: ["*"], deviceTypeIds: ["*"], deviceIds: [id]};
  const {accessToken: token} = await world.ask("token/create", {payload: {userId: 1, ...rights}});
  const people = world.client({names: []});
  const {effective} = fleet(people);
  return {
    id,
    layer,
    token,
    people: fleet(people),
    put: (name, value) => world.change(name, value, {layer}),
    start(cache = memory()) {
      const hw = world.client({names: [], token});
      const device = fleet(hw).device(id, {cache});
      const changes = device.configuration();
      const next = async () => (await changes.next()).value;
      return {hw, device, changes, next};
    },
    /** What the gateway says of each name. */
    async states() {
      const {configurations} = await effective(id);
      return Object.fromEntries(configurations.map(({name, state, reported}) => [name, reported?.error ?? state]));
    },
  };
}

it("device", "a device has what it should, over lost connections, and what it says is known", async (world) => {
  const {id, put, start, states, people} = await one(world);
  await put("baud", "9600");
  await put("mode", "fast");
  const {device, next} = start();
  const [baud, mode] = [await next(), await next()];
  equal([baud.name, baud.value, mode.name, mode.value], ["baud", "9600", "mode", "fast"]);
  baud.applied();
  mode.refused("too fast");
  mode.applied();  // it is answered already
  await device.flush();
  equal(await states(), {baud: "applied", mode: "too fast"});
  await world.drop();
  await put("baud", "4800");
  await put("mode", null);
  const changes = [await next(), await next()].sort((a, b) => (a.name < b.name ? -1 : 1));
  equal(changes.map(({name, value, tag}) => [name, value, typeof tag]), [["baud", "4800", "string"], ["mode", null, "object"]]);
  equal(changes.map(({gone}) => gone), [false, true]);
  changes[0].applied();
  changes[1].applied();
  await device.flush();
  equal(await states(), {baud: "applied"});
  await put("mode", "x".repeat(300));
  (await next()).refused("y".repeat(300));
  await device.flush();
  equal((await people.effective(id, {names: ["mode"]})).configurations[0].reported.error, "y".repeat(256));
});

it("device_restart", "a device that starts again gets only what is new, and learns what is gone", async (world) => {
  const {id, put, start, states} = await one(world);
  const cache = memory();
  for (const name of ["a", "b", "c"]) await put(name, "1");
  const {hw, device, next} = start(cache);
  (await next()).applied();
  (await next()).refused("no b");
  await next();  // c is not answered
  await device.flush();
  hw.close();
  const again = start(cache);
  const unanswered = await again.next();
  equal([unanswered.name, unanswered.value], ["c", "1"]);
  unanswered.applied();
  await again.device.flush();
  equal(await states(), {a: "applied", b: "no b", c: "applied"});
  again.hw.close();
  await put("a", null);
  await put("c", "2");
  if (!world.fake) {  // other layers: all is new
    await world.ask("layer/put", {layer: id, target: {deviceIds: [id]}, rank: 1000 + made});
    await world.change("d", "1", {layer: id});
  } else await put("d", "1");
  const third = start(cache);
  const found = {};
  for (let number = 0; number < 3; number++) {
    const change = await third.next();
    found[change.name] = change.value;
    change.applied();
  }
  await third.device.flush();
  equal([found.a, found.c, found.d], [null, "2", "1"]);
  equal(await states(), {b: "no b", c: "applied", d: "applied"});
  equal((await cache.load(id)).have.map(({name}) => name).sort(), ["b", "c", "d"]);
});

it("device_latest", "a device that does not read gets the latest values; an old answer is not taken for a new one", async (world) => {
  const {put, start, states} = await one(world);
  await put("a", "1");
  const {hw, device, next} = start();
  const old = await next();
  await put("a", "2");
  await put("b", "1");
  await put("b", "2");
  await put("b", "3");
  await put("z", "1");
  const seen = [];
  while (seen.at(-1) !== "z=1") {
    const change = await next();
    seen.push(`${change.name}=${change.value}`);
    if (change.name !== "a") change.applied();
    if (change.name === "a") old.applied();  // too late: the device says nothing of 2
  }
  equal([seen[0], seen.includes("b=3")], ["a=2", true]);
  await device.flush();
  equal(await states(), {a: "pending", b: "applied", z: "applied"});
  await until(hw, () => hw.state === "live");
});

it("device_local", "what a device has of its own is reported, and stays until somebody insists", async (world) => {
  const {id, put, start, states, people} = await one(world);
  await put("mode", "eco");
  const {device, next, changes} = start();
  (await next()).applied();
  await device.report({mode: "boost", firmware: "1.2"});
  equal(await states(), {firmware: "local", mode: "local"});
  const {configurations} = await people.effective(id, {names: ["firmware"]});
  equal(configurations[0].reported.value, "1.2");
  await world.drop();  // it follows again, and is not told what it has overridden
  await put("other", "1");
  const other = await next();
  equal(other.name, "other");
  other.applied();
  await put("mode", "eco");
  const insisted = await next();
  equal([insisted.name, insisted.value], ["mode", "eco"]);
  insisted.applied();
  await device.report({firmware: null});
  equal(await states(), {mode: "applied", other: "applied"});
  await rejects(device.report({long: "x".repeat(1_025)}), TypeError);
  await rejects(device.configuration().next(), TypeError);  // it is read already
  await changes.return();
});

it("device_busy", "more reports than the gateway takes are reported later", async (world) => {
  const {start, states} = await one(world);
  const {device} = start();
  for (let count = 0; count < 21; count++) await device.report({count: String(count)});
  equal(await states(), {count: "local"});
}, {only: "real"});

it("device_many", "more names than a report takes are said in several", async (world) => {
  const {start, states} = await one(world);
  const {device} = start();
  await device.report(Object.fromEntries(Array.from({length: 300}, (_, number) => [`n${number}`, "1"])));
  equal(Object.values(await states()).filter((state) => state === "local").length, 300);
  await world.drop();
  await device.report({last: "1"});
  equal(Object.values(await states()).filter((state) => state === "local").length, 301);
}, {only: "real"});

it("device_ends", "reading ends by the signal and with the client, and says what was refused", async (world) => {
  const {id, token, put, start} = await one(world);
  const ended = new AbortController();
  const hw = world.client({names: [], token});
  const device = fleet(hw).device(id);
  await put("a", "1");
  for await (const change of device.configuration({signal: ended.signal})) {
    change.applied();
    ended.abort();
  }
  await device.flush();
  const reading = device.configuration().next();
  await hw.call("server/info");
  hw.close();
  equal((await reading).done, true);
  equal((await device.configuration().next()).done, true);
  const stranger = await one(world);
  const other = world.client({names: [], token: stranger.token});
  await rejects(fleet(other).device(id).configuration().next(), Denied);
  const {changes, device: ours} = start({load: async () => undefined, save: () => Promise.reject(new RangeError("full"))});
  (await changes.next()).value.applied();
  await rejects(changes.next(), RangeError);
  await rejects(ours.flush(), RangeError);
}, {only: "real"});

it("rollout", "a rollout is held when its device refuses, goes on, and is rolled back or completed", async (world) => {
  const {id, start, states, people: {startRollout, rollout}} = await one(world);
  await world.ask("layer/put", {layer: id, target: {deviceIds: [id]}, rank: 1000 + made});
  await world.change("baud", "4800", {layer: id});
  const {device, next} = start();
  (await next()).applied();
  const begin = (steps = [100]) => startRollout(id, {baud: 9600}, steps, {gate: {failures: 0, wait: 0}});
  const first = await begin();
  await rejects(begin(), Conflict);
  (await next()).refused("unsupported rate");
  const seen = [];
  for await (const {state, reason, counts} of first.follow({interval: 20})) {
    if (state === seen.at(-1)) continue;
    seen.push(state);
    if (state !== "held") continue;
    equal([reason.includes("unsupported rate"), counts.refused], [true, 1]);
    await first.rollback();
    await world.drop();
  }
  equal(seen, ["running", "held", "rolledBack"]);
  const before = await next();
  equal(before.value, "4800");
  before.applied();
  await device.flush();
  const second = await begin([{percent: 100, gate: {wait: 3600}}]);
  (await next()).applied();
  await second.hold();
  equal((await rollout(second.number).get()).state, "held");
  await second.resume();
  await device.flush();
  equal((await rollout(second.number).get()).state, "running");
  await second.rollback();
  (await next()).applied();
  await device.flush();
  const third = await begin();
  (await next()).applied();
  let last;
  for await (last of third.follow({interval: 20}));
  equal([last.state, await states()], ["completed", {baud: "applied"}]);
  equal((await rejects(third.rollback(), Conflict)).reply.changes[0].value, "4800");
}, {only: "real"});

it("watch_fleet", "counts and rows of devices follow what the devices say, over lost connections", async (world) => {
  const {id, put, start, people} = await one(world);
  const gone = await one(world);
  await put("a", "1");
  const {device, next} = start();
  const target = {deviceIds: [id, gone.id]};
  const watch = people.watchFleet({target, rows: 10});
  const reach = async (fits) => {
    for (;;) {
      const {value} = await watch.next();
      if (fits(value)) return value;
    }
  };
  await reach(({counts, rows}) => counts.devices === 2 && rows.size === 2 && rows.get(id).state === "pending");
  (await next()).refused("no a");
  await device.flush();
  const {counts} = await reach(({rows}) => rows.get(id).errors.a === "no a");
  equal([counts.refused, counts.errors], [1, [{name: "a", error: "no a", devices: 1}]]);
  await world.down();
  await world.ask("device/delete", {deviceId: gone.id});
  await world.up();
  await reach(({counts: {devices}, rows}) => devices === 1 && rows.size === 1 && rows.has(id));
  await watch.return();
});

it("rollout_held", "a rollout is held, goes on, and is rolled back; then it is over", async (world) => {
  const {put, layer, states, people: {startRollout, rollout}} = await one(world);
  await put("baud", "4800");
  const {number} = await startRollout(layer, {baud: "9600"}, [100], {gate: {minimum: 1}});
  const found = rollout(number);
  const state = async () => (await found.get()).state;
  equal([await state(), (await found.get()).layer], ["running", layer]);
  await found.hold();
  equal(await state(), "held");
  await found.resume();
  await world.drop();
  equal(await state(), "running");  // asked again on the next connection
  await found.rollback();
  const seen = [];
  for await (const each of found.follow()) seen.push(each.state);
  equal([seen, await states()], [["rolledBack"], {baud: "pending"}]);
  await rejects(found.hold(), Conflict);
  await rejects(rollout(99_999).get(), NotFound);
});

it("rollout_decided", "a test says how a rollout of the fake goes; a completed one is written into its layer", async (world) => {
  const {id, layer, people: {startRollout, effective}} = await one(world);
  const rollout = await startRollout(layer, {baud: "9600", old: null}, [10, 100]);
  world.gateway.decide(rollout.number, "held", {reason: "too many have failed"});
  const {state, reason} = await rollout.get();
  equal([state, reason], ["held", "too many have failed"]);
  await rollout.resume({step: 2});
  equal((await rollout.get()).step, 2);
  world.gateway.decide(rollout.number, "completed");
  equal((await effective(id)).configurations.map(({name, value}) => [name, value]), [["baud", "9600"]]);
}, {only: "fake"});

it("secret", "the value of a secret is null, and it says so; its device has it in clear", async (world) => {
  const {put, start, layer} = await one(world);
  await world.ask("schema/put", {names: "secrets.*", secret: true});
  await world.change("secrets.plain", "hush");
  await put("secrets.own", "hush");
  const hw = world.client({names: ["secrets.*"]});
  await hw.ready();
  const {value, secret} = hw.get("secrets.plain");
  equal([value, secret], [null, true]);
  equal((await hw.call("configuration/get", {name: "secrets.own", layer})).configuration.value, null);
  const {next} = start();
  const {name, value: clear} = await next();
  equal([name, clear], ["secrets.own", "hush"]);
}, {only: "real"});
