/** Requests over HTTP, with the token of a client. */

import {refusal, unavailable, Uncertain} from "./errors.js";

/**
 * The answer to a request; with another token when the first one is refused.
 *
 * @param {() => URL} url at the gateway of the connection, which may be another one the second time
 * @param {RequestInit} init
 * @param {import("./credentials.js").Credentials | undefined} credentials
 * @param {import("./credentials.js").Ask} ask
 * @returns {Promise<Response>} rejects as `Hivewire.http`
 */
export async function request(url, init, credentials, ask) {
  const send = async () => {
    const token = await credentials?.token(ask);
    const headers = new Headers(init.headers);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    return answered(new Request(url(), {...init, headers}));
  };
  let response = await send();
  if (response.status === 401) {
    credentials?.drop();
    response = await send();
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = body.message ?? body.errorMessage ?? body.error_description ?? response.statusText;
  throw refusal({...body, code: response.status, error});
}

/** @param {Request} asked @returns {Promise<Response>} */
async function answered(asked) {
  try {
    return await fetch(asked);
  } catch (error) {
    if (asked.signal.aborted) throw error;
    const text = `no answer to ${asked.method} ${asked.url}: ${/** @type {Error} */ (error).message}`;
    throw /^(GET|HEAD)$/.test(asked.method) ? unavailable(text) : new Uncertain(text);
  }
}
