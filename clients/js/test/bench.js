/**
 * How fast the client is: `npm run bench`, or `npm run bench -- http://127.0.0.1:8080 TOKEN` to write too.
 *
 * Times are of this machine as it is; the rate of puts stands beside that of a bare socket, in turns.
 */

import {Hivewire, json} from "../src/index.js";
import {Entries} from "../src/entries.js";

const NAMES = 10_000;
const [url, token] = process.argv.slice(2);
const print = (what, value) => console.log(`${what.padEnd(58)} ${value}`);

/** A snapshot as the gateway sends it. */
function snapshot() {
  const configurations = [];
  for (let index = 0; index < NAMES; index++) {
    const value = JSON.stringify({max: index});
    configurations.push({name: `limits.service-${index}`, value, entityVersion: 1, contentType: "application/json", size: value.length});
  }
  return JSON.stringify({configurations, last: true, position: "e-1"});
}

function applied(text) {
  const entries = new Entries(() => {});
  entries.apply({frames: [JSON.parse(text)], reset: true, live: true});
  return entries;
}

const text = snapshot();
const times = Array.from({length: 20}, () => {
  const began = performance.now();
  applied(text);
  return performance.now() - began;
});
print(`a snapshot of ${NAMES} names, parsed and applied`, `${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)} ms`);

if (globalThis.gc) {
  const kept = [];
  gc();
  const before = process.memoryUsage().heapUsed;
  for (let copy = 0; copy < 5; copy++) kept.push(applied(text));
  gc();
  const all = (process.memoryUsage().heapUsed - before) / kept.length / NAMES;
  const value = JSON.stringify({max: 5000}).length;
  print("memory of a name beside its value", `${(all - value).toFixed(0)} bytes`);
}

const entries = applied(text);
const as = json();
const names = [...entries.names()].slice(0, 1000);
let sum = 0;
for (let round = 0; round < 200; round++) for (const name of names) sum += entries.get(name, as).value.max;
const began = performance.now();
for (let round = 0; round < 5000; round++) for (const name of names) sum += entries.get(name, as).value.max;
print("get of a decoded value", `${((5 * names.length) / (performance.now() - began)).toFixed(1)} million a second (${sum % 7})`);

if (url) await puts();

/** Puts at 16 in flight: the client and a bare socket, in turns. */
async function puts() {
  const hw = new Hivewire(url, {token, names: ["bench.*"]});
  await hw.ready();
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/websocket`);
  const waiting = new Map();
  let number = 0;
  const ask = (action, members) => new Promise((resolve) => {
    waiting.set(++number, resolve);
    socket.send(JSON.stringify({action, requestId: number, ...members}));
  });
  socket.onmessage = ({data}) => {
    const frame = JSON.parse(data);
    const resolve = waiting.get(frame.requestId);
    waiting.delete(frame.requestId);
    resolve?.(frame);
  };
  await new Promise((resolve) => (socket.onopen = resolve));
  await ask("authenticate", {token});
  await ask("configuration/subscribe", {names: ["bench.*"]});
  const ways = {
    client: (name) => hw.put(name, "value"),
    bare: (name) => ask("configuration/put", {name, value: "value"}),
  };
  const rates = {client: [], bare: []};
  for (let turn = 0; turn < 10; turn++) {
    for (const [way, put] of Object.entries(ways)) rates[way].push(await rate(put));
  }
  const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];
  const [client, bare] = [median(rates.client), median(rates.bare)];
  print("puts with 16 in flight: client, bare socket", `${client.toFixed(0)}, ${bare.toFixed(0)} a second: ${(client / bare).toFixed(2)} x`);
  hw.close();
  socket.close();
}

async function rate(put, count = 2000) {
  const start = performance.now();
  let next = 0;
  const worker = async () => {
    while (next < count) await put(`bench.${next++ % 100}`);
  };
  await Promise.all(Array.from({length: 16}, worker));
  return (1000 * count) / (performance.now() - start);
}
