/** Which names the page has in memory: all, or, if these are too many, those below a prefix that the user chooses. */

import {ask, may} from "./session.js";
import {settings} from "./settings.js";

const KEY = "hivewire.below";

let chosen = stored();

function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined; // a browser may refuse storage
  }
}

/** The prefix that was chosen for this tab; undefined for everything. */
export function below() {
  return chosen;
}

/** Choose a prefix, or none. It holds for what follows names from now on. */
export function choose(prefix) {
  chosen = prefix;
  try {
    if (prefix === undefined) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, prefix);
  } catch {
    // Without storage it lasts as long as the page.
  }
}

/** The patterns that the client follows; undefined for everything that the login reaches. */
export function followed() {
  if (!may("GetConfiguration")) return [];
  return below() === undefined ? undefined : [`${below()}*`];
}

/** The folders and names directly below a prefix: `{children, count}`. */
export async function tree(token, prefix, take = 1_000) {
  const query = new URLSearchParams({take, delimiter: settings.value.delimiter, ...(prefix && {prefix})});
  const {status, answer} = await ask(`../api/rest/configuration-tree?${query}`, {headers: {Authorization: `Bearer ${token}`}});
  if (status !== 200) throw Object.assign(new Error(answer.message), {code: status});
  return answer;
}

/** Whether a prefix has to be chosen first. */
export async function tooMany(token) {
  if (!may("GetConfiguration") || below() !== undefined) return false;
  const known = await tree(token, "", 0).catch((error) => {
    if (error.code === 401) return {count: 0}; // the token has ended: the client asks for another
    throw error;
  });
  return known.count > settings.value.held;
}
