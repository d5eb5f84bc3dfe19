// WebSocket with Node's own, which is that of browsers, or with the package `ws` in the folder that is named: each line
// of standard input has a number and a message. Printed are as many messages as the number says, and the close code.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [url, folder] = process.argv.slice(2);
const Socket = folder ? createRequire(folder + "/")("ws") : WebSocket;
const socket = new Socket(url);
const received = [];
let wake = () => {};
socket.onmessage = event => { received.push(event.data); wake(); };
socket.onclose = event => console.log(event.code);
await new Promise(done => { socket.onopen = done; });
for (const line of readFileSync(0, "utf8").replace(/\n$/, "").split("\n")) {
  const [, count, message] = line.match(/^(\d+) (.*)$/);
  socket.send(message);
  for (let number = 0; number < count; number++) {
    while (!received.length) await new Promise(done => { wake = done; });
    console.log(received.shift());
  }
}
socket.close(1000);
