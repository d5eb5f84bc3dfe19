/** Import and export: the file of the command line, with a preview of what an import would do. */

import {html, useState} from "../vendor/preact.js";
import {refusals, stage} from "../lib/basket.js";
import {expecting} from "../lib/drafts.js";
import {Difference} from "../lib/editor.js";
import {choosing, compared, everything, parsed, rendered, saved} from "../lib/files.js";
import {hw} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, Text} from "../lib/text.js";
import {Button, Dialog, Field, Problem, tell, useAction} from "../lib/ui.js";

const MOST = 1_000;
const SHOWN = 200;

export default function Transfer({query}) {
  return html`<article class="screen">
    <h1>Import and export</h1>
    <${Export} given=${query.get("names") ?? ""} />
    ${may("ManageConfiguration") && html`<hr /><${Import} />`}
  </article>`;
}

function Export({given}) {
  const [text, setText] = useState(given);
  const [out, busy, error] = useAction(async () => {
    const wanted = text.split("\n").map((line) => line.trim()).filter(Boolean);
    const {entries, revision} = await everything(wanted.length ? wanted : undefined);
    const readable = entries.filter(({value}) => value);
    const omitted = entries.filter(({value}) => !value).map(({name}) => name);
    saved("configurations.json", rendered(readable, {revision, ...(omitted.length && {omitted})}));
    tell(`Exported ${count(readable.length, "configuration")}.${omitted.length ? ` ${count(omitted.length)} left out: they are binary or secret.` : ""}`);
  });
  return html`<section class="stack" aria-labelledby="export">
    <h2 id="export">Export</h2>
    <${Field} as="textarea" label="Names" value=${text} onInput=${setText} rows="3"
      hint="One on each line: exact names, or prefixes that end in *. Everything when empty. Values and types, without history." />
    <${Button} busy=${busy} onClick=${out}>${busy ? "Reading…" : "Save the file"}<//>
    ${error && html`<${Problem} error=${error} />`}
  </section>`;
}

function Import() {
  const [preview, setPreview] = useState();
  const [only, setOnly] = useState("all");
  const [look, setLook] = useState();
  const [why, setWhy] = useState("");
  const [read, reading, wrong] = useAction(async (file) => {
    setPreview(undefined);
    const entries = await compared(parsed(await file.text()));
    setPreview({file: file.name, entries: await judged(entries)});
  });
  const [renew, renewing, away] = useAction(async () => {
    const entries = await judged(await compared(preview.entries.map(({name, value, contentType}) => ({name, value, contentType}))));
    setPreview({...preview, entries});
  });
  const fresh = (preview?.entries ?? []).filter(({state}) => state === "new" || state === "changed");
  const [write, writing, refused] = useAction(async () => {
    try {
      for (let start = 0; start < fresh.length; start += MOST) {
        await hw.transact(fresh.slice(start, start + MOST).map(change), why || `import of ${preview.file}`);
      }
    } catch (error) {
      renew(); // some may have been written: the preview then shows the rest, and another try writes only that
      throw error;
    }
    setPreview(undefined);
    tell(`Imported ${count(fresh.length, "configuration")}.`);
  });
  const busy = writing || renewing;
  const basket = () => {
    stage(fresh.map(({name, value, contentType, now}) => ({name, value, contentType, base: now?.revision ?? 0, version: now?.version, before: now?.value ?? undefined})));
    setPreview(undefined);
    go(to("basket"));
  };
  const states = ["new", "changed", "same", "refused"].map((state) => [state, preview?.entries.filter((each) => each.state === state).length ?? 0]);
  const shown = preview?.entries.filter(({state}) => only === "all" || state === only) ?? [];
  return html`<section class="stack" aria-labelledby="import">
    <h2 id="import">Import</h2>
    <p class="quiet">A file of <code>hivewire export</code>, or one that is written by hand. Nothing is deleted. First you see what it would do.</p>
    <label class="button file" aria-disabled=${busy ? "true" : undefined}>${reading ? "Reading…" : "Choose a file…"}
      <input type="file" accept=".json,application/json" class="unseen" disabled=${busy} onChange=${choosing(read)} />
    </label>
    ${wrong && html`<${Problem} error=${wrong} />`}
    ${preview && html`<div class="stack">
      <div class="row-of" role="group" aria-label="What to show">
        ${[["all", preview.entries.length], ...states].map(([state, number]) => html`<button type="button" class="button" aria-pressed=${only === state} onClick=${() => setOnly(state)}>${state} ${count(number)}</button>`)}
      </div>
      <ul class="cards">${shown.slice(0, SHOWN).map((each) => html`<li class="card" key=${each.name}>
        <span class=${`tag ${each.state}`}>${each.state}</span>
        <span class="grow"><${Text} of=${each.name} mono />${each.why && html`<span class="wrong"> ${plain(each.why)}</span>`}</span>
        ${each.state === "changed" && html`<${Button} kind="small" onClick=${() => setLook(each)}>Difference<//>`}
      </li>`)}</ul>
      ${shown.length > SHOWN && html`<p class="quiet">And ${count(shown.length - SHOWN)} more.</p>`}
      <${Field} label="Why" value=${why} onInput=${setWhy} hint="For the history." />
      ${(refused ?? away) && html`<${Problem} error=${refused ?? away} />`}
      ${refused && !away && html`<p role="status">${renewing ? "What is there now is being read…" : `Of ${count(preview.entries.length)}, ${count(fresh.length)} are still to be written, as shown above.`}</p>`}
      <div class="row-of">
        <${Button} kind="primary" busy=${busy || !fresh.length} onClick=${() => !busy && fresh.length && write()}>${writing ? "Writing…" : `Import ${count(fresh.length)}`}<//>
        <${Button} busy=${busy || !fresh.length || fresh.length > MOST} onClick=${() => !busy && fresh.length && fresh.length <= MOST && basket()}>Into the basket<//>
        <${Button} busy=${writing} onClick=${() => !writing && setPreview(undefined)}>Cancel<//>
      </div>
    </div>`}
    ${look && html`<${Dialog} wide title=${plain(look.name)} close=${() => setLook(undefined)}>
      <${Difference} before=${look.now.value ?? ""} after=${look.value} labels=${["Now", "In the file"]} json=${looksLikeJson(look.value, look.contentType)} />
    <//>`}
  </section>`;
}

function change({name, value, contentType, now}) {
  return {put: name, value, contentType, ...expecting(now?.revision ?? 0)};
}

/** Ask the gateway which entries it would refuse. */
async function judged(entries) {
  const found = [...entries];
  const open = found.map((_, index) => index).filter((index) => found[index].state === "new" || found[index].state === "changed");
  for (let start = 0; start < open.length; start += MOST) {
    const part = open.slice(start, start + MOST);
    const refused = await refusals(part.map((index) => change(found[index])));
    for (const [at, why] of refused) found[part[at]] = {...found[part[at]], state: "refused", why};
  }
  return found;
}
