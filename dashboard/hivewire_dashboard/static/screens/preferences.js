/** The preferences of this browser, and the list of keys. */

import {html} from "../vendor/preact.js";
import {choose, settings} from "../lib/settings.js";
import {guided} from "../lib/start.js";
import {Button, Dialog} from "../lib/ui.js";

const KEYS = [
  ["/", "search"], ["j k, arrows", "the next and the one before"], ["Enter", "open"], ["e", "edit"], ["h", "history"], ["Space", "select"], ["c", "a command for the device"],
  ["r", "roll back to the chosen version"], ["b", "basket"], ["Ctrl+S", "review and save"], ["Ctrl+Enter", "confirm"], ["Esc", "close; asks before an edit is lost"],
  ["g then c, b, s, d, f, y, r, a, i, u, l, p", "configurations, basket, schemas, devices, fleet, layers, rollouts, audit, import, access, live, API"], ["?", "this"],
];

export function Preferences({close}) {
  const {theme, density, letters} = settings.value;
  const start = guided();
  const radio = (name, value, label, current) => html`<label class="check"><input type="radio" name=${name} checked=${current === value} onChange=${() => choose({[name]: value})} />${label}</label>`;
  return html`<${Dialog} title="Settings and keys" close=${close} actions=${html`<${Button} kind="primary" onClick=${close}>Done<//>`}>
    <div class="stack">
      <p class="quiet">For this browser only.</p>
      <fieldset><legend>Theme</legend><div class="row-of">${radio("theme", "system", "As the system", theme)}${radio("theme", "light", "Light", theme)}${radio("theme", "dark", "Dark", theme)}</div></fieldset>
      <fieldset><legend>Rows of tables</legend><div class="row-of">${radio("density", "comfortable", "Comfortable", density)}${radio("density", "compact", "Compact", density)}</div></fieldset>
      <label class="check"><input type="checkbox" checked=${start} onChange=${() => choose({start: start ? false : "again"})} />Show the first steps</label>
      <label class="check"><input type="checkbox" checked=${letters} onChange=${() => choose({letters: !letters})} />Single letters are keys</label>
      <dl class="keys">${KEYS.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
    </div>
  <//>`;
}
