/** A new configuration: its name, then the editor. */

import {html, useState} from "../vendor/preact.js";
import {draft} from "../lib/drafts.js";
import {hw} from "../lib/gateway.js";
import {go, to} from "../lib/router.js";
import {Button, Field} from "../lib/ui.js";

export function NewName({prefix}) {
  const [name, setName] = useState(prefix);
  const taken = hw.get(name) !== undefined;
  const wrong = taken ? "There is a configuration of this name already." : undefined;
  const begin = (event) => {
    event.preventDefault();
    if (!name || taken) return;
    draft(name, {value: "", contentType: "text/plain; charset=utf-8", base: 0, before: "", beforeType: "text/plain; charset=utf-8"});
    go(to("one", name));
  };
  return html`<form class="narrow-form stack" onSubmit=${begin}>
    <h1>New configuration</h1>
    <${Field} label="Name" value=${name} onInput=${setName} wrong=${wrong} autofocus required
      hint="Dots make folders: limits.api.max is below limits. and limits.api." />
    <div class="row-of">
      <${Button} kind="primary" type="submit" busy=${!name || taken}>Write its value<//>
      <${Button} onClick=${() => go(to("c"))}>Cancel<//>
    </div>
  </form>`;
}
