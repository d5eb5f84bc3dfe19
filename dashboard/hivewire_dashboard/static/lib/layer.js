/** The configurations of one layer, while somebody looks at them (fleet.md, 3). Plain ones are those of `names`. */

import {useEffect, useState} from "../vendor/preact.js";
import {Entries} from "../vendor/hivewire/entries.js";
import {hw} from "./gateway.js";
import {to} from "./router.js";

/**
 * `{entries, ready, error}`: the entries of a layer by name, only those that match `names` if given; of no layer
 * none. Who changed an entry, and when, is known of those that change meanwhile.
 */
export function useLayer(layer, names) {
  const [found, setFound] = useState({entries: new Map(), ready: false});
  useEffect(() => {
    setFound({entries: new Map(), ready: false});
    if (layer === undefined) return undefined;
    const held = new Entries(() => {});
    const take = (group) => {
      held.apply(group);
      setFound({entries: new Map([...held.all()].map((entry) => [entry.name, entry])), ready: true});
    };
    const fail = (error) => setFound((before) => ({...before, error}));
    return hw.follow("configuration/subscribe", {layer, names}, take, fail);
  }, [layer, names?.join("\n")]);
  return found;
}

/** The address of a configuration, which is in a layer or a plain one. */
export function toOne(name, layer, query = {}) {
  return to("one", name, ...(layer === undefined ? [] : [layer]), query);
}
