/** The configuration document of a tenant: its elements, editing, validation, and saving unless somebody else wrote first. */

import {html, useMemo, useState} from "../vendor/preact.js";
import {discard, DOCUMENT, draft, drafts, edited, keyOf} from "../lib/drafts.js";
import {Difference, Editor, Reader} from "../lib/editor.js";
import {http, me} from "../lib/gateway.js";
import {parse} from "../lib/json.js";
import {to} from "../lib/router.js";
import {count, plain, quoted, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Problem, Tabs, tell, useAction, useLoaded} from "../lib/ui.js";
import {Sure} from "./access.js";
import {Merging} from "./merging.js";

const EMPTY = '{\n  "label": "",\n  "schemaVersion": "1"\n}';

/** Before any document: a save that expects none is refused if there is one. */
const NEVER = "Thu, 01 Jan 1970 00:00:00 GMT";

/** About how many bytes a document has. A save of so many takes over a minute when the gateway has other work, too. */
const LARGE = 500_000;

/** Most elements of a collection that are shown. */
const SHOWN = 200;

const written = (value) => JSON.stringify(value, null, 2);
const words = (value) => (typeof value === "string" ? value : JSON.stringify(value)); // whoever edits may have typed anything
const called = (element) => words(element?.label ?? element?.name ?? "");
const place = (element) => words(element?.uri ?? element?.URI ?? "");
/** Whether a finding is about an element, or about a part of it. */
const about = (where, element) => place(element) && (where === place(element) || where.startsWith(`${place(element)}/`));

/** The document as text, which keeps the form of numbers, and when it was saved. */
async function load(id) {
  try {
    const response = await http(`reltio/api/${encodeURIComponent(id)}/configuration`, {}, LARGE);
    return {text: written(parse(await response.text())), modified: response.headers.get("Last-Modified")};
  } catch (error) {
    if (error.code === 404) return {text: "", modified: null};
    throw error;
  }
}

function ask(id, path, init) {
  return http(`reltio/api/${encodeURIComponent(id)}/configuration${path}`, {headers: {"Content-Type": "application/json"}, ...init}, Math.max(init.body?.length ?? 0, LARGE));
}

/** What the gateway says about a document, which it does not write: without an answer, too. */
async function judged(id, text) {
  try {
    return await (await ask(id, "/_validation?validationErrorLevel=all", {method: "POST", body: text})).json();
  } catch (error) {
    throw error.name === "Uncertain" ? Object.assign(new Error(error.message), {code: 503}) : error;
  }
}

/** Members of a document that the gateway sets; it adds ids, too. */
const STAMPS = ["createdTime", "createdBy", "updatedTime", "updatedBy"];

/** Whether a stored value has all that another one has. */
function holds(stored, sent) {
  if (typeof sent !== "object" || sent === null) return stored === sent;
  if (typeof stored !== "object" || stored === null) return false;
  if (Array.isArray(sent) && stored.length !== sent.length) return false;
  return Object.entries(sent).every(([name, value]) => STAMPS.includes(name) || holds(stored[name], value));
}

/** Whether a save that got no answer was carried out: this user has saved since then, and it is this document. */
async function isStored(id, sent, since) {
  const {text, modified} = await load(id).catch(() => ({modified: since}));
  const stored = modified !== since && parse(text);
  return stored && stored.updatedBy === me.peek()?.login && holds(stored, parse(sent));
}

export default function Tenant({rest: [id = ""], query}) {
  const {value, error, again} = useLoaded(() => load(id), [id]);
  const [newer, setNewer] = useState();
  const tab = query.get("tab") ?? "elements";
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  if (!value) return html`<p class="quiet" role="status">Reading…</p>`;
  return html`<article class="screen wide">
    <nav class="path" aria-label="Above"><a href=${to("access", {of: "tenants"})}>Tenants</a></nav>
    <h1><${Text} of=${id} mono /></h1>
    <${Tabs} label="About this document" chosen=${tab} tabs=${[["elements", "Document", to("tenant", id)], ["history", "History", to("tenant", id, {tab: "history"})]]} />
    ${tab === "history" ? html`<${Past} key=${query.get("element")} id=${id} element=${query.get("element")} />` : html`<${Document} id=${id} stored=${newer ?? value} renew=${setNewer} />`}
  </article>`;
}

