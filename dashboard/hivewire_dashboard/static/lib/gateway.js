/** The client of the page, its state, and who is logged in. */

import {signal} from "../vendor/preact.js";
import {Hivewire, Uncertain, Unavailable} from "../vendor/hivewire/index.js";
import {parseExactly} from "./json.js";
import {followed} from "./scope.js";
import {PATIENCE, tokenOrFirst} from "./session.js";
import {Names} from "./names.js";
import {ahead, milliseconds} from "./text.js";

/** Characters of a value above which it is left out until it is opened. */
export const INLINE = 1024;

/** The state of the client: `connecting`, `catching_up`, `live`, `stale`, `closed`; since when it is stale, and why. */
export const status = signal({state: "connecting", staleSince: undefined, reason: undefined});

/** Milliseconds by which clocks may differ: an answer takes some time, too. */
const MINUTE = 60_000;

/** The user; undefined until it is known. */
export const me = signal(undefined);

/** The gateway's information about itself (`server/info`). */
export const about = signal(undefined);

/** The client. The address is that of the page, so that the prefix of a proxy is kept. */
export const hw = new Hivewire(new URL("..", location.href).href.replace(/#.*/, ""), {
  token: tokenOrFirst,
  names: followed(),
  detail: true,
  parse: parseExactly,
  inline: INLINE,
});

/** Its names, in order. */
export const names = new Names(hw);

/** Milliseconds for each byte of a content: 5 KB a second. */
const SLOW = 0.2;

/**
 * The answer to a request over HTTP. Rejects as `hw.http`, also when the answer does not come in time; then its body
 * rejects, too. `bytes`: about how many are sent or received.
 */
export async function http(path, init = {}, bytes = 0) {
  try {
    return await hw.http(path, {...init, signal: AbortSignal.timeout(PATIENCE + bytes * SLOW)});
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    const text = `no answer from ${path} in time`;
    throw init.method ? new Uncertain(text) : new Unavailable({code: 503, error: text});
  }
}

hw.on("state", ({state, staleSince, reason}) => {
  status.value = {state, staleSince, reason};
  if (state === "live" || state === "catching_up") introduce();
});
hw.on("reset", ({changes}) => names.reset(changes));
hw.on("changes", ({changes}) => names.apply(changes));

async function introduce() {
  try {
    me.value = (await hw.call("user/getCurrent")).current;
    about.value = (await hw.call("server/info")).info;
    const difference = milliseconds(about.value.serverTimestamp) - Date.now();
    ahead.value = Math.abs(difference) < MINUTE ? 0 : difference;
  } catch {
    // The next state tries again; until then nobody is shown.
  }
}
