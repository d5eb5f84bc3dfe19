/** The configurations of layers, followed while a component shows them (fleet.md, 3). Plain ones are in `names`. */

import {useEffect, useState} from "../vendor/preact.js";
import {Entries} from "../vendor/hivewire/entries.js";
import {hw} from "./gateway.js";
import {to} from "./router.js";

/** Most exact names in one request; for more, the whole layer is followed. */
const NAMES = 100;

/** Call `take` with the entries of a layer by name whenever one changes; only those that match `names` if given. Returns a function that ends it. */
function follow(layer, names, take, fail) {
  const held = new Entries(() => {});
  const members = {layer, names: names?.length > NAMES ? undefined : names, detail: true};
  return hw.follow("configuration/subscribe", members, (group) => {
    held.apply(group);
    take(new Map([...held.all()].map((entry) => [entry.name, entry])));
  }, fail);
}

/** `{entries, ready, error}`: the entries of a layer by name, only those that match `names` if given; none without a layer. */
export function useLayer(layer, names) {
  const [found, setFound] = useState({entries: new Map(), ready: false});
  useEffect(() => {
    setFound({entries: new Map(), ready: false});
    if (layer === undefined) return undefined;
    return follow(layer, names, (entries) => setFound({entries, ready: true}), (error) => setFound((before) => ({...before, error})));
  }, [layer, names?.join("\n")]);
  return found;
}

/** The configurations that edits in layers are about: by layer, of the layers that have answered already, and by name. */
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

/** The address of a configuration in a layer, or of a plain one. */
export function toOne(name, layer, query = {}) {
  return to("one", name, ...(layer === undefined ? [] : [layer]), query);
}
