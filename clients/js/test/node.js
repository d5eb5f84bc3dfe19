/** The suite in Node: `node --test test/node.js`, with the address of the commands in HIVEWIRE_WORLD. */

import {test} from "node:test";

import {cases} from "./suite.js";
import {RealWorld} from "./worlds.js";

const address = process.env.HIVEWIRE_WORLD;
if (!address) throw new Error("HIVEWIRE_WORLD is not set: this runs from tests/clients/test_javascript.py");
const world = new RealWorld(address);
await world.open();
for (const [name, run] of cases) test(name, {timeout: 30_000}, () => run(world).finally(() => world.rest()));
