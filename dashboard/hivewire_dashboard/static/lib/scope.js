/** Which names the page has in memory: all, or, if these are too many, those below a prefix that the user chooses. */

import {may} from "./session.js";
import {settings} from "./settings.js";

const KEY = "hivewire.below";

/** The prefix that was chosen for this tab; undefined for everything. */
export function below() {
  try {
    return sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined; // a browser may refuse storage
  }
}

/** Choose another prefix, or none, and reload the page. */
export function choose(prefix) {
  if (prefix === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, prefix);
  location.reload();
}

/** The patterns that the client follows; undefined for everything that the login reaches. */
export function followed() {
  if (!may("GetConfiguration")) return [];
  return below() === undefined ? undefined : [`${below()}*`];
}

/** The folders and names directly below a prefix: `{children, count}`. */
export async function tree(token, prefix, take = 1_000) {
  const query = new URLSearchParams({take, delimiter: settings.value.delimiter, ...(prefix && {prefix})});
  const response = await fetch(`../api/rest/configuration-tree?${query}`, {headers: {Authorization: `Bearer ${token}`}});
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.message), {code: response.status});
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
