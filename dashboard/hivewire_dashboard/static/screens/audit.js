/** The changes of configurations, and the audit of everything else: who did what, and when. */

import {matcher} from "../vendor/hivewire/watch.js";
import {html, useEffect, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {toOne} from "../lib/layer.js";
import {refine, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, milliseconds, moment, plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Empty, Field, Problem, Tabs, useLoaded, usePolled, useRenewed} from "../lib/ui.js";
import {Table} from "./access.js";
import {Versions} from "./history.js";

const PAGE = 100;
/** Most requests for a page: where few changes match, each reads a part of the log. */
const MOST = 20;
/** Milliseconds between two looks at the newest changes. */
const APART = 500;

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

/** Load pages until there are `most` rows, or many were asked for; the next one begins at `before` of the last one. */
async function pages(ask, most) {
  const found = [];
  let before;
  for (let asked = 0; found.length < most && asked < (MOST * most) / PAGE; asked++) {
    const page = await ask(before);
    found.push(...page.rows);
    before = page.before ?? undefined;
    if (before === undefined) break;
  }
  return {rows: found, more: before !== undefined};
}

/** A number that grows with the changes of these names by this user, at most twice a second. */
function useNewest(name, user) {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const matches = matcher(name || "*");
    let timer;
    const look = ({changes}) => {
      if (timer || !changes.some((each) => matches(each.name) && (!user || each.modifiedBy === user))) return;
      timer = setTimeout(() => {
        timer = undefined;
        setVersion((before) => before + 1);
      }, APART);
    };
    const offs = [hw.on("reset", look), hw.on("changes", look), () => clearTimeout(timer)];
    return () => offs.forEach((off) => off());
  }, [name, user]);
  return version;
}

function Changes({query}) {
  const [most, setMost] = useState(PAGE);
  const [open, setOpen] = useState();
  const [name, user, since] = ["name", "user", "since"].map((key) => query.get(key) ?? "");
  const from = since ? Date.parse(since) : -Infinity;
  const {value, error, again} = useRenewed(
    () => pages(async (before) => {
      const asked = {names: name ? [name] : undefined, user: user || undefined, before, take: PAGE};
      const reply = await hw.call("configuration/audit", asked);
      const rows = reply.changes.filter(({modified}) => milliseconds(modified) >= from);
      return {rows, before: rows.length < reply.changes.length ? undefined : reply.before};
    }, most),
    [name, user, since, most],
    useNewest(name, user),
  );
  return html`<section class="stack" aria-label="Changes of configurations">
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      ${useFields(query, [["name", "Name", "Exact, or a prefix with *"], ["user", "Person", "The login"]])}
      <${Field} label="Since" type="datetime-local" value=${since} onInput=${(at) => refine({since: at || undefined})} hint="Your time" />
    </form>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value && !value.rows.length && html`<${Empty} title="No changes"><p>${value.more ? "Nothing among the newest ones matches." : "Nothing matches, or what did has been removed from the log."}</p><//>`}
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
  const {value, error, again} = usePolled(
    () => pages(async (before) => {
      const asked = {kind: kind || undefined, user: user || undefined, subject: subject || undefined, before, take: PAGE};
      const {rows} = await hw.call("audit/list", asked);
      return {rows, before: rows.length === PAGE ? rows.at(-1).number : null};
    }, most),
    [kind, user, subject, most],
    5_000,
  );
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
