/** All configurations: folders next to a table that shows every change at once. */

import {html, useEffect, useMemo, useState} from "../vendor/preact.js";
import {hw, INLINE, names, status} from "../lib/gateway.js";
import {Grid} from "../lib/grid.js";
import {toTable} from "../lib/keys.js";
import {ending, position} from "../lib/names.js";
import {go, refine, to} from "../lib/router.js";
import {below, choose as chooseScope} from "../lib/scope.js";
import {may} from "../lib/session.js";
import {choose, settings} from "../lib/settings.js";
import {ago, clock, count, kind, plain, quoted, size, Text, When} from "../lib/text.js";
import {announce, Button, Copied, Empty, Icon} from "../lib/ui.js";
import {Selection, useSelection} from "./selection.js";

const COLUMNS = [
  {label: "Select", class: "select"},
  {label: "Name", class: "name"},
  {label: "Value", class: "value"},
  {label: "Type", class: "type"},
  {label: "Version", class: "version"},
  {label: "Changed", class: "when"},
  {label: "By", class: "who"},
];

const MODES = {prefix: "Names that begin with", names: "Names that contain", values: "Values that contain"};

/** The orders of the table: the name of each, and its comparison. */
const ORDERS = {
  name: ["Name", undefined],
  newest: ["Newest first", (a, b) => revision(b) - revision(a)],
  who: ["Person", (a, b) => compared(who(a), who(b)) || compared(a, b)],
  version: ["Version", (a, b) => (hw.get(b)?.version ?? 0) - (hw.get(a)?.version ?? 0)],
};

/** Characters of a value that are shown before the found text. */
const BEFORE = 20;

const revision = (name) => hw.get(name)?.revision ?? 0;
const who = (name) => hw.get(name)?.modifiedBy ?? "";
const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** Parse a search: `*text*` searches anywhere in names, `=text` in values. */
function understood(mode, text) {
  if (/^\*.+\*$/.test(text)) return ["names", text.slice(1, -1)];
  if (/^=./.test(text)) return ["values", text.slice(1)];
  return [mode, text];
}

/** The prefix of all names that a search can find. */
function beginning(mode, wanted, folder) {
  return mode !== "prefix" || !wanted ? folder : wanted.startsWith(folder) ? wanted : folder + wanted;
}


/** The state of the table, which stays while another screen is shown. */
const table = {focus: undefined, top: 0};

