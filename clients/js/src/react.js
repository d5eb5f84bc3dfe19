/** Hooks for React (`@hivewire/client/react`). Make the client once, outside of components. */

import {useCallback, useMemo, useSyncExternalStore} from "react";

/** @typedef {import("./hivewire.js").Hivewire} Hivewire */

/**
 * The value of a configuration; the component renders again when it changes.
 *
 * @template [T=string]
 * @param {Hivewire} hw
 * @param {string} name
 * @param {import("./codecs.js").Codec<T>} [as]
 * @returns {T | undefined} undefined if there is none
 */
export function useConfiguration(hw, name, as) {
  const store = useMemo(() => hw.store(name, as), [hw, name, as]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/**
 * The state of the client: `{state, staleSince, reason}`.
 *
 * @param {Hivewire} hw
 */
export function useHivewireState(hw) {
  const subscribe = useCallback((/** @type {() => void} */ told) => hw.on("state", told), [hw]);
  return useSyncExternalStore(subscribe, () => hw.status, () => hw.status);
}
