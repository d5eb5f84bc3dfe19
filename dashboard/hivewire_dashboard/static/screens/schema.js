/** One schema: its names, its text, and the stored values that it does not allow; editing, trying values, and saving unless somebody else wrote first. */

import {html, useState} from "../vendor/preact.js";
import {discard, draft, drafts, edited, keyOf, SCHEMA, settle} from "../lib/drafts.js";
import {Difference, Editor, Reader} from "../lib/editor.js";
import {http, hw, me} from "../lib/gateway.js";
import {formatted, parse} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, Tabs, tell, undoing, useAction, useLoaded, usePolled, useShown} from "../lib/ui.js";
import {Sure} from "./access.js";
import {Merging} from "./merging.js";
import {History} from "./schema_history.js";
import {Fault, Try} from "./try.js";

const LOOK = 3_000;
/** The text of a new schema. */
const BEGINNING = '{\n  "type": "integer",\n  "minimum": 0\n}';

export default function Schema({rest: [names = ""], query}) {
  return query.has("new") ? html`<${New} />` : html`<${Existing} names=${names} tab=${query.get("tab") ?? "schema"} />`;
}

/** The schema of exactly these names, with its text, which keeps the form of numbers; undefined when there is none. */
async function load(names) {
  const answer = await (await http(`api/rest/schema?${new URLSearchParams({name: names})}`)).text();
  const index = JSON.parse(answer).schemas.findIndex((each) => each.names === names);
  if (index < 0) return {};
  const {schema} = parse(answer).schemas[index];
  return {found: {...JSON.parse(answer).schemas[index], text: schema === null ? "" : JSON.stringify(schema, null, 2)}};
}

function begin(names, found) {
  const {text: value, revision: base, entityVersion: version, secret} = found ?? {text: BEGINNING, revision: 0, secret: false};
  const before = found ? value : "";
  draft(names, {value, before, base, version, secret, beforeSecret: secret}, SCHEMA);
}

function New() {
  const [names, setNames] = useState("");
  const write = (event) => {
    event.preventDefault();
    if (!names) return;
    if (!drafts.peek().has(keyOf(names, SCHEMA))) begin(names);
    go(to("schema", names));
  };
  return html`<form class="narrow-form stack" onSubmit=${write}>
    <h1>New schema</h1>
    <${Field} label="Names" value=${names} onInput=${setNames} autofocus required class="mono" hint="The name of a configuration, or a prefix that ends in *: limits.* is for all that begin with limits." />
    <div class="row-of"><${Button} kind="primary" type="submit" busy=${!names}>Write it<//><${Button} onClick=${() => go(to("schemas"))}>Cancel<//></div>
  </form>`;
}