/** `renew` takes the document as it is stored now. */
function Document({id, stored, renew}) {
  const edit = drafts.value.get(keyOf(id, DOCUMENT));
  const {value: text, base, before} = edit ?? {value: stored.text || EMPTY, base: stored.modified, before: stored.text || EMPTY};
  const setText = (value) => draft(id, {value, base, before}, DOCUMENT);
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState();
  const [{of, findings: all}, setFound] = useState({});
  const findings = of === text ? all : undefined;
  const [conflict, setConflict] = useState();
  const value = useMemo(() => parse(text), [text]);
  const changed = edited(edit);

  const [check, checking, wrong] = useAction(async () => {
    const answer = await judged(id, text);
    setFound({of: text, findings: found(answer)});
  });
  const store = async (what, since) => {
    const headers = {"Content-Type": "application/json", "If-Unmodified-Since": since ?? NEVER};
    try {
      await ask(id, "", {method: "PUT", body: what, headers});
    } catch (error) {
      if (error.code === 412) return setConflict(await load(id));
      if (error.name !== "Uncertain" || !(await isStored(id, what, since))) throw error;
    }
    setConflict(undefined);
    tell(`Saved the document of ${id}.`);
    renew(await load(id));
    if (drafts.peek().get(keyOf(id, DOCUMENT)) === edit) discard(id, DOCUMENT);
    else draft(id, {before: what}, DOCUMENT); // it was changed meanwhile: the next save merges it with what is stored now
  };
  const [save, saving, refused] = useAction(() => store(text, base));
  const drop = (now) => {
    setConflict(undefined);
    renew(now);
    discard(id, DOCUMENT);
  };
  const replace = (path, element) => {
    const next = parse(text);
    const [collection, index] = path;
    if (collection === undefined) setText(element);
    else {
      next[collection][index] = parse(element);
      setText(written(next));
    }
    setOpen(undefined);
  };
  const low = filter.toLowerCase();
  const collections = Object.entries(value ?? {}).filter(([, list]) => Array.isArray(list));
  const shown = collections.map(([name, list]) => [name, list.map((element, index) => [element, index]).filter(([element]) => `${called(element)} ${place(element)}`.toLowerCase().includes(low))]);
  return html`<section class="stack" aria-label="Document">
    ${!stored.text && !changed && html`<${Empty} title="There is no document yet"><p>Write it here, or put one from a terminal: <code>hivewire tenant put -- ${plain(quoted(id))} document.json</code></p><//>`}
    <div class="row-of">
      <input type="search" class="grow" aria-label="Search elements" placeholder="Label or URI" value=${filter} onInput=${(event) => setFilter(event.currentTarget.value)} />
      <${Button} onClick=${() => setOpen({path: [], text})}>Edit all of it<//>
      <${Button} busy=${checking} onClick=${check}>Validate<//>
      <${Button} kind="primary" busy=${saving || !changed} onClick=${() => changed && save()}>Save<//>
    </div>
    ${changed && html`<p class="wrong">Not saved yet. <button type="button" class="link" onClick=${() => setOpen("discard")}>Discard…</button></p>`}
    ${(wrong ?? refused) && html`<${Problem} error=${wrong ?? refused} />`}
    ${findings && html`<${Findings} findings=${findings} />`}
    ${shown.map(([name, list]) => html`<details open=${Boolean(filter) || list.length <= 20} key=${name}>
      <summary><strong>${plain(name)}</strong> <span class="quiet">${count(list.length)}</span></summary>
      <ul class="cards">${list.slice(0, SHOWN).map(([element, index]) => html`<li class="card" key=${index}>
        <span class="grow"><${Text} of=${called(element)} /> <span class="quiet"><${Text} of=${place(element)} mono /></span>
          ${(findings ?? []).filter(({where}) => about(where, element)).map((each) => html`<div class="wrong">${plain(each.text)}</div>`)}</span>
        ${place(element) && html`<a href=${to("tenant", id, {tab: "history", element: place(element)})} aria-label=${`History of ${plain(called(element) || place(element))}`}>History</a>`}
        <${Button} kind="small" aria-label=${`Edit ${plain(called(element) || place(element))}`} onClick=${() => setOpen({path: [name, index], text: written(element)})}>Edit<//>
      </li>`)}</ul>
      ${list.length > SHOWN && html`<p class="quiet">The first ${count(SHOWN)} are shown: search for the others.</p>`}
    </details>`)}
    ${open === "discard" && html`<${Sure} title="Discard this edit?" word="Discard" run=${async () => drop(await load(id))} close=${() => setOpen(undefined)}><p>What you changed in the document is lost then.</p><//>`}
    ${open?.path && html`<${Element} open=${open} done=${replace} close=${() => setOpen(undefined)} />`}
    ${conflict && html`<${Merging} key=${conflict.modified} what="document" base=${before === EMPTY ? "{}" : before} theirs=${conflict.text} yours=${text}
      save=${(merged) => store(merged, conflict.modified)} take=${async () => drop(conflict)} close=${() => setConflict(undefined)} />`}
  </section>`;
}

function found(answer) {
  return Object.entries(answer).flatMap(([where, {errors = [], warnings = []}]) =>
    [...errors, ...warnings].map(({severity, errorMessage, errorDetailMessage}) => ({where, severity, text: errorMessage, more: errorDetailMessage})),
  );
}

function Findings({findings}) {
  if (!findings.length) return html`<p role="status" class="quiet">The gateway finds nothing wrong.</p>`;
  return html`<ul class="cards" aria-label="Findings">${findings.map(({where, severity, text, more}) => html`<li class="card">
    <span class=${`tag ${severity === "Error" ? "refused" : "changed"}`}>${plain(severity)}</span>
    <span class="grow">${plain(text)} <span class="quiet">${plain(more)} <${Text} of=${where} mono /></span></span>
  </li>`)}</ul>`;
}

function Element({open, done, close}) {
  const [text, setText] = useState(open.text);
  const broken = parse(text) === undefined;
  return html`<${Dialog} wide title=${open.path.length ? `Edit one of ${plain(open.path[0])}` : "Edit the document"} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" busy=${broken} onClick=${() => !broken && done(open.path, text)}>Take over<//>`}>
    <div class="editing"><${Editor} value=${open.text} label="Element" json check onChange=${setText} />
      ${broken ? html`<p class="wrong">This is not JSON yet.</p>` : html`<p class="hint">It is written when you save the document.</p>`}</div>
  <//>`;
}

