/** The keys of the whole page. Single letters count with the focus in a table or nowhere, and can be turned off. */

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

const handlers = [];
let prefix = "";

/** Keys for as long as something is on the screen, by name; the last that was added comes first. Returns their end. */
export function bind(keys) {
  handlers.push(keys);
  return () => handlers.splice(handlers.indexOf(keys), 1);
}

bind({"/": () => document.querySelector("[role=search] input")?.select()});

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
  if (alone && typing(event)) return;
  const full = prefix + name;
  prefix = name === "g" && alone ? "g " : "";
  for (const keys of handlers.toReversed()) {
    if (keys[full]) {
      event.preventDefault();
      keys[full](event);
      return;
    }
  }
});
