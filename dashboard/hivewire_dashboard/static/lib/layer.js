/** The configurations of layers, while somebody looks at them (fleet.md, 3). Plain ones are those of `names`. */

import {useEffect, useState} from "../vendor/preact.js";
import {Entries} from "../vendor/hivewire/entries.js";
import {hw} from "./gateway.js";
import {to} from "./router.js";

/** Exact names in one request; of more the whole layer is followed. */
const NAMES = 100;

/** Hand over the entries of a layer by name, those that match `names` if given, whenever one changes. Returns the end. */
function follow(layer, names, take, fail) {
  const held = new Entries(() => {});
  const members = {layer, names: names?.length > NAMES ? undefined : names, detail: true};
  return hw.follow("configuration/subscribe", members, (group) => {
    held.apply(group);
    take(new Map([...held.all()].map((entry) => [entry.name, entry])));
  }, fail);
}

/** `{entries, ready, error}`: the entries of a layer by name, only those that match `names` if given; of no layer none. */
export function useLayer(layer, names) {
  const [found, setFound] = useState({entries: new Map(), ready: false});
  useEffect(() => {
    setFound({entries: new Map(), ready: false});
    if (layer === undefined) return undefined;
    return follow(layer, names, (entries) => setFound({entries, ready: true}), (error) => setFound((before) => ({...before, error})));
  }, [layer, names?.join("\n")]);
  return found;
}

/** Entries by name, by layer, of the layers that are known already: those that edits are about. */
export function useLayersOf(edits) {
  const [found, setFound] = useState(new Map());
  const wanted = Map.groupBy(edits.filter(({layer}) => layer !== undefined), ({layer}) => layer);
  useEffect(() => {
    setFound(new Map());
    const ends = [...wanted].map(([layer, some]) => {
      const take = (entries) => setFound((before) => new Map(before).set(layer, entries));
      return follow(layer, some.map(({name}) => name), take, () => take(new Map())); // it was deleted
    });
    return () => ends.forEach((end) => end());
  }, [[...wanted].map(([layer, some]) => [layer, ...some.map(({name}) => name)].join("\n")).join("\n\n")]);
  return found;
}

/** The address of a configuration, which is in a layer or a plain one. */
export function toOne(name, layer, query = {}) {
  return to("one", name, ...(layer === undefined ? [] : [layer]), query);
}
