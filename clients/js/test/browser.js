/** The suite in a browser, against the gateway of the program that serves this page, and the fake. */

import {indexedDBCache} from "../src/cache.js";
import {equal, until} from "./helpers.js";
import {cases} from "./suite.js";
import {FakeWorld, RealWorld} from "./worlds.js";

let caches = 0;
const cache = () => indexedDBCache(`suite-${++caches}`);

/** What only a page has. */
const pages = [
  {
    name: "a machine that has a network again is back at once",
    async run(world) {
      let longest = 0;
      const hw = world.client({names: ["page.*"], random: () => longest});
      await hw.ready();
      for (let lost = 0; lost < 6; lost++) {
        if (lost === 5) longest = 0.999;  // from now on it would wait half a minute
        const stale = until(hw, () => hw.state === "stale");  // it may be live again before the cut is answered
        await world.drop();
        await stale;
        if (lost < 5) await until(hw, () => hw.state === "live");
      }
      dispatchEvent(new Event("online"));
      await until(hw, () => hw.state === "live");
      document.dispatchEvent(new Event("visibilitychange"));
      equal((await hw.put("page.x", "1")).version, 1);
    },
  },
  {
    name: "a cache is kept change by change, and one tab at a time writes it",
    async run(world) {
      const [name, options] = [`tabs-${Math.random()}`, {names: ["tabs.*"]}];
      const open = () => world.client({...options, cache: indexedDBCache(name)});
      const first = open();
      await first.ready();
      await world.change("tabs.a", "1");
      await until(first, () => first.get("tabs.a"));
      await first[Symbol.asyncDispose]();
      const second = open();
      await second.ready({stale: false});
      await world.change("tabs.b", "1");
      await world.change("tabs.a", null);
      await until(second, () => second.get("tabs.b") && !second.get("tabs.a"));
      await second[Symbol.asyncDispose]();  // the first saved a moment ago, so this one does not
      await world.down();
      const third = open();
      await third.ready();
      equal([...third.names()], ["tabs.a"]);
      await world.up();
      await until(third, () => third.get("tabs.b"));
    },
  },
];

/** Run all; what failed. @returns {Promise<{passed: number, failed: string[]}>} */
async function run() {
  const real = new RealWorld(location.origin);
  await real.open();
  const failed = [];
  let passed = 0;
  for (const [kind, world] of Object.entries({fake: new FakeWorld(), real})) {
    for (const each of [...cases, ...pages]) {
      if ((each.only ?? kind) !== kind || each.http) continue;
      try {
        await inTime(each.run(world, {cache}));
        passed++;
      } catch (error) {
        failed.push(`${kind}: ${each.name}: ${error?.stack ?? error}`);
      }
      await world.rest();
    }
  }
  return {passed, failed};
}

/** @param {Promise<void>} work */
function inTime(work) {
  return Promise.race([work, new Promise((_, reject) => setTimeout(reject, 100_000, new Error("it did not end")))]);
}

globalThis.results = run();
