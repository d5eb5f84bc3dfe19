/** The keys of the whole page. What is typed or chosen in goes first; single letters can be turned off. */

import {useLayoutEffect, useRef} from "../vendor/preact.js";
import {settings} from "./settings.js";

/** The name of a key with what is held: `Ctrl+s`, `?`, `ArrowDown`. A letter alone is nothing when letters are off. */
export function pressed(event) {
  const held = event.ctrlKey || event.metaKey ? "Ctrl+" : event.altKey ? "Alt+" : "";
  if (!held && event.key.length === 1 && !settings.value.letters) return "";
  return held + event.key;
}

/** Whether what has the focus takes text, also inside an editor. */
export function typing(event) {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** What is bound, as references to keys by name; the last comes first. */
const bound = [{current: {"/": () => document.querySelector("[role=search] input")?.select()}}];
let prefix = "";

/** Keys for as long as a component is on the screen, by name: always those of its last rendering. */
export function useKeys(keys) {
  const own = useRef();
  own.current = keys;
  useLayoutEffect(() => {
    bound.push(own);
    return () => bound.splice(bound.indexOf(own), 1);
  }, []);
}

/** Enter in a search leads to the row of the table that the arrows begin at. */
export function toTable(event) {
  event.preventDefault();
  document.querySelector(".grid .row[tabindex='0']")?.focus();
}

document.addEventListener("keydown", (event) => {
  const name = pressed(event);
  if (!name || event.defaultPrevented) return;
  const alone = event.key.length === 1 && !name.includes("+");
  if ((alone || name === "Escape") && document.querySelector("dialog[open]")) return; // a dialog closes itself
  if (!name.startsWith("Ctrl+") && name !== "Escape" && typing(event)) return; // arrows choose in a select
  const full = prefix + name;
  prefix = name === "g" && alone ? "g " : "";
  for (const {current: keys} of bound.toReversed()) {
    if (keys[full]) {
      event.preventDefault();
      keys[full](event);
      return;
    }
  }
});
