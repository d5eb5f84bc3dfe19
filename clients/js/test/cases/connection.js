/** Lost connections, other gateways, and what is resumed. */

import {Addresses, backoff, told} from "../../src/addresses.js";
import {NotFound} from "../../src/index.js";
import {Subscription} from "../../src/subscription.js";
import {equal, it, live, noted, rejects, until} from "../helpers.js";

it("resumes", "after a cut it resumes by position, and has each change once", async (world) => {
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
  await until(hw, () => hw.get("f.x"));
  await world.down();
  await world.change("f.x", "1");
  await world.change("f.x", "2");
  await until(hw, () => hw.state === "stale");
  equal(hw.get("f.x").value, "0");
  await world.up();
  await live(hw);
  equal(seen, ["0", "1", "2"]);
  equal(states, [["stale", true], ["catching_up", true], ["live", false]]);
  hw.close();
});

it("fifty_kills", "over fifty kills nothing is missing and nothing comes twice", async (world) => {
  const hw = world.client({names: ["h.*"]});
  await hw.ready();
  const seen = [];
  hw.on("changes", ({changes}) => seen.push(...changes.map((change) => change.entry.version)));
  hw.on("reset", () => seen.push("reset"));
  let written = 0;
  for (let round = 0; round < 50; round++) {
    // A kill of the gateway takes a while, a cut none: most are cuts, some in the middle of a write.
    const end = world.fake || (round + 1) % world.killEach ? world.drop : world.kill;
    await Promise.all([world.change("h.x", String(++written)), round % 2 ? undefined : world.drop()]);
    await end();
    await world.change("h.x", String(++written));
    if (round % 3 === 0) await live(hw);
  }
  await until(hw, () => hw.get("h.x")?.version === written);
  equal(seen, Array.from({length: written}, (_, index) => index + 1));
});

it("reset", "when the history is lost, the state is replaced, as one event with what is different", async (world) => {
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

it("drain", "the gateway stops and names no other: the client comes back, and misses nothing", async (world) => {
  await world.alone();
  const hw = world.client({names: ["drain.*"]});
  await hw.ready();
  const seen = [];
  hw.on("changes", ({changes}) => seen.push(...changes.map((change) => change.entry.version)));
  hw.on("reset", () => seen.push("reset"));
  await world.change("drain.x", "1");
  await world.drain({alternatives: []});
  await world.change("drain.x", "2");
  await until(hw, () => hw.get("drain.x")?.version === 2);
  equal(seen, [1, 2]);
});

it("no_return_before_retry", "not before the time that the gateway says", async (world) => {
  const [WebSocket, {times}] = noted(world.WebSocket);
  const hw = world.client({WebSocket, names: ["retry.*"]});
  await hw.ready();
  const stopped = Date.now();
  world.gateway.close(1001, "server going away; retry=150");
  await until(hw, () => hw.state === "stale");
  await live(hw);
  equal([times.length, times[1] - stopped >= 150], [2, true]);
}, {only: "fake"});

it("alternatives", "the gateway stops and names another: the client goes there at once", async (world) => {
  const [WebSocket, {hosts}] = noted(world.WebSocket);
  const hw = world.client({names: ["n.*"], WebSocket});
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
  equal(hosts.slice(0, 2), world.urls.map((url) => new URL(url).host));
});

it("list_of_addresses", "one of two addresses is dead: the other one is used", async (world) => {
  const [WebSocket, {hosts}] = noted(world.WebSocket);
  const dead = "http://127.0.0.1:9";
  const hw = world.client({WebSocket: world.fake ? mostlyDead(WebSocket) : WebSocket, names: []}, [dead, world.urls[0]]);
  equal(await hw.ready(), "live");
  equal(hosts, [dead, world.urls[0]].map((url) => new URL(url).host));
});

/** The fake answers at every address; here it does not at the first. */
function mostlyDead(WebSocket) {
  return class extends WebSocket {
    constructor(url) {
      super(url);
      if (url.includes(":9/")) this.close();
    }
  };
}

it("close_codes", "some codes close the client; after others it comes back", async (world) => {
  for (const code of [1002, 1003, 1007, 1009]) {
    const hw = world.client({names: []});
    await hw.ready();
    world.gateway.close(code, "why");
    await until(hw, () => hw.state === "closed");
    equal(hw.status.reason.message, `why (${code})`);
  }
  const hw = world.client({names: []});
  for (const code of [1001, 1011, 4008, 4010, 4011]) {
    await live(hw);
    world.gateway.close(code, code === 1001 ? "server going away; retry=1" : "why");
    await until(hw, () => hw.state === "connecting");
  }
  await live(hw);
  equal([1001, 4029, 1006].map((code) => told(code, code === 1001 ? "going; retry=1234" : "") ?? null), [1234, 30_000, null]);
}, {only: "fake"});

it("unfinished_group", "a group whose end did not come is dropped", async () => {
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

it("spread", "a thousand clients that are cut off at once come back spread", async () => {
  const slots = new Map();
  for (let client = 0; client < 1000; client++) {
    const slot = Math.floor(backoff(0, Math.random) / 100);
    slots.set(slot, (slots.get(slot) ?? 0) + 1);
  }
  equal(Math.max(...slots.values()) <= 100, true);
  equal(backoff(9, () => 1), 30_000);
});

it("no_downgrade", "an alternative without TLS is not used in place of an address with it; none before its time, and no nonsense", async () => {
  const addresses = new Addresses(["http://a", "https://b/prefix/"], () => 0);
  equal(addresses.current, "ws://a/api/websocket");
  addresses.hold(60_000);
  equal([addresses.next(), addresses.current], [0, "wss://b/prefix/api/websocket"]);
  addresses.learn(["http://plain", "gateway:8080", "https://", "https://c"]);
  equal(addresses.all.slice(2), ["wss://c/api/websocket"]);  // none without TLS, and what is an address
  addresses.hold(90_000);
  equal([addresses.next(), addresses.current], [0, "wss://c/api/websocket"]);
  addresses.hold(90_000);
  equal([addresses.next() > 50_000, addresses.current], [true, "ws://a/api/websocket"]);
});

it("follow", "pushes of any subscription come in groups", async (world) => {
  const hw = world.client({names: []});
  const groups = [];
  const arrived = new Promise((resolve) => hw.follow("network/subscribe", {}, (group) => {
    groups.push(group);
    if (groups.length === 2) resolve();
  }));
  await hw.call("server/info");
  await hw.call("network/insert", {network: {name: `groups ${Math.random()}`}});
  await arrived;
  equal([groups[0].reset, groups[0].live, groups[1].frames[0].action], [true, true, "network/change"]);
  await rejects(new Promise((_, reject) => hw.follow("command/subscribe", {deviceId: "nobody"}, () => {}, reject)), NotFound);
}, {only: "real"});

