/** The client of the page, its state, and who is logged in. */

import {signal} from "../vendor/preact.js";
import {Hivewire} from "../vendor/hivewire/index.js";
import {parseExactly} from "./json.js";
import {followed} from "./scope.js";
import {tokenOrFirst} from "./session.js";
import {Names} from "./names.js";

/** Characters of a value above which it is left out until it is opened. */
export const INLINE = 1024;

/** The state of the client: `connecting`, `catching_up`, `live`, `stale`, `closed`; since when it is stale, and why. */
export const status = signal({state: "connecting", staleSince: undefined, reason: undefined});

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

hw.on("state", ({state, staleSince, reason}) => {
  status.value = {state, staleSince, reason};
  if (state === "live" || state === "catching_up") introduce();
});
hw.on("reset", ({changes}) => names.reset(changes));
hw.on("changes", ({changes}) => names.apply(changes));

async function introduce() {
  try {
    me.value = (await hw.call("user/getCurrent")).current;
    about.value ??= (await hw.call("server/info")).info;
  } catch {
    // The next state tries again; until then nobody is shown.
  }
}
