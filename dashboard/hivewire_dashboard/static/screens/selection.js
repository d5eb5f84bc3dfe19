/** Actions for many configurations at once: stage them in the basket, or export them. */

import {html, useState} from "../vendor/preact.js";
import {stage} from "../lib/basket.js";
import {hw} from "../lib/gateway.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain} from "../lib/text.js";
import {Button, Dialog, Field, Problem, tell, useAction, useShown} from "../lib/ui.js";

/** Most configurations that can be staged: as many as a transaction may have. */
const MOST = 1_000;

export function useSelection() {
  const [chosen, setChosen] = useState(() => new Set());
  const change = (work) => {
    const next = new Set(chosen);
    work(next);
    setChosen(next);
  };
  return {
    names: () => [...chosen],
    size: chosen.size,
    has: (name) => chosen.has(name),
    toggle: (name) => change((all) => all.delete(name) || all.add(name)),
    add: (names) => change((all) => names.forEach((name) => all.add(name))),
    clear: () => setChosen(new Set()),
  };
}

/** The actions for the selected configurations. */
export function Selection({selection, all}) {
  const [dialog, setDialog] = useState();
  const [remove, busy, error] = useAction(async () => {
    staged(selection, selection.names().filter((name) => hw.get(name)).map((name) => edit(hw.get(name), undefined)));
  });
  if (!selection.size) return null;
  const full = selection.size > MOST;
  const every = () => selection.add(Array.from({length: Math.min(all.count, MOST)}, (_, index) => all.at(index)));
  return html`<div class="selection" role="region" aria-label="What is selected">
    <p><strong>${count(selection.size)} selected</strong>${full ? `; at most ${count(MOST)} can be staged` : ""}</p>
    <${Button} onClick=${every}>Select all ${count(Math.min(all.count, MOST))}<//>
    ${may("ManageConfiguration") && html`
      <${Button} busy=${busy || full} onClick=${() => !full && remove()}>Stage deletes<//>
      <${Button} busy=${full} onClick=${() => !full && setDialog("copy")}>Copy or rename…<//>`}
    <${Button} onClick=${() => go(to("transfer", {names: selection.names().slice(0, MOST).join("\n")}))}>Export<//>
    <${Button} kind="plain" onClick=${selection.clear}>Clear<//>
    ${error && html`<${Problem} error=${error} />`}
    ${dialog && html`<${Moving} selection=${selection} close=${() => setDialog(undefined)} />`}
  </div>`;
}

function edit(entry, value, name = entry.name) {
  const {revision, version, value: before} = (name === entry.name ? entry : hw.get(name)) ?? {revision: 0};
  return {name, value, contentType: entry.contentType, base: revision, version, before};
}

function staged(selection, edits) {
  stage(edits);
  tell(`${count(edits.length, "edit")} staged. Nothing is written yet.`, {label: "Open the basket", run: () => go(to("basket"))});
  selection.clear();
}

/** Copy to another prefix, or rename, which also deletes the old names. */
function Moving({selection, close}) {
  const from = shared(selection.names());
  const [before, setBefore] = useState(from);
  const [after, setAfter] = useState(from);
  const [rename, setRename] = useState(false);
  const shut = useShown(close);
  const [move, busy, error] = useAction(async () => {
    const [deletes, puts] = [[], []];
    for (const name of selection.names()) {
      if (!name.startsWith(before)) continue;
      const known = hw.get(name);
      if (!known) continue;
      const entry = known.value === null ? {...known, value: (await hw.fetch(name)).value} : known;
      if (entry.value === null) throw new Error(`${plain(name)} is secret or binary: the page does not know what to copy.`);
      puts.push(edit(entry, entry.value, after + name.slice(before.length)));
      if (rename) deletes.push(edit(entry, undefined));
    }
    const written = new Set(puts.map(({name}) => name)); // the old name of one may be the new one of another
    staged(selection, [...deletes.filter(({name}) => !written.has(name)), ...puts]);
    shut();
  });
  const wrong = before === after ? "Give another prefix." : undefined;
  return html`<${Dialog} title="Copy or rename" close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" busy=${busy || wrong} onClick=${() => !wrong && move()}>Stage<//>`}>
    <div class="stack">
      <${Field} label="Replace the prefix" value=${before} onInput=${setBefore} />
      <${Field} label="by" value=${after} onInput=${setAfter} wrong=${wrong} />
      <label class="check"><input type="checkbox" checked=${rename} onChange=${() => setRename(!rename)} /> Delete the old names: rename</label>
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}

/** The longest common prefix of all names. */
function shared(names) {
  let prefix = names[0] ?? "";
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix;
}
