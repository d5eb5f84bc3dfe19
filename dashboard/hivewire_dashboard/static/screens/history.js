/** What happened to one name: each change against what is there now, and one click to put it back. */

import {html, useState} from "../vendor/preact.js";
import {Difference} from "../lib/editor.js";
import {hw} from "../lib/gateway.js";
import {looksLikeJson} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {may} from "../lib/session.js";
import {reached} from "../lib/start.js";
import {Text, When} from "../lib/text.js";
import {Button, Empty, Problem, tell, useAction, useLoaded} from "../lib/ui.js";

const PAGE = 50;

export function History({name, layer, entry}) {
  const [more, setMore] = useState(PAGE);
  const {value: changes, error, again} = useLoaded(() => all(name, layer, more), [name, layer, entry?.version, more]);
  const [chosen, setChosen] = useState(1);
  const [other, setOther] = useState("now");
  const at = Math.min(chosen, (changes?.length ?? 1) - 1);
  const change = changes?.[at];
  const possible = change?.entry && (at > 0 || !entry) && may("ManageConfiguration");

  const [back, busy, failed] = useAction(async () => {
    if (!possible) return;
    const {revision, entry: old} = change;
    const saved = await hw.rollback(name, {layer, toRevision: revision, expect: entry?.version ?? 0, description: `back to version ${old.version}`});
    setChosen(1);
    reached("rollback");
    const undo = async () => {
      try {
        const options = {layer, expect: saved.version, description: "undo of a rollback"};
        if (entry) await hw.rollback(name, {toRevision: entry.revision, ...options});
        else await hw.delete(name, options);
        tell("Undone.");
      } catch (caught) {
        tell(`It could not be undone: ${caught.message}`);
      }
    };
    tell(`Rolled back to version ${old.version}.`, {label: "Undo", run: undo});
  });
  const move = (by) => changes && setChosen((before) => Math.max(0, Math.min(changes.length - 1, before + by)));
  useKeys({j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1), r: back});

  if (error?.code === 404) return html`<${Empty} title="Nothing ever happened to this name" />`;
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  if (!changes) return html`<p class="quiet" role="status">Reading…</p>`;
  const against = other === "now" ? entry : changes.find(({revision}) => String(revision) === other)?.entry;
  return html`<div class="history">
    <div>
      <ol class="changes" aria-label="Changes">
        ${changes.map((each, index) => html`<${Change} key=${each.revision} change=${each} now=${index === 0} chosen=${index === at} choose=${() => setChosen(index)} />`)}
      </ol>
      ${changes.length === more && html`<${Button} onClick=${() => setMore(more + PAGE)}>Older changes<//>`}
      <p class="hint">j and k choose${may("ManageConfiguration") && ", r rolls back"}.</p>
    </div>
    <section class="stack" aria-label="The chosen change">
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
      ${change?.entry?.value === null
        ? html`<p class="quiet">${change.entry.size === undefined ? "This value is secret." : "This content is binary."}</p>`
        : html`<${Difference} before=${against?.value ?? ""} after=${change?.entry?.value ?? ""} json=${looksLikeJson(change?.entry?.value, change?.entry?.contentType)}
            labels=${[other === "now" ? "Now" : `Version ${against?.version}`, change?.entry ? `Version ${change.entry.version}` : "Deleted"]} />`}
    </section>
  </div>`;
}

/** The newest changes, as many as are asked for: the gateway gives 1,000 at a time. */
async function all(name, layer, most) {
  const found = [];
  while (found.length < most) {
    const page = await hw.history(name, {layer, take: Math.min(most - found.length, 1_000), before: found.at(-1)?.revision});
    found.push(...page);
    if (!page.length) break;
  }
  return found;
}

function Change({change, now, chosen, choose}) {
  const {operation, entry, modified, modifiedBy, description} = change;
  return html`<li>
    <button type="button" class="change" aria-pressed=${chosen} onClick=${choose}>
      <span><strong>${operation === "delete" ? "Deleted" : `Version ${entry.version}`}</strong>${now && " · now"}</span>
      <span><${When} time=${modified} /> by <${Text} of=${modifiedBy ?? "nobody"} /></span>
      ${description && html`<span class="quiet"><${Text} of=${description} /></span>`}
    </button>
  </li>`;
}
