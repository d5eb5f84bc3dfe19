/** The suite in Node: `node --test test/node.js`. With HIVEWIRE_WORLD, the address of the commands, also for real. */

import {test} from "node:test";

import {cases} from "./suite.js";
import {FakeWorld, RealWorld} from "./worlds.js";

/** A cache in memory, as a program may give one. */
function cache() {
  const kept = new Map();
  return {
    load: async (key) => kept.get(key),
    save: async (key, head, _, entries) => void kept.set(key, {...head, entries: [...entries()]}),
    delete: async (key) => void kept.delete(key),
  };
}

const worlds = {fake: new FakeWorld()};
if (process.env.HIVEWIRE_WORLD) {
  worlds.real = new RealWorld(process.env.HIVEWIRE_WORLD);
  await worlds.real.open();
}
for (const [kind, world] of Object.entries(worlds)) {
  for (const {key, name, run, only = kind} of cases) {
    if (only !== kind) continue;
    test(`${kind}: ${key}: ${name}`, {timeout: 30_000}, () => run(world, {cache}).finally(() => world.rest()));
  }
}
