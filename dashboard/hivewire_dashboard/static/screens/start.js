/** The guided start: five steps with an example configuration. It can be closed for good. */

import {html} from "../vendor/preact.js";
import {names} from "../lib/gateway.js";
import {to} from "../lib/router.js";
import {choose} from "../lib/settings.js";
import {EXAMPLE, progress, reached} from "../lib/start.js";
import {Button, Icon} from "../lib/ui.js";

const HERE = to("one", EXAMPLE);

const STEPS = [
  ["make", "Make a value", html`<a href=${to("one", EXAMPLE, {new: 1})}>Make <code>${EXAMPLE}</code></a>: write a value, review it, save it. It is durable before you see “Saved”.`],
  ["watch", "Watch it change", html`<a href=${HERE} target="_blank" rel="noopener">Open it in a second window</a> and change it there. It changes in the first one at once: so do your programs.`],
  ["conflict", "Two at a time", html`Press <strong>Edit</strong> <a href=${HERE}>here</a>, save another value in the second window, then save yours: nothing is overwritten silently.`],
  ["rollback", "Put it back", html`Open its <a href=${to("one", EXAMPLE, {tab: "history"})}>history</a>, choose a version, and roll back in one click.`],
  ["lines", "Give it to a program", html`Copy a line <a href=${to("one", EXAMPLE, {tab: "lines"})}>for your program</a>.`],
];

export function Start() {
  void names.slow.value;
  const done = progress();
  const next = STEPS.find(([step]) => !done.has(step));
  const number = STEPS.indexOf(next) + 1;
  return html`<aside class="start" aria-label="First steps">
    <ol>${STEPS.map(([step, title]) => html`<li key=${step} class=${done.get(step) ?? ""} aria-current=${next?.[0] === step ? "step" : undefined}>${title}<span class="unseen">${done.has(step) && ` (${done.get(step)})`}</span></li>`)}</ol>
    <p aria-live="polite">${next ? html`<strong>${number} of ${STEPS.length}.</strong> ${next[2]}` : html`<strong>That is all.</strong> Everything else is like this.`}</p>
    <div class="row-of">
      ${next && html`<${Button} kind="small" onClick=${() => reached(next[0], "skipped")}>Skip this step<//>`}
      <button type="button" class="plain square" aria-label="Close the first steps for ever" title="Close for ever" onClick=${() => choose({start: false})}><${Icon} name="close" /></button>
    </div>
  </aside>`;
}
