/** The basket: edits that are written together, all or none. */

import {html, useEffect, useState} from "../vendor/preact.js";
import {answered} from "../lib/answers.js";
import {loose, refusals, stage, staged, unstage} from "../lib/basket.js";
import {Difference} from "../lib/editor.js";
import {rendered, saved} from "../lib/files.js";
import {hw, names} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {toOne, useLayersOf} from "../lib/layer.js";
import {go, to} from "../lib/router.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, tell, undoing, useAction} from "../lib/ui.js";
import {Conflict} from "./conflict.js";
import {discard, draft, drafts, edited, expecting, keyOf, overtakes} from "../lib/drafts.js";

/** The most changes of one transaction. */
const MOST = 1_000;
/** Most refused changes that one check finds. */
const REFUSED = 20;
/** Most edits that are shown; the others are counted. */
const SHOWN = 200;

export default function Basket() {
  void names.version.value;
  const edits = [...staged.value.values()];
  const layers = useLayersOf(edits);
  const now = ({name, layer}) => (layer === undefined ? hw.get(name) : layers.get(layer)?.get(name));
  const known = ({layer}) => (layer === undefined ? names.ready.value : layers.has(layer));
  const isOvertaken = (edit) => known(edit) && overtakes(now(edit), edit);
  const overtaken = edits.filter(isOvertaken);
  const [open, setOpen] = useState();
  const [why, setWhy] = useState("");
  const [checked, setChecked] = useState();
  const [refusedBy, setRefusedBy] = useState(new Map());
  const [done, setDone] = useState();

  const ask = async (options) => {
    setRefusedBy(new Map());
    const changes = edits.map(change);
    try {
      return await hw.transact(changes, why || undefined, options);
    } catch (error) {
      if ((error.index ?? error.reply?.index) === undefined) throw error;
      const found = await refusals(changes, REFUSED);
      setRefusedBy(new Map([...found].map(([index, message]) => [edits[index], message])));
      throw found.size ? new Error(`${count(found.size, "change")} refused, as marked above. Nothing was written.`) : error;
    }
  };
  const [check, checking, wrong, forget] = useAction(async () => {
    setChecked(undefined);
    await ask({dryRun: true});
    setChecked(staged.value);
  });
  const [commit, committing, refused] = useAction(async () => {
    forget();
    const were = edits.map(now);
    const {revision, entries} = await answered(edits, () => ask({}), ({revision}) => ({revision, entries: edits.map(() => ({revision}))}));
    const back = reversed(edits, entries, were);
    const undo = async () => {
      await takenBack(back);
      setDone();
      return `${count(edits.length, "change")} taken back.`;
    };
    unstage(edits);
    for (const {name, layer, value} of edits) if (drafts.peek().get(keyOf(name, layer))?.value === value) discard(name, layer); // opened, not changed
    setDone({edits, revision});
    setWhy("");
    tell(`${count(edits.length, "change")} written under revision ${revision}.`, undoing(undo, to("audit")));
  });
  const merge = (edit) => {
    // What is typed in the editor already would be lost: it is merged there.
    if (edited(drafts.peek().get(keyOf(edit.name, edit.layer)))) go(toOne(edit.name, edit.layer));
    else setOpen({conflict: edit});
  };
  const full = edits.length > MOST;
  const busy = checking || committing || full;
  useKeys({"Ctrl+Enter": () => edits.length && !busy && commit()});

  if (!edits.length && done) return html`<${Written} ...${done} />`;
  if (!edits.length && !open?.conflict) { // what is merged has left the basket
    return html`<${Empty} title="The basket is empty">
      <p>Edits and deletes that belong together are staged here, and written all or none: stage an edit instead of saving it, or select several <a href=${to("c")}>configurations</a>. Those of layers can be among them.</p>
    <//>`;
  }
  return html`<article class="screen">
    <header class="title"><h1>Basket</h1>
      <div class="row-of">
        <${Button} onClick=${() => save(edits)}>Save as a file<//>
        <${Button} kind="danger" onClick=${() => setOpen({empty: true})}>Empty it…<//>
      </div>
    </header>
    <p class="quiet">${count(edits.length, "change")}. Written all or none. This tab keeps them until it is closed or you log out${loose.value > 0 && html`; a reload loses ${loose.value === edits.length ? "them" : count(loose.value)}: it keeps no secret values, and no more than two million characters`}.</p>
    ${full && html`<p class="wrong">A transaction has at most ${count(MOST)} changes.</p>`}
    ${overtaken.length > 0 && html`<div class="bar" role="alert"><p>${overtaken.length === 1 ? "One has" : `${count(overtaken.length)} have`} been changed by somebody else since: nothing can be written until you have looked at them.</p></div>`}
    <ul class="cards">
      ${edits.slice(0, SHOWN).map((edit) => html`<${Card} key=${keyOf(edit.name, edit.layer)} edit=${edit} now=${now(edit)} over=${isOvertaken(edit)} refused=${refusedBy.get(edit)} look=${() => setOpen({diff: edit})} merge=${() => merge(edit)} />`)}
    </ul>
    ${edits.length > SHOWN && html`<p class="quiet">And ${count(edits.length - SHOWN)} more.</p>`}
    <${Field} label="Why" value=${why} onInput=${setWhy} onEnter=${() => !busy && commit()} hint="For the history of each of them. Enter commits." />
    ${(refused ?? wrong) && html`<${Problem} error=${refused ?? wrong} />`}
    <div class="row-of">
      <${Button} kind="primary" busy=${busy} onClick=${() => !busy && commit()}>${committing ? "Writing…" : "Commit all or nothing"}<//>
      <${Button} busy=${busy} onClick=${() => !busy && check()}>Check<//>
      <span role="status">${checked === staged.value && !wrong ? "The gateway would take all of it." : ""}</span>
    </div>
    ${open?.empty && html`<${Dialog} title="Empty the basket?" close=${() => setOpen()}
      actions=${html`<${Button} onClick=${() => setOpen()}>Cancel<//><${Button} kind="danger" onClick=${() => (setOpen(), unstage(edits))}>Empty it<//>`}>
      <p>${count(edits.length, "staged change")} will be lost.</p><//>`}
    ${open?.diff && html`<${Look} edit=${open.diff} close=${() => setOpen()} />`}
    ${open?.conflict && html`<${Overtaken} edit=${open.conflict} close=${() => setOpen()} />`}
  </article>`;
}

/** An edit as a change of a transaction. */
function change({name, layer, value, contentType, base}) {
  return {...(value === undefined ? {delete: name} : {put: name, value, contentType}), layer, ...expecting(base)};
}

/** What undoes a transaction: changes of another one, and rollbacks where the earlier value is secret or long, and so not known here. */
function reversed(edits, entries, were) {
  const known = [];
  const unknown = [];
  edits.forEach(({name, layer, value, base, before}, index) => {
    const written = expecting(value === undefined ? 0 : entries[index].revision);
    if (!base) known.push({delete: name, layer, ...written});
    else if (before) known.push({put: name, layer, value: before, contentType: were[index]?.contentType, ...written});
    else unknown.push({name, layer, ...written, toRevision: base});
  });
  return {known, unknown};
}

/** Undo a transaction. Rollbacks cannot be part of a transaction: if there are some, everything is checked before the first write. */
async function takenBack({known, unknown}) {
  for (const dryRun of unknown.length ? [true, undefined] : [undefined]) {
    for (const {name, ...options} of unknown) await hw.rollback(name, {...options, dryRun, description: "undo"});
    if (known.length) await hw.transact(known, "undo", {dryRun});
  }
}

function Written({edits, revision}) {
  return html`<article class="screen"><h1>Written under revision ${revision}</h1>
    <ul class="cards">${edits.slice(0, SHOWN).map(({name, layer, value}) => html`<li class="card" key=${keyOf(name, layer)}>
      <${Name} name=${name} layer=${layer} />${value === undefined && html`<span class="tag delete">deleted</span>`}</li>`)}</ul>
    ${edits.length > SHOWN && html`<p class="quiet">And ${count(edits.length - SHOWN)} more.</p>`}
  </article>`;
}

function Name({name, layer}) {
  return html`<a href=${toOne(name, layer)}><${Text} of=${name} mono /></a>${layer !== undefined && html` <span class="quiet">in <${Text} of=${layer} mono /></span>`}`;
}

function save(edits) {
  const kept = edits.filter(({value, layer}) => value !== undefined && layer === undefined);
  saved("basket.json", rendered(kept));
  const left = edits.length - kept.length;
  tell(`Saved ${count(kept.length, "edit")}.${left ? ` The file leaves out ${count(left)}: deletes, and what is in layers.` : ""}`);
}

function Card({edit, now, over, refused, look, merge}) {
  const {name, layer, value, base, before} = edit;
  const short = (text) => html`<${Text} of=${text} most=${60} mono />`;
  const what = value === undefined ? "delete" : base ? "change" : "new";
  return html`<li class=${`card ${refused || over ? "wronged" : ""}`}>
    <span class=${`tag ${what}`}>${what}</span>
    <span class="grow"><${Name} name=${name} layer=${layer} />
      ${over && html`<span class="wrong"> ${now ? html`<${Text} of=${now.modifiedBy ?? "somebody"} /> changed it <${When} time=${now.modified} />` : "it is gone"}</span>`}
      ${(before || !base) && html`<div class="quiet">${base > 0 && short(before)}${base > 0 && value !== undefined && " → "}${value !== undefined && short(value)}</div>`}
      ${refused && html`<div class="wrong">${plain(refused)}</div>`}
    </span>
    ${over && value !== undefined && html`<${Button} kind="small" onClick=${merge}>Merge…<//>`}
    ${over && value === undefined && html`<${Button} kind="small" onClick=${() => stage([{...edit, base: now?.revision ?? 0, version: now?.version, before: now?.value}])}>Delete it all the same<//>`}
    <${Button} kind="small" onClick=${look}>Difference<//>
    ${value !== undefined && html`<a class="button small" href=${toOne(name, layer, {edit: 1})} aria-label=${`Edit ${plain(name)}`}>Edit</a>`}
    <${Button} kind="small" onClick=${() => unstage([edit])} aria-label=${`Take ${plain(name)} out`}>Take out<//>
  </li>`;
}

function Look({edit: {name, value, before, contentType}, close}) {
  return html`<${Dialog} wide title=${plain(name)} close=${close}>
    <${Difference} before=${before ?? ""} after=${value ?? ""} labels=${["Before", value === undefined ? "Deleted" : "Staged"]} json=${looksLikeJson(value ?? before, contentType)} />
  <//>`;
}

/** The conflict dialog for a staged edit; its result is staged again. */
function Overtaken({edit, close}) {
  const {name, layer, value, contentType, base, version, before = ""} = edit;
  useEffect(() => {
    draft(name, {value, contentType, base, version, before, beforeType: contentType}, layer);
    unstage([edit]);
  }, []);
  const found = drafts.value.get(keyOf(name, layer));
  const end = () => {
    const left = drafts.peek().get(keyOf(name, layer));
    close();
    if (left) go(toOne(name, layer));
  };
  return found && html`<${Conflict} name=${name} layer=${layer} found=${found} close=${end} />`;
}
