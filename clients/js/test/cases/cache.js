/** What is kept while no gateway answers. */

import {NotReady} from "../../src/index.js";
import {equal, it, rejects, until} from "../helpers.js";

it("stale_from_cache", "what is cached is served while no gateway answers, to the same subject only", async (world, {cache}) => {
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

it("foreign_cache", "a damaged cache, or one for other names or another address, is not used", async (world) => {
  const warnings = [];
  const {warn} = console;
  console.warn = (...words) => warnings.push(words.join(" "));
  const damaged = [{position: 1}, {subject: "", reach: "", position: "x-1", at: 1, entries: [{}]}];
  for (const found of damaged) {
    const cache = {load: async () => found, save: async () => {}, delete: async () => {}};
    equal(await world.client({names: ["p.*"], cache}).ready(), "live");
  }
  const keys = new Set();
  const key = {load: async (key) => void keys.add(key), save: async () => {}, delete: async () => {}};
  for (const names of [["p.*"], ["p.x"]]) await world.client({names, cache: key}).ready();
  await world.client({names: ["p.*"], cache: key}, [world.urls[0], world.urls[1]]).ready();
  equal(keys.size, 3);
  const cache = {load: () => Promise.reject(new Error("the disk")), save: () => Promise.reject(new Error("full")), delete: async () => {}};
  const hw = world.client({names: ["p.*"], cache});
  await hw.ready();
  await hw[Symbol.asyncDispose]();
  console.warn = warn;
  equal(warnings.length, 4);
});

