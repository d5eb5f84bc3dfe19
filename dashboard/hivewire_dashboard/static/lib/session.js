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
  if (status === 200) return answer.accessToken;
  if (status !== 401) throw new Error(answer.message);
  const first = !login.peek().known;
  login.value = {wanted: true, known: !first, why: first ? "" : "Your login has ended. Nothing that you typed is lost."};
  return new Promise((resolve) => waiting.push(resolve));
}

/** Try a login. Resolves with undefined, or with `{message, wait}` when it is refused. */
export async function logIn(name, password) {
  const {status, answer, wait} = await post("session", {login: name, password}).catch((error) => ({
    status: 0,
    answer: {message: `The gateway does not answer: ${error.message}`},
  }));
  if (status !== 200) return {message: answer.message, wait};
  login.value = {wanted: false, known: true, why: ""};
  for (const resolve of waiting) resolve(answer.accessToken);
  waiting = [];
}

/** There was a login: the next one is over the page. */
export function known() {
  if (!login.peek().known) login.value = {...login.peek(), known: true};
}

/** End the login, and everything that is in memory with the page. */
export async function logOut() {
  await post("session").catch(() => {});
  location.replace(location.pathname);
}
