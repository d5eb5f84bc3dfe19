/** The address of a screen: `#/c/<name>?tab=history`. Browsers do not send fragments, so no name gets into a log. */

import {signal} from "../vendor/preact.js";

function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [screen = "", ...rest] = path.split("/");
  return {screen: screen || "c", rest: rest.map(decodeSafely), query: new URLSearchParams(query ?? "")};
}

/** Decode a part of the address, in which somebody may have typed a single percent sign. */
function decodeSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The current address: its screen, the parts after it, the query. */
export const route = signal(read());

addEventListener("hashchange", () => (route.value = read()));

/** The address of a screen. */
export function to(screen, ...rest) {
  const last = rest.at(-1);
  const query = last !== null && typeof last === "object" ? rest.pop() : undefined;
  const found = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  const path = [screen, ...rest.map(encodeURIComponent)].join("/");
  return `#/${path}${found.length ? `?${new URLSearchParams(found)}` : ""}`;
}

/** Go to an address. */
export function go(address) {
  location.hash = address;
}

/** Change the query of the address, without an entry in the history of the browser. */
export function refine(query) {
  const {screen, rest, query: before} = read();
  const merged = {...Object.fromEntries(before), ...query};
  history.replaceState(null, "", to(screen, ...rest, merged));
  route.value = read();
}
