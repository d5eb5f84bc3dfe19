/** Caches: a client keeps its configurations there, for the time when no gateway answers. In browsers: IndexedDB. */

/** @typedef {import("./entries.js").Entry<string | null>} Entry */

/**
 * The content of a cache. It has no token.
 *
 * @typedef {object} Saved
 * @property {string} subject of the token that read it
 * @property {string} reach of that token
 * @property {string} position
 * @property {number} at when it was current, in milliseconds since 1970
 * @property {Entry[]} entries
 */

/**
 * A cache. Each method gets the key: the address and the names.
 *
 * @typedef {object} Cache
 * @property {(key: string) => Promise<Saved | undefined>} load
 * @property {(key: string, head: Omit<Saved, "entries">, changed: Map<string, Entry | undefined> | undefined,
 *   entries: () => Iterable<Entry>) => Promise<void>} save
 *   `changed`: the names that changed since the last save, with their entries; undefined when everything is new
 * @property {(key: string) => Promise<void>} delete
 */

/** This tab does not write the cache if another one did within this time, in milliseconds. */
const TURN = 5_000;

/**
 * @param {unknown} found
 * @returns {Saved | undefined} undefined if it is not the content of a cache
 */
export function checked(found) {
  const {subject, reach, position, at, entries} = /** @type {any} */ (found ?? {});
  const text = [subject, reach, position].every((each) => typeof each === "string");
  const entry = (/** @type {any} */ each) => typeof each?.name === "string" && Number.isInteger(each.version);
  const whole = text && position && Number.isFinite(at) && Array.isArray(entries) && entries.every(entry);
  return whole ? /** @type {Saved} */ (found) : undefined;
}

/**
 * A cache in IndexedDB. It has a row for each configuration, so that a change writes only one.
 *
 * @param {string} [name] of the database
 * @returns {Cache}
 */
export function indexedDBCache(name = "hivewire") {
  const writer = Math.random();
  let whole = true;

  /**
   * @template T
   * @param {IDBTransactionMode} mode
   * @param {(heads: IDBObjectStore, rows: IDBObjectStore) => Promise<T> | T} work
   * @returns {Promise<T>}
   */
  async function transaction(mode, work) {
    const database = await opened(name);
    try {
      const open = database.transaction(["heads", "rows"], mode);
      const done = new Promise((resolve, reject) => {
        open.oncomplete = resolve;
        open.onerror = open.onabort = () => reject(open.error);
      });
      const found = await work(open.objectStore("heads"), open.objectStore("rows"));
      await done;
      return found;
    } finally {
      database.close();
    }
  }

  return {
    async load(key) {
      const [head, entries] = await transaction("readonly", (heads, rows) =>
        Promise.all([settled(heads.get(key)), settled(rows.getAll(range(key)))]),
      );
      return head && {...head, entries};
    },

    async save(key, head, changed, entries) {
      await transaction("readwrite", async (heads, rows) => {
        const last = await settled(heads.get(key));
        const other = last && last.writer !== writer;
        if (other && Date.now() - last.at < TURN) {
          whole = true;
          return;
        }
        heads.put({...head, writer}, key);
        if (whole || other || !changed) {
          rows.delete(range(key));
          for (const each of entries()) rows.put(each, [key, each.name]);
          whole = false;
          return;
        }
        for (const [name, each] of changed) each ? rows.put(each, [key, name]) : rows.delete([key, name]);
      });
    },

    async delete(key) {
      whole = true;
      await transaction("readwrite", (heads, rows) => {
        heads.delete(key);
        rows.delete(range(key));
      });
    },
  };
}

/** @param {string} key */
function range(key) {
  return IDBKeyRange.bound([key], [key, []]);
}

/** @param {string} name @returns {Promise<IDBDatabase>} */
function opened(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("heads");
    request.result.createObjectStore("rows");
  };
  return settled(request);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<any>}
 */
function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
