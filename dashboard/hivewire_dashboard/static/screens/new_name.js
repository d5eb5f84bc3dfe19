/** A new configuration: its name, then the editor. */

import {html, useState} from "../vendor/preact.js";
import {draft, drafts, keyOf} from "../lib/drafts.js";
import {hw} from "../lib/gateway.js";
import {useKeys} from "../lib/keys.js";
import {toOne, useLayer} from "../lib/layer.js";
import {go, to} from "../lib/router.js";
import {Text} from "../lib/text.js";
import {Button, Field} from "../lib/ui.js";

export function NewName({prefix, layer}) {
  const [name, setName] = useState(prefix);
  const {entries} = useLayer(layer);
  const taken = (layer === undefined ? hw.get(name) : entries.get(name)) !== undefined;
  const wrong = taken ? "There is a configuration of this name already." : undefined;
  const begin = (event) => {
    event.preventDefault();
    if (!name || taken) return;
    if (!drafts.peek().has(keyOf(name, layer))) draft(name, {value: "", contentType: "text/plain; charset=utf-8", base: 0, before: "", beforeType: "text/plain; charset=utf-8"}, layer);
    go(toOne(name, layer));
  };
  const leave = () => go(layer === undefined ? to("c") : to("layer", layer));
  useKeys({Escape: () => name === prefix && leave()});
  return html`<form class="narrow-form stack" onSubmit=${begin}>
    <h1>New configuration${layer !== undefined && html` of <${Text} of=${layer} mono />`}</h1>
    <${Field} label="Name" value=${name} onInput=${setName} wrong=${wrong} autofocus required
      hint="Dots make folders: limits.api.max is below limits. and limits.api." />
    <div class="row-of">
      <${Button} kind="primary" type="submit" busy=${!name || taken}>Write its value<//>
      <${Button} onClick=${leave}>Cancel<//>
    </div>
  </form>`;
}
