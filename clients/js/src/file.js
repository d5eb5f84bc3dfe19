/// <reference types="node" />
/** A cache in a file, for Node: a program can start with it while no gateway can be reached. */

import {open, readFile, rename, rm} from "node:fs/promises";

/**
 * A cache in a file that only its owner can read. Each save replaces the whole file, so a program that is killed leaves
 * the old content or the new one. A file is for one set of addresses and names; a client with others needs its own.
 *
 * @param {string} path
 * @returns {import("./cache.js").Cache}
 */
export function fileCache(path) {
  return {
    async load(key) {
      try {
        const {key: of, ...saved} = JSON.parse(await readFile(path, "utf8"));
        return of === key ? saved : undefined;
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code === "ENOENT") return undefined;
        throw error;
      }
    },

    async save(key, head, _changed, entries) {
      const temporary = `${path}.${crypto.randomUUID()}`;
      try {
        const file = await open(temporary, "wx", 0o600);
        try {
          await file.writeFile(JSON.stringify({key, ...head, entries: [...entries()]}));
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, {force: true});
        throw error;
      }
    },

    async delete() {
      await rm(path, {force: true});
    },
  };
}
