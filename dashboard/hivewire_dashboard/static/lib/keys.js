/** The keys of the whole page. Input fields and selects come first; single letters can be turned off. */

import {useLayoutEffect, useRef} from "../vendor/preact.js";
import {settings} from "./settings.js";

/** The name of a key with its modifiers: `Ctrl+s`, `?`, `ArrowDown`. Empty for a single letter when letters are off. */
export function pressed(event) {
  const held = event.ctrlKey || event.metaKey ? "Ctrl+" : event.altKey ? "Alt+" : "";
  if (!held && event.key.length === 1 && !settings.value.letters) return "";
  return held + event.key;
}

/** Whether the focused element takes text, also inside an editor. */
export function typing(event) {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** The bound keys, as references to handlers by name; the last ones come first. */
const bound = [{current: {"/": () => document.querySelector("[role=search] input")?.select()}}];
let prefix = "";

/** Bind keys by name while a component is on the screen; the handlers are those of its last rendering. */
export function useKeys(keys) {
  const own = useRef();
  own.current = keys;
  useLayoutEffect(() => {
    bound.push(own);
    return () => bound.splice(bound.indexOf(own), 1);
  }, []);
}

/** Enter in a search moves the focus to the table, at the row where the arrow keys begin. */
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
