/** One configuration, plain or of a layer: its value, editing, its history, and lines for programs. */

import {html, useEffect, useLayoutEffect, useState} from "../vendor/preact.js";
import {answered} from "../lib/answers.js";
import {stage, staged} from "../lib/basket.js";
import {draft, drafts, keyOf} from "../lib/drafts.js";
import {Reader} from "../lib/editor.js";
import {hw, names, status} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {toOne, useLayer} from "../lib/layer.js";
import {go, refine, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {settings} from "../lib/settings.js";
import {kind, plain, size, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, Tabs, notice, tell, undoing, useAction, useLoaded, useShown} from "../lib/ui.js";
import {Binary} from "./binary.js";
import {Editing} from "./editing.js";
import {History} from "./history.js";
import {Lines} from "./lines.js";
import {NewName} from "./new_name.js";

export default function One({rest: [name = "", layer], query}) {
  if (query.has("new") && may("ManageConfiguration")) return html`<${NewName} prefix=${name} layer=${layer} />`;
  return html`<${Existing} name=${name} layer=${layer} tab=${query.get("tab") ?? "value"} edit=${query.has("edit")} />`;
}

/** The current configuration with its value, which is loaded if it is long. */
function useEntry(name, layer) {
  void names.version.value;
  const own = useLayer(layer, [name]);
  const entry = layer === undefined ? hw.get(name) : own.entries.get(name);
  const ready = layer === undefined ? names.ready.value : own.ready;
  const secret = entry?.value === null && entry.size === undefined;
  const left = entry?.value === null && !secret;
  const asked = useLoaded(async () => left && {of: entry.revision, ...(await hw.fetch(name, undefined, {layer}))}, [name, layer, entry?.revision, left]);
  const current = asked.value?.of === entry?.revision && asked.value?.version === entry?.version;
  const full = left && current ? {...asked.value, ...entry, value: asked.value.value} : undefined;
  return {
    entry: full ?? entry,
    secret,
    waiting: (!ready && !own.error) || (left && !full && !asked.error),
    error: own.error ?? asked.error,
    again: asked.again,
  };
}

function Existing({name, layer, tab, edit}) {
  const {entry, secret, waiting, error, again} = useEntry(name, layer);
  const editing = drafts.value.get(keyOf(name, layer));
  const inBasket = staged.value.get(keyOf(name, layer));
  const plainOne = layer === undefined;
  const [removing, setRemoving] = useState(); // the entry that was there when it was asked
  const schema = useLoaded(async () => (await hw.call("schema/list", {name})).schemas[0]?.names, [name]).value;
  const change = may("ManageConfiguration");
  const binary = entry?.value === null && !waiting && !secret;
  const open = () => {
    const missing = waiting || (!entry && !inBasket);
    if (missing && change && !editing) return refine({tab: undefined, edit: 1}); // opened when it has come
    refine({tab: undefined, edit: undefined});
    if (editing || !change) return;
    if (inBasket?.value !== undefined) {
      const {value, contentType, base, version, before = ""} = inBasket;
      draft(name, {value, contentType, base, version, before, beforeType: entry?.contentType ?? contentType}, layer);
      return;
    }
    if (!entry || binary) return;
    const {revision, version, contentType = "text/plain; charset=utf-8"} = entry;
    const value = entry.value ?? ""; // a secret is replaced, not edited
    draft(name, {value, contentType, base: revision, version, before: value, beforeType: contentType}, layer);
  };

  useLayoutEffect(() => {
    if (edit && !waiting) open();
  }, [edit, waiting, entry === undefined]);
  useEffect(() => {
    // To undo a version that is not the last one any more would be refused.
    const {version} = notice.peek() ?? {};
    if (version !== undefined && version !== entry?.version) notice.value = undefined;
  }, [entry?.version]);
  useKeys({...(!editing && {Escape: () => go(plainOne ? to("c") : to("layer", layer))})});

  const there = {stage: () => stageDelete(entry, layer), remove: () => setRemoving(entry)};
  return html`<article class="one">
    ${plainOne ? html`<${Path} name=${name} />` : html`<${InLayer} layer=${layer} />`}
    <header class="title">
      <h1><${Text} of=${name} mono /></h1>
      ${entry && !editing && change && html`<div class="row-of">
        ${!binary && html`<${Button} kind="primary" onClick=${open}>${secret ? "Replace" : "Edit"}<//>`}
        <${Button} onClick=${there.stage}>Stage delete<//>
        <${Button} kind="danger" onClick=${there.remove}>Delete…<//>
      </div>`}
    </header>
    ${entry && html`<${Facts} entry=${entry} schema=${schema} />`}
    <${Tabs} label="About this configuration" chosen=${tab} tabs=${[
      ["value", editing ? "Edit" : "Value", toOne(name, layer)],
      ["history", "History", toOne(name, layer, {tab: "history"})],
      ["lines", "For programs", toOne(name, layer, {tab: "lines"})],
    ]} />
    ${inBasket && html`<div class="bar"><p>${inBasket.value === undefined ? "A delete" : "A change"} of this waits in the <a href=${to("basket")}>basket</a>.</p>
      ${inBasket.value !== undefined && !editing && change && html`<${Button} kind="small" onClick=${open}>Edit the change<//>`}</div>`}
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${tab === "history"
      ? html`<${History} name=${name} layer=${layer} entry=${entry} />`
      : tab === "lines"
        ? html`<${Lines} name=${name} layer=${layer} entry=${entry} />`
        : editing
          ? html`<${Editing} key=${name} name=${name} layer=${layer} entry=${entry} />`
          : secret
            ? html`<${Secret} key=${entry.revision} name=${name} layer=${layer} />`
          : binary
            ? html`<${Binary} entry=${entry} />`
            : html`<${Value} name=${name} layer=${layer} entry=${entry} waiting=${waiting} />`}
    ${removing && html`<${Remove} entry=${removing} layer=${layer} close=${() => setRemoving()} />`}
  </article>`;
}

/** The layer that a configuration is in, as a link. */
function InLayer({layer}) {
  return html`<nav class="path" aria-label="Above"><a href=${to("layers")}>Layers</a><span aria-hidden="true">›</span>
    <a href=${to("layer", layer)}><${Text} of=${layer} /></a></nav>`;
}

/** The folders above a name, as links. */
function Path({name}) {
  const {delimiter} = settings.value;
  const parts = name.split(delimiter).slice(0, -1);
  return html`<nav class="path" aria-label="Folders above">
    <a href=${to("c")}>Configurations</a>
    ${parts.map((part, index) => html`<span aria-hidden="true">›</span>
      <a href=${to("c", {below: parts.slice(0, index + 1).join(delimiter) + delimiter})}><${Text} of=${part} /></a>`)}
  </nav>`;
}

function Facts({entry, schema}) {
  const {version, contentType, value, size: bytes, modified, modifiedBy, description} = entry;
  const long = value === null && bytes === undefined ? "secret" : size(bytes ?? new TextEncoder().encode(value).length);
  return html`<p class="facts">
    Version ${version} · ${kind(contentType)} · ${long} ·
    changed <${When} time=${modified} /> by <strong><${Text} of=${modifiedBy ?? "nobody"} /></strong>
    ${schema && html` · schema <a href=${to("schema", schema)}><${Text} of=${schema} mono /></a>`}
    ${description && html` · <q><${Text} of=${description} /></q>`}
  </p>`;
}

function Value({name, layer, entry, waiting}) {
  if (waiting) return html`<p class="quiet" role="status">Reading…</p>`;
  if (!entry) {
    if (status.value.state !== "live") return html`<p class="quiet">It is not known while the gateway is away.</p>`;
    return html`<${Empty} title="There is no configuration of this name">
      <p>It may have been deleted: its <a href=${toOne(name, layer, {tab: "history"})}>history</a> has what it was. ${may("ManageConfiguration") && html`Or <a href=${toOne(name, layer, {new: 1})}>make it now</a>.`}</p>
    <//>`;
  }
  return html`<${Reader} value=${entry.value} label="Value" json=${looksLikeJson(entry.value, entry.contentType)} />`;
}

/** A value that a schema keeps secret: it is shown on request, to users with the right, and the gateway records that. */
function Secret({name, layer}) {
  const [shown, setShown] = useState();
  const [reveal, busy, error] = useAction(async () => {
    setShown((await hw.call("configuration/get", {name, layer, reveal: true})).configuration.value);
  });
  if (shown !== undefined) return html`<${Reader} value=${shown} label="Value" json=${looksLikeJson(shown)} />`;
  return html`<div class="stack">
    <p>This value is secret. Who may see it can reveal it; the audit notes who and when.</p>
    ${may("RevealSecret") && html`<div class="row-of"><${Button} busy=${busy} onClick=${reveal}>Reveal<//></div>`}
    ${error && html`<${Problem} error=${error} />`}
  </div>`;
}

function stageDelete({name, revision, version, value, contentType}, layer) {
  stage([{name, layer, value: undefined, contentType, base: revision, version, before: value}]);
  tell("The delete is staged. Nothing is written yet.", {label: "Open the basket", run: () => go(to("basket"))});
}

function Remove({entry, layer, close}) {
  const [why, setWhy] = useState("");
  const leave = useShown(() => (close(), go(layer === undefined ? to("c") : to("layer", layer))));
  const [remove, busy, error] = useAction(async () => {
    const {name, revision: base} = entry;
    await answered([{name, layer, base, value: undefined}], () => hw.delete(name, {layer, revision: base, description: why || undefined}));
    leave();
    tell(`Deleted ${entry.name}.`, undoing(() => restored(entry, layer), toOne(entry.name, layer, {tab: "history"})));
  });
  return html`<${Dialog} title="Delete this configuration?" close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="danger" busy=${busy} onClick=${remove}>Delete<//>`}>
    <div class="stack">
      <p><${Text} of=${entry.name} mono />, version ${entry.version}. Its history stays, and it can be put back.</p>
      <${Field} label="Why" value=${why} onInput=${setWhy} hint="For the history." />
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}

async function restored({name, revision, value}, layer) {
  const options = {layer, toRevision: revision, expect: 0, description: "undo of the delete"};
  await answered([{name, layer, base: 0, value}], () => hw.rollback(name, options));
  go(toOne(name, layer));
  return `${plain(name)} is back.`;
}

