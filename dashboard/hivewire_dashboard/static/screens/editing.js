/** Editing one configuration: the editor, changes by others meanwhile, the review, and saving. */

import {html, useState} from "../vendor/preact.js";
import {answered} from "../lib/answers.js";
import {stage, staged, unstage} from "../lib/basket.js";
import {discard, draft, drafts, edited, expecting, keyOf, overtakes, settle} from "../lib/drafts.js";
import {Difference, Editor} from "../lib/editor.js";
import {hw, status} from "../lib/gateway.js";
import {formatted, isJson, looksLikeJson, parse} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {toOne} from "../lib/layer.js";
import {go, to} from "../lib/router.js";
import {plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Field, Problem, tell, undoing, useAction, useShown} from "../lib/ui.js";
import {Conflict} from "./conflict.js";
import {Judged} from "./try.js";

const TYPES = ["text/plain; charset=utf-8", "application/json"];

/** `layer` is undefined for a plain configuration. */
export function Editing({name, layer, entry}) {
  const found = drafts.value.get(keyOf(name, layer));
  const {value, contentType, base, version, before} = found;
  const [dialog, setDialog] = useState();
  const [form, setForm] = useState(0);
  const overtaken = overtakes(entry, found);
  const changed = edited(found);
  const wrong = isJson(contentType) && value && parse(value) === undefined;
  const close = () => setDialog(undefined);
  const review = () => value && setDialog(overtaken ? "conflict" : "review");
  const leave = () => (changed ? setDialog("discard") : discard(name, layer));

  useKeys({"Ctrl+s": () => changed && !dialog && review(), Escape: leave});

  const format = () => {
    const better = formatted(value);
    if (better === undefined) return tell("This is no JSON that can be formatted without changing it.");
    draft(name, {value: better}, layer);
    setForm(form + 1);
  };
  const put = () => {
    stage([{name, layer, value, contentType, base, version, before: base ? before : undefined}]);
    discard(name, layer);
    tell("Staged. Nothing is written yet.", {label: "Open the basket", run: () => go(to("basket"))});
  };
  return html`<section class="editing" aria-label="Edit">
    ${overtaken && html`<${Overtaken} entry=${entry} look=${() => setDialog("conflict")} />`}
    <div class="row-of">
      <label class="check">Type
        <select value=${contentType} onChange=${(event) => draft(name, {contentType: event.currentTarget.value}, layer)}>
          ${[...new Set([...TYPES, found.beforeType, contentType])].map((each) => html`<option value=${each}>${plain(each)}</option>`)}
        </select>
      </label>
      ${looksLikeJson(value, contentType) && html`<${Button} onClick=${format}>Format<//>`}
      ${wrong && html`<span class="wrong">This is not JSON yet.</span>`}
    </div>
    <${Editor} key=${form} value=${value} label="Value of ${plain(name)}" json=${isJson(contentType) || looksLikeJson(before, contentType)}
      check=${isJson(contentType)} focus=${!dialog} onChange=${(text) => draft(name, {value: text}, layer)} />
    <div class="row-of">
      <${Judged} name=${name} value=${value} />
      <${Button} kind="primary" busy=${!changed || !value} onClick=${() => changed && review()}>Review and save<//>
      <${Button} busy=${!changed || !value} onClick=${() => changed && value && put()}>Stage<//>
      <${Button} onClick=${leave}>${changed ? "Discard…" : "Close"}<//>
      <span class="hint">Ctrl+S reviews. ${value ? "" : "A value has at least one character."}</span>
    </div>
    ${dialog === "review" && html`<${Review} name=${name} layer=${layer} found=${found} close=${close} conflict=${() => setDialog("conflict")} />`}
    ${dialog === "conflict" && html`<${Conflict} name=${name} layer=${layer} revision=${entry?.revision} found=${found} close=${() => (close(), setForm(form + 1))} />`}
    ${dialog === "discard" && html`<${Dialog} title="Discard this edit?" close=${close}
      actions=${html`<${Button} onClick=${close}>Keep editing<//><${Button} kind="danger" onClick=${() => (close(), discard(name, layer))}>Discard<//>`}>
      <p>What you typed is lost then.</p>
    <//>`}
  </section>`;
}

/** Somebody else wrote first: who, and what to do. The edit is kept. */
function Overtaken({entry, look}) {
  return html`<div class="bar" role="alert">
    <p>${entry
      ? html`<strong><${Text} of=${entry.modifiedBy ?? "Somebody"} /></strong> changed this <${When} time=${entry.modified} />: it is version ${entry.version} now.`
      : html`This was deleted meanwhile.`} Your edit is untouched.</p>
    <${Button} onClick=${look}>See the difference<//>
  </div>`;
}

/** The edit, compared with the version that it is based on. */
function Review({name, layer, found, close, conflict}) {
  const [why, setWhy] = useState("");
  const {value, contentType, base, version, before, beforeType} = found;
  const shut = useShown(close);
  const [save, busy, error] = useAction(async () => {
    try {
      await written(name, {layer, value, contentType, why, before, beforeType, base});
      shut();
    } catch (caught) {
      if (caught.name !== "Conflict" || !("change" in caught.reply)) throw caught; // a rollout may hold the name
      conflict();
    }
  });
  useKeys({"Ctrl+Enter": save});
  const away = status.value.state === "stale";
  return html`<${Dialog} wide title="Save this?" close=${close}
    actions=${html`<${Button} onClick=${close}>Keep editing<//>
      <${Button} kind="primary" busy=${busy} onClick=${save}>${busy && away ? "Waiting for the gateway…" : busy ? "Saving…" : "Save"}<//>`}>
    <div class="stack">
      <${Difference} before=${before} after=${value} labels=${[base ? `Version ${version}` : "Nothing", "Your edit"]} json=${looksLikeJson(value, contentType)} />
      ${contentType !== beforeType && base > 0 && html`<p>The type changes from <code>${plain(beforeType)}</code> to <code>${plain(contentType)}</code>.</p>`}
      <${Field} label="Why" value=${why} onInput=${setWhy} onEnter=${save} autofocus hint="For the history. Enter saves." />
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}

/** Write a value that is based on a revision, remove the edit unless it was changed meanwhile, and offer to undo it. */
export async function written(name, {layer, value, contentType, why, before, beforeType, base}) {
  const [edit, waiting] = [drafts, staged].map((all) => all.peek().get(keyOf(name, layer)));
  const put = () => hw.put(name, value, {layer, contentType, ...expecting(base), description: why || undefined});
  const saved = await answered([{name, layer, base, value}], put);
  settle(name, edit, {...saved, value, contentType}, layer);
  if (waiting) unstage([waiting]); // the written value is this one, or newer
  const undo = async () => {
    const options = {layer, revision: saved.revision, description: "undo"};
    const restore = () => (before ? hw.put(name, before, {...options, contentType: beforeType}) : hw.rollback(name, {...options, toRevision: base})); // it is secret
    const edit = {name, layer, base: saved.revision, value: base ? before || null : undefined};
    await answered([edit], () => (base ? restore() : hw.delete(name, options)));
    return base ? "Put back as it was." : "Deleted again.";
  };
  tell(`Saved version ${saved.version} of ${name}.`, undoing(undo, toOne(name, layer, {tab: "history"})), saved);
}