export default function Configurations({query}) {
  const text = query.get("q") ?? "";
  const [chosen, wanted] = understood(query.get("in") ?? "prefix", text);
  const folder = query.get("below") ?? "";
  // No name begins with the text, but some may contain it.
  const prefix = beginning(chosen, wanted, folder);
  const instead = chosen === "prefix" && wanted && !names.sorted[position(names.sorted, prefix)]?.startsWith(prefix);
  const mode = instead ? "names" : chosen;
  const order = ORDERS[query.get("order")] ? query.get("order") : "name";
  const rows = useRows({mode, wanted, folder, order});
  const selection = useSelection();

  const type = ({currentTarget: {value}}) => {
    table.top = 0;
    refine({q: value || undefined});
  };

  const change = may("ManageConfiguration");
  const search = html`<form class="search" role="search" onSubmit=${toTable}>
    <select aria-label="Where to search" value=${chosen} onChange=${(event) => refine({in: event.currentTarget.value})}>
      ${Object.entries(MODES).map(([key, label]) => html`<option value=${key}>${label}</option>`)}
    </select>
    <input type="search" aria-label="Search" placeholder="limits.  *max*  =42   ( / )" value=${text}
      onInput=${type} />
    <select aria-label="Order" value=${order} onChange=${(event) => refine({order: event.currentTarget.value})}>
      ${Object.entries(ORDERS).map(([key, [label]]) => html`<option value=${key}>${label}</option>`)}
    </select>
    <${Pause} />
    ${change && html`<${Button} kind="primary" onClick=${() => go(to("one", folder, {new: 1}))}>New<//>`}
  </form>`;

  return html`<div class="beside">
    <${Folders} chosen=${folder} />
    <section class="fill" aria-labelledby="title">
      <h1 id="title" class="unseen">Configurations</h1>
      ${search}
      <${Summary} rows=${rows} mode=${mode} wanted=${wanted} folder=${folder} instead=${instead} />
      ${names.ready.value && rows.count === 0
        ? html`<${Nothing} wanted=${wanted} folder=${folder} mode=${chosen} />`
        : html`<${Grid} label="Configurations" columns=${COLUMNS} count=${rows.count} at=${rows.at} find=${rows.find}
            row=${(name) => cells(name, selection, mode === "values" ? wanted : "")} state=${table} narrow="configurations"
            to=${(name) => to("one", name)}
            keys=${{
              ...(change && {e: (name) => go(to("one", name, {edit: 1}))}),
              h: (name) => go(to("one", name, {tab: "history"})),
              " ": (name) => selection.toggle(name),
            }} />`}
      <${Selection} selection=${selection} all=${rows} />
    </section>
  </div>`;
}

/** The cells and the classes of a row. A recent change has a bar, a dot and its age. A value that was searched is shown where it has `sought`. */
function cells(name, selection, sought) {
  const {entry, mark, gone} = names.row(name);
  const left = entry?.size === undefined ? "secret" : `${size(entry.size)}, opened on demand`;
  const value = entry?.value === null ? html`<span class="quiet">${left}</span>` : html`<${Found} value=${entry?.value ?? ""} sought=${sought} />`;
  const box = html`<input type="checkbox" tabindex="-1" aria-label=${`Select ${plain(name)}`} checked=${selection.has(name)} onChange=${() => selection.toggle(name)} />`;
  const when = mark
    ? html`<span class="mark"><span class="dot"></span>${gone ? "deleted" : ago(mark.at, clock.value)}</span>`
    : html`<${When} time=${entry?.modified} />`;
  return {
    cells: [box, html`<${Text} of=${name} mono />`, value, kind(entry?.contentType), entry?.version, when, html`<${Text} of=${entry?.modifiedBy ?? "–"} />`],
    class: [mark && "changed", gone && "gone", selection.has(name) && "chosen"].filter(Boolean).join(" "),
  };
}

/** A value in one line, from a little before the found text. */
function Found({value, sought}) {
  const at = sought ? value.toLowerCase().indexOf(sought.toLowerCase()) : -1;
  if (at < 0) return html`<${Text} of=${value} most=${200} mono />`;
  const [from, end] = [Math.max(0, at - BEFORE), at + sought.length];
  return html`${from > 0 && "…"}<${Text} of=${value.slice(from, at)} mono /><mark><${Text} of=${value.slice(at, end)} mono /></mark><${Text} of=${value.slice(end)} most=${200} mono />`;
}

/** The rows to show: a range of all names, or the results of a search, which are updated twice a second. */
function useRows({mode, wanted, folder, order}) {
  const {sorted} = names;
  void names.version.value; // to draw again with each frame in which something changed
  const prefix = beginning(mode, wanted, folder);
  const ranged = order === "name" && (mode === "prefix" || !wanted);
  const [found, setFound] = useState(undefined);
  const slow = ranged ? 0 : names.slow.value;

  useEffect(() => {
    if (ranged || names.paused.value !== undefined) return setFound((before) => (ranged ? undefined : before));
    let stopped = false;
    const low = wanted.toLowerCase();
    const holds = {
      prefix: (name) => name.startsWith(prefix),
      names: (name) => name.startsWith(prefix) && name.toLowerCase().includes(low),
      values: (name) => name.startsWith(prefix) && (hw.get(name)?.value ?? "").toLowerCase().includes(low),
    };
    names.filter(holds[wanted ? mode : "prefix"], ORDERS[order][1], () => stopped).then((list) => list && setFound(list));
    return () => (stopped = true);
  }, [ranged, mode, wanted, prefix, order, slow]);

  return useMemo(() => {
    if (!ranged) {
      const list = found ?? [];
      return {count: list.length, at: (index) => list[index], find: (name) => list.indexOf(name), waiting: !found};
    }
    const from = position(sorted, prefix);
    const end = ending(sorted, prefix, from);
    const find = (name) => {
      const at = position(sorted, name);
      return at >= from && at < end && sorted[at] === name ? at - from : -1;
    };
    return {count: end - from, at: (index) => sorted[from + index], find, waiting: !names.ready.value};
  }, [ranged, found, prefix, sorted, names.version.value, names.ready.value]);
}

/** The number of rows, and what they are. */
function Summary({rows, mode, wanted, folder, instead}) {
  const words = rows.waiting && status.value.state !== "stale" ? "Reading" : count(rows.count, "configuration");
  const where = folder ? html` below <${Text} of=${folder} mono />` : "";
  const note = mode === "values" && wanted ? ` Values of more than ${count(INLINE)} characters are not searched.` : instead && rows.count ? " No name begins with this: these contain it." : "";
  useEffect(() => {
    if (wanted && !rows.waiting) announce(`${count(rows.count, "configuration")} found`);
  }, [wanted, mode, rows.count, rows.waiting]);
  return html`<p class="summary">${words}${where}${where ? "" : "."}${note}</p>`;
}

/** Pause the table; the changes since are counted. */
function Pause() {
  const since = names.paused.value;
  return html`<button type="button" class="button" aria-pressed=${since !== undefined} onClick=${() => names.pause()}>
    ${since === undefined ? "Pause" : `Paused, ${count(since, "change")}`}
  </button>`;
}

/** The tree of folders that the names form; it is opened level by level. */
function Folders({chosen}) {
  void names.slow.value;
  const {delimiter} = settings.value;
  return html`<nav class="folders" aria-label="Folders">
    <div class="row-of">
      <a href=${to("c")} aria-current=${chosen === "" ? "page" : undefined}>All names <span class="quiet">${count(names.sorted.length)}</span></a>
      <select aria-label="What separates folders" value=${delimiter} onChange=${(event) => choose({delimiter: event.currentTarget.value})}>
        ${[".", "/", ":", "-", "_"].map((each) => html`<option>${each}</option>`)}
      </select>
    </div>
    ${below() !== undefined && html`<p class="hint">Only below <${Text} of=${below()} mono />. <button type="button" class="link" onClick=${() => (chooseScope(undefined), location.reload())}>Choose another</button></p>`}
    <${Branch} prefix="" chosen=${chosen} delimiter=${delimiter} />
  </nav>`;
}

function Branch({prefix, chosen, delimiter}) {
  const {folders, more} = names.folders(prefix, delimiter);
  if (!folders.length) return null;
  return html`<ul>
    ${folders.map((each) => html`<${Folder} key=${each.prefix} ...${each} chosen=${chosen} delimiter=${delimiter} />`)}
    ${more && html`<li class="quiet">And more: search for them.</li>`}
  </ul>`;
}

function Folder({prefix, label, count: number, chosen, delimiter}) {
  const [open, setOpen] = useState(chosen.startsWith(prefix) && chosen !== prefix);
  const deeper = names.folders(prefix, delimiter, 1).folders.length > 0;
  return html`<li>
    <div class="folder">
      ${deeper
        ? html`<button type="button" class="plain square small" aria-expanded=${open} aria-label=${`Folders below ${plain(prefix)}`} onClick=${() => setOpen(!open)}><${Icon} name="open" /></button>`
        : html`<span class="square small"></span>`}
      <a href=${to("c", {below: prefix})} aria-current=${chosen === prefix ? "page" : undefined}>
        <${Text} of=${label} /> <span class="quiet">${count(number)}</span>
      </a>
    </div>
    ${open && html`<${Branch} prefix=${prefix} chosen=${chosen} delimiter=${delimiter} />`}
  </li>`;
}

function Nothing({wanted, folder, mode}) {
  if (wanted) {
    const other = mode === "values" ? "names" : "values";
    return html`<${Empty} title="Nothing was found">
      <p>No ${mode === "values" ? "value" : "name"} contains <q><${Text} of=${wanted} /></q>.</p>
      <div class="row-of"><${Button} onClick=${() => refine({in: other, q: wanted})}>Search the ${other}<//></div>
    <//>`;
  }
  const name = `${folder || "limits."}max`;
  return html`<${Empty} title=${folder ? "There is nothing below this" : "There are no configurations yet"}>
    <p>Make the first one${may("ManageConfiguration") && html` with <strong>New</strong>, or`} from a terminal or a program:</p>
    <${Copied} label="Terminal" text=${`hivewire put -- ${quoted(name)} 42`} />
    <${Copied} label="Python" text=${`await hw.put(${JSON.stringify(name)}, "42")`} />
    <${Copied} label="JavaScript" text=${`await hw.put(${JSON.stringify(name)}, "42")`} />
  <//>`;
}

