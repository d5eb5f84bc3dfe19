/** Somebody else saved meanwhile: edits in different places are merged, and the user chooses the rest. For a single text. */

import {html, useMemo, useState} from "../vendor/preact.js";
import {Difference} from "../lib/editor.js";
import {merged} from "../lib/merge.js";
import {Button, Dialog, Problem, useAction} from "../lib/ui.js";
import {Choices} from "./conflict.js";

/** `what` names the object that they saved, with three texts of it in JSON; `save` gets the merged one, `take` keeps theirs. */
export function Merging({what, base, theirs, yours, word = "Save merged", save, take, close}) {
  const merge = useMemo(() => merged(base, theirs, yours, true), [base, theirs, yours]);
  const [chosen, setChosen] = useState([]);
  const result = merge.result(chosen);
  const [write, busy, error] = useAction(() => save(result));
  return html`<${Dialog} wide title=${`Somebody else saved this ${what} meanwhile`} close=${close}
    actions=${html`<${Button} onClick=${close}>Keep editing<//><${Button} onClick=${take}>Take theirs<//>
      <${Button} kind="primary" busy=${busy || result === undefined} onClick=${() => result !== undefined && write()}>${word}<//>`}>
    <div class="stack">
      ${merge.choices ? html`<${Choices} parts=${merge.parts} chosen=${chosen} choose=${setChosen} />` : html`<p>Your edits are apart, so they were merged.</p>`}
      ${result !== undefined && html`<${Difference} before=${theirs} after=${result} labels=${["Theirs", "Merged"]} json />`}
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}
