/** A conflict of two edits of one configuration: the common version, theirs, yours, and a merged one. */

import {html, useEffect, useMemo, useState} from "../vendor/preact.js";
import {discard, draft} from "../lib/drafts.js";
import {Difference} from "../lib/editor.js";
import {hw} from "../lib/gateway.js";
import {isJson, looksLikeJson, parse} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {merged} from "../lib/merge.js";
import {reached} from "../lib/start.js";
import {Text, When} from "../lib/text.js";
import {Button, Dialog, Field, Problem, tell, useAction, useLoaded, useShown} from "../lib/ui.js";
import {written} from "./editing.js";

/** `revision` is the current one, as far as it is known; when it changes, theirs is read again. */
export function Conflict({name, layer, revision, found, close}) {
  useEffect(() => reached("conflict"), []);
  // Read it from the gateway: the value in memory may be a moment old, or left out because it is long.
  const {value: loaded, error, again} = useLoaded(async () => ({theirs: await current(name, layer)}), [name, layer, revision]);
  return html`<${Dialog} wide title="Somebody else saved this meanwhile" close=${close}>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${loaded && html`<${Choice} key=${loaded.theirs?.revision ?? 0} name=${name} layer=${layer} found=${found} theirs=${loaded.theirs} close=${close} />`}
  <//>`;
}

/** The current configuration; undefined when it was deleted. */
async function current(name, layer) {
  const [change] = await hw.history(name, {layer, take: 1});
  return change?.operation === "put" ? change.entry : undefined;
}

function Choice({name, layer, found, theirs, close}) {
  const {value: yours, before: base, contentType, beforeType} = found;
  const json = looksLikeJson(yours, contentType);
  const unseen = theirs?.value === null; // it is secret or binary
  const merge = useMemo(() => theirs && !unseen && merged(base, theirs.value, yours, json), [theirs, yours]);
  const [chosen, setChosen] = useState([]);
  const [view, setView] = useState("theirs");
  const [why, setWhy] = useState("");
  const result = merge ? merge.result(chosen) : yours;
  const broken = result !== undefined && isJson(contentType) && parse(result) === undefined;
  const ready = result !== undefined && result !== "" && !broken;
  const now = theirs?.revision ?? 0;

  const shut = useShown(close);
  const [save, busy, error] = useAction(async () => {
    if (!ready) return;
    const back = {before: theirs?.value ?? "", beforeType: theirs?.contentType ?? beforeType, base: now};
    await written(name, {layer, value: result, contentType, why, ...back});
    shut();
  });
  const take = () => {
    discard(name, layer);
    close();
    tell("What they saved stays. Your edit is gone.");
  };
  const goOn = () => {
    // The edit is now based on theirs, so that the next save expects what the user has just seen.
    const value = result ?? yours;
    draft(name, {value, base: now, version: theirs?.version, before: theirs?.value ?? "", beforeType: theirs?.contentType ?? beforeType}, layer);
    close();
  };
  useKeys({"Ctrl+Enter": save});

  const views = {
    theirs: ["What they did", base, theirs?.value ?? "", ["What you both began with", "Theirs"]],
    yours: ["What you did", base, yours, ["What you both began with", "Yours"]],
    merged: ["Merged", theirs?.value ?? "", result ?? "", ["Theirs", "Merged"]],
  };
  const [, before, after, labels] = views[view];
  return html`<div class="stack">
    <p>${theirs
      ? html`<strong><${Text} of=${theirs.modifiedBy ?? "Somebody"} /></strong> saved version ${theirs.version} <${When} time=${theirs.modified} />${theirs.description && html`: <q><${Text} of=${theirs.description} /></q>`}.`
      : "It was deleted. Saving makes it anew."}
      ${merge && (merge.choices ? ` ${merge.choices === 1 ? "One part" : `${merge.choices} parts`} both of you changed: choose.` : " Your edits are apart, so they were merged.")}</p>
    ${merge && merge.choices > 0 && html`<${Choices} parts=${merge.parts} chosen=${chosen} choose=${setChosen} />`}
    ${unseen && html`<p>What they saved is not shown, because it is secret or binary. Saving yours replaces it.</p>`}
    ${!unseen && html`<div class="row-of" role="group" aria-label="What to compare">
      ${Object.entries(views).map(([key, [label]]) => html`<button type="button" class="button" aria-pressed=${view === key} onClick=${() => setView(key)}>${label}</button>`)}
    </div>`}
    ${!unseen && (view === "merged" && result === undefined
      ? html`<p class="quiet">Choose each part first.</p>`
      : html`<${Difference} before=${before} after=${after} labels=${labels} json=${json} />`)}
    ${broken && html`<p class="wrong">Merged it would be no JSON: keep editing.</p>`}
    <${Field} label="Why" value=${why} onInput=${setWhy} onEnter=${save} hint="For the history. Enter saves." />
    ${error && html`<${Problem} error=${error} />`}
    <div class="row-of">
      <${Button} kind="primary" busy=${busy || !ready} onClick=${save}>${merge ? "Save merged" : "Save yours"}<//>
      ${theirs && html`<${Button} onClick=${take}>Take theirs<//>`}
      <${Button} onClick=${goOn}>Keep editing<//>
    </div>
  </div>`;
}

/** The choices, one for each part that both have changed. */
export function Choices({parts, chosen, choose}) {
  let next = 0;
  return html`<ol class="choices">
    ${parts.filter(({label}) => label !== undefined).map((part) => {
      const index = next++;
      const option = (side, label) => html`<label class="choice">
        <span class="check"><input type="radio" name=${`part-${index}`} checked=${chosen[index] === side}
          onChange=${() => choose(Object.assign([...chosen], {[index]: side}))} />${label}</span>
        <pre><${Text} of=${part[side]} lines /></pre>
      </label>`;
      return html`<li><fieldset><legend><${Text} of=${part.label} mono /></legend>
        <div class="two">${option("theirs", "Theirs")}${option("yours", "Yours")}</div>
      </fieldset></li>`;
    })}
  </ol>`;
}
