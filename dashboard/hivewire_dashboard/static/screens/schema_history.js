/** The history of the schema of some names: each change, compared with the current schema, and a button to restore it through the review. */

import {html, useState} from "../vendor/preact.js";
import {draft, drafts, edited, keyOf, SCHEMA} from "../lib/drafts.js";
import {Difference} from "../lib/editor.js";
import {http} from "../lib/gateway.js";
import {parse} from "../lib/json.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {Text, When} from "../lib/text.js";
import {Button, Empty, Problem, useChosen, useLoaded} from "../lib/ui.js";
import {Sure} from "./access.js";

/** Most changes that the gateway returns. */
const MOST = 100;

/** The changes, newest first, with the texts of their schemas, which keep the form of numbers. */
async function load(names) {
  const answer = await (await http(`api/rest/schema/${encodeURIComponent(names)}/history?take=${MOST}`)).text();
  const exact = parse(answer).changes;
  return JSON.parse(answer).changes.map((each, index) => ({...each, text: each.schema === null ? "" : JSON.stringify(exact[index].schema, null, 2)}));
}

/** `found` is the current schema; undefined when there is none. */
export function History({names, found}) {
  const {value: changes, error, again} = useLoaded(() => load(names), [names, found?.revision]);
  const [at, choose] = useChosen(changes);
  const [asking, setAsking] = useState(false);
  if (error?.code === 404) return html`<${Empty} title="Nothing ever happened to this schema" />`;
  if (!changes) return error ? html`<${Problem} error=${error} retry=${again} />` : html`<p class="quiet" role="status">Reading…</p>`;
  const change = changes[at];
  const title = ({operation, entityVersion}) => (operation === "put" ? `Version ${entityVersion}` : "Deleted");
  const back = () => {
    draft(names, {value: change.text, before: found?.text ?? "", base: found?.revision ?? 0, version: found?.entityVersion, secret: change.secret, beforeSecret: found?.secret ?? false}, SCHEMA);
    go(to("schema", names));
  };
  const begin = () => (edited(drafts.peek().get(keyOf(names, SCHEMA))) ? setAsking(true) : back());
  return html`<div class="history">
    <ol class="changes" aria-label="Changes">${changes.map((each, index) => html`<li key=${each.revision}>
      <button type="button" class="change" aria-pressed=${index === at} onClick=${() => choose(index)}>
        <span><strong>${title(each)}</strong>${index === 0 && " · now"}${each.secret && " · secret"}</span>
        <span><${When} time=${each.modified} /> by <${Text} of=${each.modifiedBy ?? "nobody"} /></span>
        ${each.description && html`<span class="quiet"><${Text} of=${each.description} /></span>`}
      </button></li>`)}</ol>
    <section class="stack" aria-label="The chosen change">
      ${may("ManageConfiguration") && change.operation === "put" && (at > 0 || !found) && html`<div class="row-of"><${Button} kind="primary" onClick=${begin}>Edit version ${change.entityVersion} again<//></div>`}
      ${error && html`<${Problem} error=${error} retry=${again} />`}
      <${Difference} before=${change.text} after=${changes[0].text} labels=${[title(change), `${title(changes[0])} (now)`]} json />
    </section>
    ${asking && html`<${Sure} title="Discard your edit?" word="Discard it" run=${async () => back()} close=${() => setAsking(false)}><p>What you typed in this schema is lost then.</p><//>`}
  </div>`;
}
