/** The login. The access token is only in memory; scripts cannot read the cookie that gets another one. */

import {signal} from "../vendor/preact.js";

/** Whether the login form is shown, and why. */
export const login = signal({wanted: false, why: ""});

/** Calls that wait for a token until somebody has logged in. */
let waiting = [];

/** Milliseconds after which an answer is not waited for any more, as in the client. */
export const PATIENCE = 30_000;

/** The answer to a request, whatever its status. Rejects when there is none in time, or when a proxy answers with a page. */
export async function ask(path, init) {
  const response = await fetch(path, {...init, signal: AbortSignal.timeout(PATIENCE)});
  const text = await response.text();
  try {
    const answer = text ? JSON.parse(text) : {};
    return {status: response.status, answer, wait: Number(response.headers.get("Retry-After")) || 0};
  } catch {
    throw new Error(`something else answered, with status ${response.status}`);
  }
}

function post(path, body) {
  const headers = {"Hivewire-Dashboard": "1", "Content-Type": "application/json"};
  const method = path === "session" && body === undefined ? "DELETE" : "POST";
  return ask(path, {method, headers, body: body && JSON.stringify(body)});
}

/** An access token for the client, by the cookie or a login. Rejects while the gateway cannot be reached. */
export async function token() {
  const {status, answer} = await post("token");
  if (status === 200) return taken(answer.accessToken);
  if (status !== 401) throw new Error(answer.message);
  const why = claims ? "Your login has ended. Nothing that you typed is lost." : "";
  login.value = {wanted: true, why};
  return new Promise((resolve) => waiting.push(resolve));
}

let claims;
let unused = "";

/** What a token says. Throws an error for other texts. */
function claimsOf(found) {
  const {payload} = JSON.parse(atob(found.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  if (!payload.a) throw new TypeError("the token has no rights");
  return payload;
}

/** Take a new token. If it reaches other things than the one before, the page is reloaded. */
function taken(found) {
  const before = claims;
  claims = claimsOf(found);
  if (before && reach(before) !== reach(claims)) location.reload();
  if (!before) unused = found;
  return found;
}

/** What a token reaches: its user, its rights, and to which networks, types, devices and names it is limited. */
function reach({u, a, n, dt, d, c}) {
  return JSON.stringify([u, a, n, dt, d, c]);
}

/** The id of the user who is logged in. */
export function user() {
  return claims.u;
}

/** The first token of the page, once; after that the same as `token`. */
export async function tokenOrFirst() {
  const found = unused;
  unused = "";
  return found || token();
}

/** The numbers in tokens that stand for a right, beside 0 for all of them (core protocol, section 3.4). */
const NUMBERS = {
  GetNetwork: [2], GetDevice: [3], GetDeviceNotification: [4], GetDeviceCommand: [5], RegisterDevice: [6],
  CreateDeviceCommand: [7], UpdateDeviceCommand: [8], CreateDeviceNotification: [9], GetCurrentUser: [10],
  UpdateCurrentUser: [11], ManageUser: [12], ManageConfiguration: [13], ManageNetwork: [14], ManageToken: [15],
  GetDeviceType: [17], ManageDeviceType: [18], GetConfiguration: [13, 100], RevealSecret: [102],
};

/** Whether the login has a right. Screens do not offer actions without it. */
export function may(right) {
  return [0, ...NUMBERS[right]].some((number) => claims.a.includes(number));
}

/** Try a login. Resolves with undefined, or with `{message, wait}` when it is refused. */
export async function logIn(name, password) {
  const {status, answer, wait} = await post("session", {login: name, password}).catch((error) => ({
    status: 0,
    answer: {message: `The gateway does not answer: ${error.message}`},
  }));
  if (status !== 200) return {message: answer.message, wait};
  admit(answer.accessToken);
}

/** Log in with an access token, which may have fewer rights than its user. It is not stored: a reload asks for it again. */
export async function logInWith(text) {
  const given = text.trim();
  try {
    claimsOf(given);
  } catch {
    return {message: "This is no access token."};
  }
  try {
    // The client would give up after the second one that the gateway does not accept.
    const {status, answer} = await ask("../api/rest/user/current", {headers: {Authorization: `Bearer ${given}`}});
    if (status === 401) return {message: answer.message};
  } catch (error) {
    return {message: `The gateway does not answer: ${error.message}`};
  }
  admit(given);
}

function admit(given) {
  const found = taken(given);
  login.value = {wanted: false, why: ""};
  for (const resolve of waiting) resolve(found);
  waiting = [];
}

/**
 * Log out, clear the storage of the tab, and reload the page to clear its memory. Rejects when the gateway has not
 * removed the cookie: whoever opens the page next would be logged in.
 */
export async function logOut() {
  const {status} = await post("session");
  if (status !== 204) throw new Error(`it answered ${status}`);
  try {
    sessionStorage.clear();
  } catch {
    // A browser may refuse storage.
  }
  location.replace(location.pathname);
}