function Existing({names, tab}) {
  const {value, error, again} = usePolled(() => load(names), [names], LOOK);
  const [removing, setRemoving] = useState(); // what was there when it was asked
  const found = value?.found;
  const editing = drafts.value.get(keyOf(names, SCHEMA));
  const change = may("ManageConfiguration");
  const open = () => {
    if (!change || !found || editing) return;
    begin(names, found);
    go(to("schema", names));
  };
  useKeys({e: open, ...(!editing && {Escape: () => go(to("schemas"))})});
  const text = editing?.value ?? found?.text;
  return html`<article class="screen">
    <nav class="path" aria-label="Above"><a href=${to("schemas")}>Schemas</a></nav>
    <header class="title">
      <h1><${Text} of=${names} mono /> ${(editing ?? found)?.secret && html`<span class="tag changed">secret</span>`}</h1>
      ${change && found && !editing && html`<div class="row-of"><${Button} kind="primary" onClick=${open}>Edit<//><${Button} kind="danger" onClick=${() => setRemoving(found)}>Delete…<//></div>`}
    </header>
    ${found && html`<p class="facts">Version ${found.entityVersion} · changed <${When} time=${found.modified} /> by <strong><${Text} of=${found.modifiedBy ?? "nobody"} /></strong></p>`}
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${value && !found && !editing && tab === "schema" && html`<${Empty} title="There is no schema for just these names">
      <p>It may have been deleted: its <a href=${to("schema", names, {tab: "history"})}>history</a> has what it was.${change && html` <button type="button" class="link" onClick=${() => begin(names)}>Make it now</button>`}</p><//>`}
    ${(found || editing) && html`<${Reach} names=${names} version=${found?.revision} />
      ${found && html`<${Breaking} names=${names} found=${found} />`}`}
    ${value && html`<${Tabs} label="About this schema" chosen=${tab} tabs=${[
      ["schema", editing ? "Edit" : "Schema", to("schema", names)],
      ["history", "History", to("schema", names, {tab: "history"})],
    ]} />`}
    ${value && tab === "history" && html`<${History} names=${names} found=${found} />`}
    ${tab === "schema" && (found || editing) && html`
      <div class="aside">
        ${text ? html`<${Try} schema=${text} />` : html`<p class="panel quiet">Any value fits: it only says that they are secret.</p>`}
        ${editing && value
          ? html`<${Editing} key=${names} names=${names} edit=${editing} stored=${found} again=${again} />`
          : html`<${Reader} value=${found?.text ?? ""} label="Schema" json />`}
      </div>`}
    ${removing && html`<${Remove} names=${names} found=${removing} close=${() => setRemoving()} />`}
  </article>`;
}

/** The configurations that it applies to: not those with a schema of their own, or of a longer prefix. */
function Reach({names, version}) {
  const prefix = names.endsWith("*") ? names.slice(0, -1) : undefined;
  const {value: others = []} = useLoaded(async () => {
    if (prefix === undefined) return [];
    const {schemas} = await hw.call("schema/list", {after: prefix, take: 100});
    return schemas.map((each) => each.names).filter((each) => each.startsWith(prefix) && each !== names);
  }, [names, version]);
  if (prefix === undefined) return html`<p>For the configuration <a href=${to("one", names)}><${Text} of=${names} mono /></a>, plain and in layers.</p>`;
  return html`<p>For ${prefix ? html`all configurations whose names begin with <a href=${to("c", {q: prefix})}><${Text} of=${prefix} mono /></a>` : "all configurations"}, plain and in layers${
    others.length > 0 && html`, but not for those with a schema of their own: ${others.slice(0, 5).map((each, index) => html`${index > 0 && ", "}<a href=${to("schema", each)}><${Text} of=${each} mono /></a>`)}${others.length > 5 && " and more"}`}.</p>`;
}

/** The stored values that the gateway says a schema does not allow. */
function Misfits({of}) {
  return html`<ul class="cards" aria-label="Stored values that do not fit">${of.map(({name, problems}) => html`<li class="card" key=${name}>
    <a href=${to("one", name)}><${Text} of=${name} mono /></a>${problems.slice(0, 1).map((each) => html`<${Fault} of=${each} />`)}</li>`)}</ul>`;
}

const judged = (names, text) => (text ? hw.call("schema/check", {names, schema: parse(text)}) : {misfits: []});
/** The number of misfits in words; the gateway names at most 20. */
const numbered = (misfits) => `${misfits.length === 20 ? "At least " : ""}${count(misfits.length, "stored value")} ${misfits.length === 1 ? "does" : "do"} not fit`;

const STAYS = "What is stored stays as it is, and has to fit when it is written the next time.";

/** Invalid stored values, which do not keep a schema from being set. */
function Breaking({names, found}) {
  const {value} = useLoaded(async () => judged(names, found.text), [names, found.revision]);
  if (!value) return null; // the user may not see secret values
  if (!value.misfits.length) return html`<p class="quiet">All stored values fit.</p>`;
  return html`<div class="bar"><p><strong>${numbered(value.misfits)}.</strong> ${STAYS}</p></div><${Misfits} of=${value.misfits} />`;
}

function Editing({names, edit, stored, again}) {
  const {value, base, secret} = edit;
  const [dialog, setDialog] = useState();
  const [form, setForm] = useState(0);
  const now = stored?.revision ?? 0;
  const broken = value ? parse(value) === undefined : !secret;
  const changed = (edited(edit) || !base) && !broken;
  const close = () => setDialog();
  const review = () => changed && setDialog(now === base ? "review" : "conflict");
  const leave = () => (edited(edit) ? setDialog("discard") : discard(names, SCHEMA));
  const save = (more) => written(names, {...edit, ...more}, stored).then(again);
  // The merged edit is based on theirs, and is reviewed like any other.
  const rebase = (text) => {
    draft(names, {value: text, base: now, version: stored?.entityVersion, before: stored?.text ?? "", beforeSecret: stored?.secret ?? false}, SCHEMA);
    setForm(form + 1);
    setDialog("review");
  };
  useKeys({"Ctrl+s": () => !dialog && review(), Escape: leave});
  const format = () => {
    draft(names, {value: formatted(value) ?? value}, SCHEMA);
    setForm(form + 1);
  };
  return html`<section class="editing" aria-label="Edit">
    ${now !== base && html`<div class="bar" role="alert"><p>${stored ? html`<strong><${Text} of=${stored.modifiedBy ?? "Somebody"} /></strong> changed this: it is version ${stored.entityVersion} now.` : "This was deleted meanwhile."} Your edit is untouched.</p>
      <${Button} onClick=${() => setDialog("conflict")}>See the difference<//></div>`}
    <div class="row-of">
      <label class="check"><input type="checkbox" checked=${secret} onChange=${() => draft(names, {secret: !secret}, SCHEMA)} />The values are secret</label>
      <${Button} onClick=${format}>Format<//>
    </div>
    <${Editor} key=${form} value=${value} label="Schema of ${plain(names)}" json check onChange=${(text) => draft(names, {value: text}, SCHEMA)} />
    <div class="row-of">
      <${Button} kind="primary" busy=${!changed} onClick=${review}>Review and save<//>
      <${Button} onClick=${leave}>${edited(edit) ? "Discard…" : "Close"}<//>
      <span class=${broken ? "wrong" : "hint"}>${!broken ? "Ctrl+S reviews." : value ? "This is not JSON yet." : "Without a schema the values have to be secret."}</span>
    </div>
    ${dialog === "review" && html`<${Review} names=${names} edit=${edit} save=${save} close=${close} conflict=${() => (again(), setDialog("conflict"))} />`}
    ${dialog === "conflict" && html`<${Merging} key=${now} what="schema" base=${edit.before || "{}"} theirs=${stored?.text || "{}"} yours=${value || "{}"} word="Review merged" close=${close}
      save=${rebase} take=${() => (close(), discard(names, SCHEMA))} />`}
    ${dialog === "discard" && html`<${Dialog} title="Discard this edit?" close=${close}
      actions=${html`<${Button} onClick=${close}>Keep editing<//><${Button} kind="danger" onClick=${() => (close(), discard(names, SCHEMA))}>Discard<//>`}>
      <p>What you typed is lost then.</p><//>`}
  </section>`;
}

/** The text that will be saved, and the stored values that it would not allow. */
function Review({names, edit, save, close, conflict}) {
  const {before, value, base, version, secret, beforeSecret} = edit;
  const [why, setWhy] = useState("");
  const {value: found, error: unknown} = useLoaded(async () => judged(names, value), []);
  const misfits = found?.misfits ?? [];
  const [write, busy, error] = useAction(async () => {
    try {
      await save({why, force: misfits.length > 0});
    } catch (caught) {
      if (caught.name !== "Conflict" || caught.reply.misfits) throw caught;
      conflict();
    }
  });
  const waiting = !found && !unknown;
  useKeys({"Ctrl+Enter": () => !waiting && write()});
  return html`<${Dialog} wide title="Save this schema?" close=${close}
    actions=${html`<${Button} onClick=${close}>Keep editing<//><${Button} kind=${misfits.length ? "danger" : "primary"} busy=${busy || waiting} onClick=${() => !waiting && write()}>${misfits.length ? "Save it all the same" : "Save"}<//>`}>
    <div class="stack">
      <${Difference} before=${before} after=${value} labels=${[base ? `Version ${version}` : "Nothing", "Your edit"]} json />
      ${secret !== beforeSecret && html`<p>The values ${secret ? "become secret: they are shown only to those with RevealSecret" : "are no longer secret: everybody who reads them sees them"}.</p>`}
      ${misfits.length > 0
        ? html`<div class="bar"><p><strong>${numbered(misfits)}.</strong> ${STAYS}</p></div><${Misfits} of=${misfits} />`
        : found && value && html`<p class="quiet" role="status">All stored values fit.</p>`}
      <${Field} label="Why" value=${why} onInput=${setWhy} autofocus hint="For the history. Ctrl+Enter saves." />
      ${(error ?? unknown) && html`<${Problem} error=${error ?? unknown} />`}
    </div>
  <//>`;
}

function put(names, text, members) {
  return hw.call("schema/put", {names, schema: text ? parse(text) : undefined, ...members});
}

/**
 * The answer of `write`. If it was lost, but this user has written such a schema since `base`, or there is none and `value`
 * is undefined, the same from a look at what is there.
 */
async function answered(names, {value, secret, base}, write) {
  try {
    return await write();
  } catch (error) {
    if (error.name !== "Uncertain") throw error;
    const {found} = await load(names);
    const text = value && JSON.stringify(parse(value), null, 2);
    const own = found?.modifiedBy === me.peek()?.login && found?.revision !== base;
    if (value === undefined ? found : !own || found.secret !== secret || found.text !== text) throw error;
    return {schema: found};
  }
}

/** Write a schema that is based on a revision, remove the edit unless it was changed meanwhile, and offer to restore the earlier schema. */
async function written(names, {value, secret, base, why, force}, stored) {
  const edit = drafts.peek().get(keyOf(names, SCHEMA));
  const members = {secret, force, ...(base ? {revision: base} : {entityVersion: 0}), description: why || undefined};
  const {schema} = await answered(names, {value, secret, base}, () => put(names, value, members));
  settle(names, edit, {value, secret, revision: schema.revision, version: schema.entityVersion}, SCHEMA);
  const undo = back(names, async () => {
    const options = {revision: schema.revision, description: "undo"};
    if (stored) await put(names, stored.text, {...options, secret: stored.secret, force: true});
    else await hw.call("schema/delete", {names, ...options});
  });
  tell(`Saved version ${schema.entityVersion} of the schema of ${names}.`, undo);
}

/** The action that undoes a change of the schema of `names`. */
function back(names, run) {
  return undoing(() => run().then(() => "It is as it was."), to("schema", names, {tab: "history"}));
}

function Remove({names, found: {text, secret, revision}, close}) {
  const leave = useShown(go);
  const run = async () => {
    await answered(names, {}, () => hw.call("schema/delete", {names, revision}));
    leave(to("schemas"));
    tell(`Deleted the schema of ${names}.`, back(names, () => put(names, text, {secret, force: true, entityVersion: 0})));
  };
  return html`<${Sure} title="Delete this schema?" word="Delete" close=${close} run=${run}>
    <p><strong><${Text} of=${names} mono /></strong>: then its names have the schema of a shorter prefix, or any value.${secret && " Their values are shown to everybody who reads them."}</p><//>`;
}
