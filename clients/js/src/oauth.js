/** Tokens of OAuth clients (RFC 6749, 4.4). */

import {LoginRequired, refusal} from "./errors.js";

/**
 * @param {URL} url of the token endpoint
 * @param {{clientId: string, clientSecret: string}} client
 * @param {number} [timeout] milliseconds
 * @returns {Promise<string>} rejects with LoginRequired when the client is not known, or its secret is wrong
 */
export async function grant(url, {clientId, clientSecret}, timeout = 30_000) {
  const body = new URLSearchParams({grant_type: "client_credentials"});
  const headers = {Authorization: `Basic ${btoa(`${clientId}:${clientSecret}`)}`};
  const response = await fetch(url, {method: "POST", body, headers, signal: AbortSignal.timeout(timeout)});
  const answer = await response.json();
  if (response.ok) return answer.access_token;
  const error = answer.error_description ?? answer.error ?? `HTTP ${response.status}`;
  if ([400, 401].includes(response.status)) throw new LoginRequired(error);
  throw refusal({code: response.status, error, retryAfter: response.headers.get("Retry-After")});
}
