/** The suite in Node: `node --test test/node.js`. With HIVEWIRE_WORLD, the address of the commands, also for real. */

import {execFileSync} from "node:child_process";
import {once} from "node:events";
import {mkdtemp, readdir, rm, stat} from "node:fs/promises";
import {createServer} from "node:http";
import {tmpdir} from "node:os";
import {join} from "node:path";
import {after, test} from "node:test";

import {fileCache} from "../src/file.js";
import {Hivewire, Unavailable, Uncertain} from "../src/index.js";
import {grant} from "../src/oauth.js";
import {equal, rejects, until} from "./helpers.js";
import {cases} from "./suite.js";
import {FakeWorld, RealWorld} from "./worlds.js";

const folder = await mkdtemp(join(tmpdir(), "hivewire-"));
after(() => rm(folder, {recursive: true}));
let caches = 0;
const cache = () => fileCache(join(folder, `cache-${++caches}`));

const worlds = {fake: new FakeWorld()};
if (process.env.HIVEWIRE_WORLD) {
  worlds.real = new RealWorld(process.env.HIVEWIRE_WORLD);
  await worlds.real.open();
}
for (const [kind, world] of Object.entries(worlds)) {
  for (const {key, name, run, only = kind} of cases) {
    if (only !== kind) continue;
    test(`${kind}: ${key}: ${name}`, {timeout: 240_000}, () => run(world, {cache}).finally(() => world.rest()));
  }
}

test("without IndexedDB a cache needs a file", async () => {
  const open = async () => worlds.fake.client({cache: true});
  await rejects(open(), TypeError);
});

test("a gateway that cannot be reached is named", async () => {
  const hw = new Hivewire("http://127.0.0.1:9", {token: "any"});
  await until(hw, () => hw.status.reason);
  equal([hw.state, hw.status.reason.includes("127.0.0.1:9")], ["connecting", true]);
  hw.close();
});

test("a client that is closed at once does not keep the process", () => {
  const index = new URL("../src/index.js", import.meta.url);
  const program = `import {Hivewire} from "${index}"; new Hivewire("http://127.0.0.1:9", {token: "any"}).close();`;
  const options = ["--experimental-websocket", "--no-warnings", "--input-type=module", "-e", program];
  execFileSync(process.execPath, options, {timeout: 60_000});
});

test("a request over HTTP without an answer is uncertain, or unavailable if it only reads", async () => {
  const hw = new Hivewire("http://127.0.0.1:9", {token: "any", names: []});
  await rejects(hw.http("api/rest/configuration/x/content", {method: "PUT", body: "1"}), Uncertain);
  await rejects(hw.http("api/rest/configuration/x/content"), Unavailable);
  const ended = AbortSignal.abort(new RangeError("enough"));
  await rejects(hw.http("api/rest/info", {signal: ended}), RangeError);
  hw.close();
});

test("the token of an OAuth client is not waited for forever; only a refusal of the client is one", async () => {
  let status;
  const server = createServer((_, response) => status && response.writeHead(status).end('{"error":"no"}')).listen(0, "127.0.0.1");
  await once(server, "listening");
  const ask = (timeout) => {
    const url = new URL(`http://127.0.0.1:${server.address().port}/oauth/token`);
    return grant(url, {clientId: "a", clientSecret: "b"}, timeout).catch((error) => error.name);
  };
  equal(await ask(1), "TimeoutError");
  const found = [];
  for (status of [400, 401, 408, 429, 503]) found.push(await ask());
  equal(found, ["LoginRequired", "LoginRequired", "Refused", "Busy", "Unavailable"]);
  server.closeAllConnections();
  server.close();
});

test("a cache in a file is its owner's alone, of one key, and whole", async () => {
  const [path, head] = [join(folder, "owned"), {subject: "login a", reach: "a", position: "x-1", at: 1}];
  const kept = fileCache(path);
  equal((await kept.load("k")) ?? "none", "none");
  await kept.save("k", head, undefined, () => [{name: "n", value: "1", version: 1}]);
  equal((await stat(path)).mode & 0o777, 0o600);
  equal(await kept.load("k"), {...head, entries: [{name: "n", value: "1", version: 1}]});
  equal((await kept.load("another key")) ?? "none", "none");
  const failing = () => { throw new RangeError("it fails"); };
  await rejects(kept.save("k", head, undefined, failing), RangeError);
  equal((await kept.load("k")).position, "x-1");
  equal((await readdir(folder)).filter((name) => name.startsWith("owned")), ["owned"]);
  await kept.delete("k");
  equal((await kept.load("k")) ?? "none", "none");
});
