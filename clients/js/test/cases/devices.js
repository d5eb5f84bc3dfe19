/** Commands and notifications of devices. */

import {devices} from "../../src/devices.js";
import {NotReady} from "../../src/index.js";
import {equal, it, rejects, until} from "../helpers.js";

/** A device that exists, a client of it and one of people; `settled` waits until what they follow is followed. */
async function both(world) {
  const deviceId = `device-${Math.floor(1e9 * Math.random())}`;
  if (!world.fake) await world.ask("device/save", {deviceId, device: {name: "D", networkId: 1, deviceTypeId: 1}});
  const clients = [world.client({names: []}), world.client({names: []})];
  const settled = () => Promise.all(clients.map((hw) => hw.call("server/info")));
  return {deviceId, device: devices(clients[0]), people: devices(clients[1]), settled};
}

it("closed_feed", "what a closed client follows ends at once", async (world) => {
  const hw = world.client({names: []});
  hw.close();
  equal((await devices(hw).commands().next()).done, true);
}, {only: "fake"});

it("commands_resume", "the connection is cut while commands come: each comes once, in order, and can be answered", async (world) => {
  const {deviceId, device, people, settled} = await both(world);
  const tasks = device.commands({deviceId});
  await settled();
  const first = await people.send(deviceId, "set", {n: 1});
  const done = [];
  const working = (async () => {
    for await (const task of tasks) {
      done.push(task.parameters.n);
      await task.done({n: task.parameters.n});
      if (done.length === 4) return;
    }
  })();
  equal((await first.answer()).result, {n: 1});
  const position = tasks.position;
  for (const n of [2, 3, 4]) {
    await world.drop();
    await people.send(deviceId, "set", {n});
  }
  await working;
  equal(done, [1, 2, 3, 4]);
  const again = [];
  for await (const task of device.commands({deviceId, since: position})) {
    again.push(task.parameters.n);
    if (task.parameters.n === 4) break;
  }
  equal(again, [2, 3, 4]);
});

it("send_command", "a command is sent, and its sender gets what has become of it", async (world) => {
  const {deviceId, device, people, settled} = await both(world);
  const tasks = device.commands({deviceId, names: ["set"]});
  await settled();
  const sent = await people.send(deviceId, "set", {n: 1});
  const answer = sent.answer();
  const {value: task} = await tasks.next();
  equal([task.command, task.parameters, task.id], ["set", {n: 1}, sent.id]);
  await task.failed("stuck");
  equal([(await answer).status, (await answer).result], ["failed", {reason: "stuck"}]);
  equal((await sent.answer()).status, "failed");  // also when it is asked for later
  const unanswered = await people.send(deviceId, "never");
  await rejects(unanswered.answer({timeout: 10}), NotReady);
});

it("notifications", "a notification comes once, also over a lost connection", async (world) => {
  const {deviceId, device, people, settled} = await both(world);
  const heard = people.notifications({deviceId, names: ["level"]});
  await settled();
  await device.notify(deviceId, "other", {});
  await device.notify(deviceId, "level", {now: 1});
  equal((await heard.next()).value.parameters, {now: 1});
  await world.drop();
  await device.notify(deviceId, "level", {now: 2});
  await device.notify(deviceId, "level", {now: 3});
  equal([(await heard.next()).value.parameters, (await heard.next()).value.parameters], [{now: 2}, {now: 3}]);
});

it("devices", "the devices in reach are kept up to date", async (world) => {
  const hw = world.client({names: []});
  const {all} = devices(hw).follow({presence: true}, () => {});
  await hw.call("device/save", {deviceId: "followed", device: {name: "F"}});
  await until(hw, () => all.get("followed")?.name === "F");
  await hw.call("device/delete", {deviceId: "followed"});
  await until(hw, () => !all.has("followed"));
}, {only: "real"});
