/** Logging in. The access token is in memory only; the cookie that is worth another one is out of reach of scripts. */

import {signal} from "../vendor/preact.js";

/** Whether the login is asked for, and why. */
export const login = signal({wanted: false, why: ""});

/** Who waits for a token until somebody has logged in. */
let waiting = [];

async function post(path, body) {
  const headers = {"Hivewire-Dashboard": "1", "Content-Type": "application/json"};
  const method = path === "session" && body === undefined ? "DELETE" : "POST";
  const response = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  const answer = response.status === 204 ? {} : await response.json();
  return {status: response.status, answer, wait: Number(response.headers.get("Retry-After")) || 0};
}

/** What the client asks for a token: of the cookie, or else of a person. Rejects while the gateway cannot be asked. */
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

/** A token that has come. When it reaches other things than the page was made for, the page is made anew. */
function taken(found) {
  const before = claims;
  claims = JSON.parse(atob(found.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).payload;
  if (before && (before.u !== claims.u || String(before.a) !== String(claims.a))) location.reload();
  if (!before) unused = found;
  return found;
}

/** The token with which the page began, once, and then what `token` gives. */
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

/** Whether the login has a right: what it may not do is not offered. */
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
  login.value = {wanted: false, why: ""};
  const found = taken(answer.accessToken);
  for (const resolve of waiting) resolve(found);
  waiting = [];
}

/** End the login, and everything that is in memory with the page. */
export async function logOut() {
  await post("session").catch(() => {});
  location.replace(location.pathname);
}
