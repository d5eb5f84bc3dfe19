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

/** The dialog in front. */
const front = () => [...document.querySelectorAll("dialog[open]")].at(-1);

/**
 * Bind keys by name while a component is on the screen; the handlers are those of its last rendering. Those of a screen
 * rest while a dialog is open, and those of a dialog while another one is in front.
 */
export function useKeys(keys) {
  const own = useRef();
  own.current = keys;
  useLayoutEffect(() => {
    own.dialog = front();
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
  if (!name.startsWith("Ctrl+") && name !== "Escape" && typing(event)) return; // arrows choose in a select
  const full = prefix + name;
  const dialog = front();
  prefix = name === "g" && alone && !dialog ? "g " : "";
  for (const {current: keys, dialog: own} of bound.toReversed()) {
    if (!keys[full]) continue;
    const awake = dialog === (own?.open ? own : undefined);
    if (awake || full.startsWith("Ctrl+")) event.preventDefault(); // the browser would save the page
    if (!awake) continue;
    keys[full](event);
    return;
  }
});
