/** Tokens: where they come from, and how they end. */

import {Denied, LoginRequired, NotFound, Refused, Stopped, Unavailable} from "../../src/index.js";
import {tenant} from "../../src/tenants.js";
import {equal, it, noted, rejects, until, values} from "../helpers.js";

it("rights", "what a token does not allow is Denied; without a good one the client closes", async (world) => {
  const token = await world.mint({names: ["e.*"]});
  const hw = world.client({token});
  await hw.ready();
  await rejects(hw.put("other", "1"), Denied);
  equal(hw.state, "live");
  const bad = world.client({token: "no.token"});
  await rejects(bad.ready(), LoginRequired);
  equal(bad.state, "closed");
  await rejects(world.client({token: undefined}).ready(), LoginRequired);
  await rejects(world.client({token: undefined, names: []}).put("t.x", "1"), LoginRequired);
  const {login, password} = world;
  equal(await world.client({token: {login, password}, names: []}).ready(), "live");
});

it("renewal", "a token is renewed on the connection that is there, before it ends", async (world) => {
  const [WebSocket, {hosts}] = noted(world.WebSocket);
  const brief = await world.brief();
  let asked = 0;
  const token = () => world.mint({seconds: (asked += 1) < 3 ? brief : 3600});
  const hw = world.client({token, names: ["j.*"], WebSocket});
  await hw.ready();
  const states = [];
  hw.on("state", ({state}) => states.push(state));
  await until(hw, () => asked >= 3);
  await world.change("j.x", "1");
  await until(hw, () => hw.get("j.x"));
  equal([asked, hosts.length, states], [3, 1, []]);
});

it("text_token_ends", "a token that has ended is asked for once more; one that cannot be renewed closes the client, which still serves", async (world) => {
  const seconds = await world.brief();
  const tokens = [await world.mint({seconds}), await world.mint()];
  const hw = world.client({token: () => tokens.shift() ?? Promise.reject(new LoginRequired()), names: ["k.*"]});
  await hw.ready();
  await until(hw, () => tokens.length === 0);
  equal((await hw.put("k.x", "1")).version, 1);
  const expired = world.client({token: await world.mint({seconds}), names: ["k.*"]});
  await expired.ready();
  await until(expired, () => expired.state === "closed");
  equal([expired.status.reason instanceof LoginRequired, expired.get("k.x").value], [true, "1"]);
  const {message} = await rejects(expired.put("k.x", "2"), Stopped);
  equal(message, `the client is closed: ${expired.status.reason.message}`);
});

it("refused_once", "a request whose token is not good any more is sent again with another one", async (world) => {
  const [WebSocket, {hosts, sent}] = noted(world.WebSocket);
  const hw = world.client({token: () => world.gateway.token(), names: [], WebSocket});
  await hw.ready();
  world.gateway.expire();
  world.token = world.gateway.token();  // of the other cases
  equal((await hw.put("again.x", "1")).version, 1);
  equal([hosts.length, sent.filter((action) => action === "configuration/put").length], [1, 2]);
}, {only: "fake"});

it("waiting_for_a_person", "a token function that takes long is asked once, though connections break meanwhile", async (world) => {
  let give;
  let asked = 0;
  const tokens = [world.gateway.token()];
  const token = () => tokens.shift() ?? new Promise((resolve) => (asked++, (give = resolve)));
  const hw = world.client({token, names: ["person.*"]});
  await hw.ready();
  world.gateway.expire();
  world.token = world.gateway.token();  // of the other cases
  await until(hw, () => asked);
  const put = hw.put("person.x", "1");
  await world.drop();
  await until(hw, () => hw.state === "stale");
  give(world.token);
  equal([(await put).version, asked], [1, 1]);
  await until(hw, () => hw.state === "live");
}, {only: "fake"});

it("refused_and_cut", "what is given up is not sent again with another token; what is followed, once over the next connection", async (world) => {
  const [WebSocket, {sent}] = noted(world.WebSocket);
  const gives = [];
  const tokens = [world.gateway.token()];
  const token = () => tokens.shift() ?? new Promise((resolve) => gives.push(resolve));
  const hw = world.client({token, names: [], WebSocket});
  await hw.ready();
  world.gateway.expire();
  world.token = world.gateway.token();  // of the other cases
  const put = hw.put("given_up.x", "1", {timeout: 1});
  await until(hw, () => gives.length);
  await rejects(put, Unavailable);
  gives.pop()(world.token);
  await rejects(hw.fetch("given_up.x"), NotFound);
  world.gateway.expire();
  world.token = world.gateway.token();
  const commands = [];
  hw.follow("command/subscribe", {resumable: true}, ({frames}) => commands.push(...frames.map(({command}) => command.command)));
  await until(hw, () => gives.length);
  await world.drop();
  gives.pop()(world.token);
  await hw.call("server/info");
  world.gateway.insert("command", {deviceId: "dev-1", command: "dim"});
  await hw.call("server/info");
  equal([commands, sent.filter((action) => action === "command/subscribe").length], [["dim"], 2]);
}, {only: "fake"});

it("refresh_token", "a refresh token is enough", async (world) => {
  const hw = world.client({token: await world.mint({refresh: true}), names: ["l.*"]});
  equal(await hw.ready(), "live");
});

it("wider_token", "a token that reaches other names begins with the state", async (world) => {
  await world.change("m.a", "1");
  await world.change("m.b", "1");
  const seconds = await world.brief();
  const tokens = [await world.mint({names: ["m.a"], seconds}), await world.mint()];
  const hw = world.client({token: () => tokens.shift() ?? world.token, names: ["m.*"]});
  await hw.ready();
  equal(values(hw), {"m.a": "1"});
  await until(hw, () => hw.get("m.b"));
  equal(values(hw), {"m.a": "1", "m.b": "1"});
  const others = [await world.mint({names: ["m.a"], seconds}), await world.mint()];
  const away = world.client({token: () => others.shift() ?? world.token, names: ["m.*"]});
  await away.ready();
  await world.down();
  await until(away, () => !others.length);  // it has the other token before it is connected again
  await world.up();
  await until(away, () => away.get("m.b"));
});

it("tenants", "the document of a tenant is read, saved and followed", async (world) => {
  const hw = world.client({names: []});
  await hw.call("tenant/insert", {tenantId: "shop"});
  const shop = tenant(hw, "shop");
  const store = {uri: "configuration/entityTypes/Store", label: "Store", attributes: []};
  await rejects(shop.read(), NotFound);
  const groups = [];
  const arrived = new Promise((resolve) => shop.follow((group) => groups.push(group) === 2 && resolve()));
  await hw.call("subscription/list");
  const stored = await shop.save({label: "Shop", schemaVersion: "1", sources: [], entityTypes: [store]});
  const {document, modified} = await shop.read();
  equal([document.label, stored.label], ["Shop", "Shop"]);
  await arrived;
  equal([groups[0].frames[0].tenants, groups[1].frames[0].tenant], [[], "shop"]);
  equal((await rejects(shop.save(document, {modified: new Date(0).toUTCString()}), Refused)).code, 412);
  equal((await shop.save(document, {modified})).label, "Shop");
  const {clientSecret} = await hw.call("client/insert", {clientId: "editor", tenants: {shop: ["UPDATE"]}});
  const editor = world.client({token: {clientId: "editor", clientSecret}, names: []});
  equal((await tenant(editor, "shop").read()).document.label, "Shop");
  await rejects(world.client({token: {clientId: "editor", clientSecret: "no"}, names: []}).ready(), LoginRequired);
}, {only: "real", http: true});

