/** The configuration documents of tenants (`@hivewire/client/tenants`): read and saved over HTTP, followed on the socket. */

/** @typedef {import("./hivewire.js").Hivewire} Hivewire */
/** @typedef {import("./subscription.js").Group} Group */

/**
 * The configuration document of a tenant.
 *
 * @param {Hivewire} hw
 * @param {string} id
 */
export function tenant(hw, id) {
  const path = `reltio/api/${encodeURIComponent(id)}/configuration`;
  return {
    /**
     * The document, and when it was saved.
     *
     * @param {{signal?: AbortSignal}} [options]
     * @returns {Promise<{document: any, modified: string | null}>} rejects with NotFound when it has none yet
     */
    async read({signal} = {}) {
      const response = await hw.http(path, {signal: signal ?? null});
      return {document: await response.json(), modified: response.headers.get("Last-Modified")};
    },

    /**
     * Replace the document. Rejects with Refused; with code 412 when it was saved after `modified`.
     *
     * @param {object} document
     * @param {{modified?: string | null, signal?: AbortSignal}} [options]
     * @returns {Promise<any>} the document as it is stored
     */
    async save(document, {modified, signal} = {}) {
      const headers = {"Content-Type": "application/json", ...(modified && {"If-Unmodified-Since": modified})};
      const init = {method: "PUT", headers, body: JSON.stringify(document), signal: signal ?? null};
      return (await hw.http(path, init)).json();
    },

    /**
     * Follow the document over all connections: groups of `tenant/snapshot` and `tenant/update`.
     *
     * @param {(group: Group) => void} take
     * @param {(error: Error) => void} [fail]
     * @returns {() => void} stops it
     */
    follow: (take, fail) => hw.follow("configuration/subscribe", {tenant: id}, take, fail),
  };
}