/** Earlier versions of the document, or of the element with a URI, each compared with the one before it. */
function Past({id, element}) {
  const {value, error, again} = useLoaded(async () => parse(await (await ask(id, "/_history?max=50", {})).text()), [id]);
  const [chosen, setChosen] = useState(0);
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  if (!value) return html`<p class="quiet" role="status">Reading…</p>`;
  const versions = value.map((each) => ({...each, text: textOf(each.configuration, element)}));
  const shown = versions.filter(({text}, index) => text !== (versions[index + 1]?.text ?? ""));
  const about = element && html`<p>Of <${Text} of=${element} mono /> alone. <a href=${to("tenant", id, {tab: "history"})}>Of all of the document</a></p>`;
  if (!shown.length) return html`${about}<${Empty} title="Nothing was saved yet" />`;
  const [now, before] = [shown[chosen], shown[chosen + 1]];
  return html`${about}<div class="history">
    <ol class="changes" aria-label="Versions">${shown.map((each, index) => html`<li key=${index}>
      <button type="button" class="change" aria-pressed=${index === chosen} onClick=${() => setChosen(index)}>
        <span><${When} time=${Number(each.timestamp?.rawJSON ?? each.timestamp)} />${!each.text && " · deleted"}</span><span class="quiet">by <${Text} of=${each.updatedBy ?? "nobody"} /></span>
      </button></li>`)}</ol>
    ${before
      ? html`<${Difference} before=${before.text} after=${now.text} labels=${["Before", "After"]} json />`
      : html`<${Reader} value=${now.text} label=${element ? "Element" : "Document"} json />`}
  </div>`;
}

/** A document, or its element with a URI; empty when there is none. */
function textOf(document, uri) {
  if (!uri) return written(document);
  const found = Object.values(document).filter(Array.isArray).flat().find((element) => place(element) === uri);
  return found ? written(found) : "";
}
