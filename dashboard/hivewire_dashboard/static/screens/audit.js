/** The changes of configurations, and the audit of everything else: who did what, and when. */

import {html, useEffect, useState} from "../vendor/preact.js";
import {hw, names} from "../lib/gateway.js";
import {toOne} from "../lib/layer.js";
import {refine, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, moment, plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, Tabs, useLoaded} from "../lib/ui.js";
import {Table} from "./access.js";
import {Versions} from "./history.js";

const PAGE = 100;

export default function Audit({query}) {
  const tab = may("ManageUser") ? (query.get("of") ?? "changes") : "changes";
  return html`<article class="screen">
    <h1>Audit</h1>
    <${Tabs} label="What to show" chosen=${tab} tabs=${[
      ["changes", "Changes of configurations", to("audit")],
      ...(may("ManageUser") ? [["people", "Logins, users and rights", to("audit", {of: "people"})]] : []),
    ]} />
    ${tab === "people" ? html`<${People} query=${query} />` : html`<${Changes} query=${query} />`}
  </article>`;
}

function useFields(query, fields) {
  return fields.map(([key, label, hint]) => html`<${Field} key=${key} label=${label} hint=${hint} value=${query.get(key) ?? ""} onInput=${(value) => refine({[key]: value || undefined})} />`);
}

/** Load pages until there are `most` rows; the next page begins at `before` of the last one. */
async function pages(ask, most) {
  const found = [];
  let before;
  while (found.length < most) {
    const page = await ask(before);
    found.push(...page.rows);
    before = page.before;
    if (before === null || before === undefined || !page.rows.length) break;
  }
  return {rows: found, more: before !== null && before !== undefined};
}

function Changes({query}) {
  const [most, setMost] = useState(PAGE);
  const [open, setOpen] = useState();
  const [name, user, since] = ["name", "user", "since"].map((key) => query.get(key) ?? "");
  const live = names.slow.value;
  const from = since ? Date.parse(since) : -Infinity;
  const {value, error, again} = useLoaded(
    () => pages(async (before) => {
      const asked = {names: name ? [name] : undefined, user: user || undefined, before, take: PAGE};
      const reply = await hw.call("configuration/audit", asked);
      return {rows: reply.changes.filter(({modified}) => Date.parse(`${modified}Z`) >= from), before: reply.before};
    }, most),
    [name, user, since, most, live],
  );
  return html`<section class="stack" aria-label="Changes of configurations">
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      ${useFields(query, [["name", "Name", "Exact, or a prefix with *"], ["user", "Person", "The login"]])}
      <${Field} label="Since" type="datetime-local" value=${since} onInput=${(at) => refine({since: at || undefined})} hint="Your time" />
    </form>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value && !value.rows.length && html`<${Empty} title="No changes"><p>Nothing matches, or what did has been removed from the log.</p><//>`}
    ${value?.rows.length > 0 && html`<${Table} label="Changes" head=${["When", "Who", "Name", "What", "Why", html`<span class="unseen">Difference</span>`]}>
      ${value.rows.map((row) => html`<${ChangeRow} key=${`${row.revision}-${row.configuration.name}`} row=${row} look=${() => setOpen(row)} />`)}<//>`}
    ${value?.more && html`<${Button} onClick=${() => setMost(most + PAGE)}>Older changes<//>`}
    ${open && html`<${Look} row=${open} close=${() => setOpen(undefined)} />`}
  </section>`;
}

function ChangeRow({row, look}) {
  const {modified, modifiedBy, operation, description, configuration} = row;
  return html`<tr>
    <td><${When} time=${modified} /></td>
    <td><${Text} of=${modifiedBy ?? "–"} /></td>
    <td><a href=${toOne(configuration.name, configuration.layer)}><${Text} of=${configuration.name} mono /></a>${
      configuration.layer && html` <span class="quiet">in <${Text} of=${configuration.layer} mono /></span>`}</td>
    <td>${operation === "delete" ? "deleted" : `version\u00a0${configuration.entityVersion}`}</td>
    <td><${Text} of=${description ?? ""} /></td>
    <td><${Button} kind="small" onClick=${look} aria-label=${`Difference of ${plain(configuration.name)}, revision ${row.revision}`}>Difference<//></td>
  </tr>`;
}

/** A change, compared with the one before it. */
function Look({row, close}) {
  const {configuration: {name, layer}, revision} = row;
  const {value, error} = useLoaded(async () => {
    const [now, before] = await hw.history(name, {take: 2, before: revision + 1, layer});
    return {now: now?.revision === revision ? now : undefined, before};
  }, [name, revision]);
  return html`<${Dialog} wide title=${plain(name)} close=${close}>
    <div class="stack">
      <p class="quiet">Revision ${revision}, ${moment(row.modified)}. <a href=${toOne(name, layer, {tab: "history"})}>Its history</a></p>
      ${error && html`<${Problem} error=${error} />`}
      ${value && (value.now
        ? html`<${Versions} of=${[value.before?.entry, value.now.entry]} labels=${["Before", value.now.entry ? "After" : "Deleted"]} />`
        : html`<p>It is not in the history any more.</p>`)}
    </div>
  <//>`;
}

function People({query}) {
  const [most, setMost] = useState(PAGE);
  const [kind, user, subject] = ["kind", "user", "subject"].map((key) => query.get(key) ?? "");
  const {value, error, again} = useLoaded(
    () => pages(async (before) => {
      const asked = {kind: kind || undefined, user: user || undefined, subject: subject || undefined, before, take: PAGE};
      const {rows} = await hw.call("audit/list", asked);
      return {rows, before: rows.length === PAGE ? rows.at(-1).number : null};
    }, most),
    [kind, user, subject, most],
  );
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && again(), 5_000);
    return () => clearInterval(timer);
  }, [kind, user, subject, most, again]);
  return html`<section class="stack" aria-label="Logins, users and rights">
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      ${useFields(query, [["kind", "Kind", "login, token, failure, user, client …"], ["user", "Who did it", "The login"], ["subject", "About whom", "A login or an id"]])}
    </form>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value && !value.rows.length && html`<${Empty} title="No entries"><p>Nothing matches.</p><//>`}
    ${value?.rows.length > 0 && html`<${Table} label="Entries" head=${["When", "Kind", "About", "By", "From", "Times", "Details"]}>
      ${value.rows.map((row) => html`<tr key=${row.number}>
        <td><${When} time=${row.time} /></td><td>${plain(row.kind)}</td><td><${Text} of=${row.subject} /></td>
        <td><${Text} of=${row.user ?? "–"} /></td><td><${Text} of=${row.address ?? "–"} /></td><td>${count(row.count)}</td>
        <td><${Text} of=${row.detail ? JSON.stringify(row.detail) : ""} most=${300} mono /></td>
      </tr>`)}<//>`}
    ${value?.more && html`<${Button} onClick=${() => setMost(most + PAGE)}>Older entries<//>`}
  </section>`;
}
