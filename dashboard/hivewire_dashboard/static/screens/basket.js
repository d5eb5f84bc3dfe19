/** The basket: edits that are written together, all or none. */

import {html, useEffect, useState} from "../vendor/preact.js";
import {stage, staged, unstage} from "../lib/basket.js";
import {Difference} from "../lib/editor.js";
import {rendered, saved} from "../lib/files.js";
import {hw, names} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {toOne, useLayersOf} from "../lib/layer.js";
import {go, to} from "../lib/router.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, tell, useAction} from "../lib/ui.js";
import {Conflict} from "./conflict.js";
import {draft, drafts, keyOf} from "../lib/drafts.js";

/** The most changes of one transaction. */
const MOST = 1_000;
/** Edits that are shown; the others are counted. */
const SHOWN = 200;

export default function Basket() {
  void names.version.value;
  const edits = [...staged.value.values()];
  const layers = useLayersOf(edits);
  const now = ({name, layer}) => (layer === undefined ? hw.get(name) : layers.get(layer)?.get(name));
  const known = ({layer}) => (layer === undefined ? names.ready.value : layers.has(layer));
  const isOvertaken = (edit) => known(edit) && (now(edit)?.version ?? 0) !== edit.base;
  const overtaken = edits.filter(isOvertaken);
  const [open, setOpen] = useState();
  const [why, setWhy] = useState("");
  const [checked, setChecked] = useState();
  const [culprit, setCulprit] = useState();

  const ask = async (dryRun) => {
    setCulprit(undefined);
    try {
      return await hw.transact(edits.map(change), why || undefined, dryRun ? {dryRun: true} : {});
    } catch (error) {
      const index = error.index ?? error.reply?.index;
      if (index !== undefined) setCulprit(edits[index]);
      throw error;
    }
  };
  const [check, checking, wrong, forget] = useAction(async () => {
    setChecked(undefined);
    await ask(true);
    setChecked(staged.value);
  });
  const [commit, committing, refused] = useAction(async () => {
    forget();
    const {revision} = await ask(false);
    unstage();
    tell(`${count(edits.length, "change")} written under revision ${revision}.`);
  });
  const full = edits.length > MOST;
  const busy = checking || committing || full;
  useKeys({"Ctrl+Enter": () => edits.length && !busy && commit()});

  if (!edits.length) {
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
    <p class="quiet">${count(edits.length, "change")}. They are in this page only, and written all or none.</p>
    ${full && html`<p class="wrong">A transaction has at most ${count(MOST)} changes.</p>`}
    ${overtaken.length > 0 && html`<div class="bar" role="alert"><p>${overtaken.length === 1 ? "One has" : `${count(overtaken.length)} have`} been changed by somebody else since: nothing can be written until you have looked at them.</p></div>`}
    <ul class="cards">
      ${edits.slice(0, SHOWN).map((edit) => html`<${Card} key=${keyOf(edit.name, edit.layer)} edit=${edit} now=${now(edit)} over=${isOvertaken(edit)} culprit=${edit === culprit} look=${() => setOpen({diff: edit})} merge=${() => setOpen({conflict: edit})} />`)}
    </ul>
    ${edits.length > SHOWN && html`<p class="quiet">And ${count(edits.length - SHOWN)} more.</p>`}
    <${Field} label="Why" value=${why} onInput=${setWhy} hint="For the history of each of them." />
    ${(refused ?? wrong) && html`<${Problem} error=${refused ?? wrong} />`}
    <div class="row-of">
      <${Button} kind="primary" busy=${busy} onClick=${() => !busy && commit()}>${committing ? "Writing…" : "Commit all or nothing"}<//>
      <${Button} busy=${busy} onClick=${() => !busy && check()}>Check<//>
      <span role="status">${checked === staged.value && !wrong ? "The gateway would take all of it." : ""}</span>
    </div>
    ${open?.empty && html`<${Dialog} title="Empty the basket?" close=${() => setOpen()}
      actions=${html`<${Button} onClick=${() => setOpen()}>Cancel<//><${Button} kind="danger" onClick=${() => (setOpen(), unstage())}>Empty it<//>`}>
      <p>${count(edits.length, "staged change")} will be lost.</p><//>`}
    ${open?.diff && html`<${Look} edit=${open.diff} close=${() => setOpen()} />`}
    ${open?.conflict && html`<${Overtaken} edit=${open.conflict} close=${() => setOpen()} />`}
  </article>`;
}

/** An edit as a change of a transaction. */
function change({name, layer, value, contentType, base}) {
  return value === undefined ? {delete: name, layer, expect: base} : {put: name, layer, value, contentType, expect: base};
}

function save(edits) {
  const kept = edits.filter(({value, layer}) => value !== undefined && layer === undefined);
  saved("basket.json", rendered(kept));
  const left = edits.length - kept.length;
  tell(`Saved ${count(kept.length, "edit")}.${left ? ` The file leaves out ${count(left)}: deletes, and what is in layers.` : ""}`);
}

function Card({edit, now, over, culprit, look, merge}) {
  const {name, layer, value, base} = edit;
  const what = value === undefined ? "delete" : base ? "change" : "new";
  return html`<li class=${`card ${culprit || over ? "wronged" : ""}`}>
    <span class=${`tag ${what}`}>${what}</span>
    <span class="grow"><a href=${toOne(name, layer)}><${Text} of=${name} mono /></a>${layer !== undefined && html` <span class="quiet">in <${Text} of=${layer} mono /></span>`}
      ${over && html`<span class="wrong"> ${now ? html`<${Text} of=${now.modifiedBy ?? "somebody"} /> changed it <${When} time=${now.modified} />` : "it is gone"}</span>`}
      ${culprit && html`<span class="wrong"> this one was refused</span>`}
    </span>
    ${over && value !== undefined && html`<${Button} kind="small" onClick=${merge}>Merge…<//>`}
    ${over && value === undefined && html`<${Button} kind="small" onClick=${() => stage([{...edit, base: now?.version ?? 0, before: now?.value}])}>Delete it all the same<//>`}
    <${Button} kind="small" onClick=${look}>Difference<//>
    <${Button} kind="small" onClick=${() => unstage(edit)} aria-label=${`Take ${plain(name)} out`}>Take out<//>
  </li>`;
}

function Look({edit: {name, value, before, contentType}, close}) {
  return html`<${Dialog} wide title=${plain(name)} close=${close}>
    <${Difference} before=${before ?? ""} after=${value ?? ""} labels=${["Before", value === undefined ? "Deleted" : "Staged"]} json=${looksLikeJson(value ?? before, contentType)} />
  <//>`;
}

/** The conflict dialog on a staged edit: what comes of it is staged again. */
function Overtaken({edit, close}) {
  const {name, layer, value, contentType, base, before = ""} = edit;
  useEffect(() => {
    draft(name, {value, contentType, base, before, beforeType: contentType}, layer);
    unstage(edit);
  }, []);
  const found = drafts.value.get(keyOf(name, layer));
  const end = () => {
    const left = drafts.peek().get(keyOf(name, layer));
    close();
    if (left) go(toOne(name, layer));
  };
  return found && html`<${Conflict} name=${name} layer=${layer} found=${found} close=${end} />`;
}
