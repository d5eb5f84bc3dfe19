/** The history of one name: each change, compared with the current version, and a button to restore it. */

import {html, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {answered} from "../lib/answers.js";
import {expecting} from "../lib/drafts.js";
import {Difference, narrow} from "../lib/editor.js";
import {hw} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {toOne} from "../lib/layer.js";
import {may} from "../lib/session.js";
import {reached} from "../lib/start.js";
import {Text, When} from "../lib/text.js";
import {Button, Empty, Problem, tell, undoing, useAction, useChosen, useLoaded} from "../lib/ui.js";

const PAGE = 50;

export function History({name, layer, entry}) {
  const [more, setMore] = useState(PAGE);
  const {value: changes, error, again} = useLoaded(() => all(name, layer, more), [name, layer, entry?.revision, more]);
  const [at, choose] = useChosen(changes);
  const [other, setOther] = useState("now");
  const change = changes?.[at];
  const possible = change?.entry && (at > 0 || !entry) && may("ManageConfiguration");

  const [back, busy, failed] = useAction(async () => {
    if (!possible) return;
    const {revision, entry: old} = change;
    const base = entry?.revision ?? 0;
    const options = {layer, toRevision: revision, ...expecting(base), description: `back to version ${old.version}`};
    const saved = await answered([{name, layer, base, value: old.value}], () => hw.rollback(name, options));
    choose(0); // what is undone is the one before the new one
    reached("rollback");
    const undo = async () => {
      const options = {layer, revision: saved.revision, description: "undo of a rollback"};
      const edit = {name, layer, base: saved.revision, value: entry?.value};
      await answered([edit], () => (entry ? hw.rollback(name, {toRevision: entry.revision, ...options}) : hw.delete(name, options)));
      return "Undone.";
    };
    tell(`Rolled back to version ${old.version}.`, undoing(undo, toOne(name, layer, {tab: "history"})), saved);
  });
  const move = (by) => changes && choose(Math.max(0, Math.min(changes.length - 1, at + by)));
  useKeys({j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1), r: back});

  if (error?.code === 404) return html`<${Empty} title="Nothing ever happened to this name" />`;
  if (!changes) return error ? html`<${Problem} error=${error} retry=${again} />` : html`<p class="quiet" role="status">Reading…</p>`;
  const against = changes.find(({revision}) => String(revision) === other) ?? changes[0];
  const [older, newer] = [change, against].toSorted((one, two) => one.revision - two.revision);
  const title = (each) => `${each.entry ? `Version ${each.entry.version}` : "Deleted"}${each === changes[0] ? " (now)" : ""}`;
  const detail = html`<section class="stack" aria-label="The chosen change">
    <div class="row-of">
      <label class="check">Compare with
        <select value=${other} onChange=${(event) => setOther(event.currentTarget.value)}>
          <option value="now">now</option>
          ${changes.filter(({entry: has}) => has).map(({revision, entry: has}) => html`<option value=${String(revision)}>version ${has.version}, revision ${revision}</option>`)}
        </select>
      </label>
      ${possible && html`<${Button} kind="primary" busy=${busy} onClick=${back}>Roll back to version ${change.entry.version}<//>`}
    </div>
    ${failed && html`<${Problem} error=${failed} />`}
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    <${Versions} of=${[older.entry, newer.entry]} labels=${[older, newer].map(title)} />
  </section>`;
  return html`<div class="history">
    <div>
      <ol class="changes" aria-label="Changes">
        ${changes.map((each, index) => html`<${Change} key=${each.revision} change=${each} now=${index === 0} chosen=${index === at} choose=${() => choose(index)}>${narrow.matches && index === at && detail}<//>`)}
      </ol>
      ${changes.length === more && html`<${Button} onClick=${() => setMore(more + PAGE)}>Older changes<//>`}
      <p class="hint">j and k choose${may("ManageConfiguration") && ", r rolls back"}.</p>
    </div>
    ${!narrow.matches && detail}
  </div>`;
}

/** The difference of two versions, or why one of them is not shown; a deleted one is undefined. */
export function Versions({of, labels}) {
  const unseen = of.find((each) => each?.value === null);
  if (unseen) return html`<p class="quiet">${unseen.size === undefined ? "This value is secret." : "This content is binary."}</p>`;
  const [before, after] = of.map((each) => each?.value ?? "");
  return html`<${Difference} before=${before} after=${after} labels=${labels} json=${of.some((each) => looksLikeJson(each?.value, each?.contentType))} />`;
}

/** The newest changes, up to a number; the gateway returns 1,000 at a time. */
async function all(name, layer, most) {
  const found = [];
  while (found.length < most) {
    const page = await hw.history(name, {layer, take: Math.min(most - found.length, 1_000), before: found.at(-1)?.revision});
    found.push(...page);
    if (!page.length) break;
  }
  return found;
}

/** One change of the list; on a narrow screen its details are below it. */
function Change({change, now, chosen, choose, children}) {
  const {operation, entry, modified, modifiedBy, description} = change;
  const button = useRef();
  useLayoutEffect(() => {
    if (chosen) button.current.scrollIntoView({block: "nearest"}); // what was open above it is closed
  }, [chosen]);
  return html`<li>
    <button ref=${button} type="button" class="change" aria-pressed=${chosen} onClick=${choose}>
      <span><strong>${operation === "delete" ? "Deleted" : `Version ${entry.version}`}</strong>${now && " · now"}</span>
      <span><${When} time=${modified} /> by <${Text} of=${modifiedBy ?? "nobody"} /></span>
      ${description && html`<span class="quiet"><${Text} of=${description} /></span>`}
    </button>
    ${children}
  </li>`;
}
