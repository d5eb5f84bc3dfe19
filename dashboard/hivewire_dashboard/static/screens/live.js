/** The gateway at work: its metrics as charts, and its connections. */

import {html, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {CHARTS, problem, useReadings} from "../lib/metrics.js";
import {to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, size, Text, When} from "../lib/text.js";
import {Button, Empty, Problem, Tabs, tell, usePolled} from "../lib/ui.js";
import {Sure, Table} from "./access.js";
import {Chart} from "./chart.js";

/** About the most connections that are shown. */
const MOST = 2_000;

export default function Live({query}) {
  const tab = may("ManageUser") ? (query.get("of") ?? "metrics") : "metrics";
  return html`<article class="screen wide">
    <h1>Live</h1>
    <${Tabs} label="What to show" chosen=${tab} tabs=${[["metrics", "Metrics", to("live")], ...(may("ManageUser") ? [["connections", "Connections", to("live", {of: "connections"})]] : [])]} />
    ${tab === "connections" ? html`<${Connections} />` : html`<${Metrics} />`}
  </article>`;
}

function Metrics() {
  const {times, charts} = useReadings();
  return html`<section aria-label="Metrics">
    <p class="quiet">The last ten minutes at most, since you opened this page; of the gateway that answers here.</p>
    ${problem.value && html`<${Problem} error=${problem.value} />`}
    <div class="charts">${CHARTS.map(({title, unit, lines}, index) => html`<${Chart} key=${title} title=${title} unit=${unit} names=${Object.keys(lines)} times=${times} values=${charts[index]} />`)}</div>
  </section>`;
}

function Connections() {
  const [open, setOpen] = useState();
  const {value, error, again} = usePolled(async () => {
    const found = [];
    for (;;) {
      const {connections} = await hw.call("connection/list", {after: found.at(-1)?.connectionId, take: 500});
      found.push(...connections);
      if (connections.length < 500 || found.length >= MOST) return found;
    }
  }, [], 5_000);
  if (value?.length === 0) return html`<${Empty} title="Nobody is connected" />`;
  return html`<section class="stack" aria-label="Connections">
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value && html`<p class="quiet">${value.length >= MOST && "The first "}${count(value.length, "connection")} of all gateways, looked at every five seconds.</p>
    <${Table} label="Connections" head=${["Login", "Kind", "Address", "Since", "Subscriptions", "Behind", "Unread", "Gateway", html`<span class="unseen">Actions</span>`]}>
      ${value.map((each) => html`<tr key=${each.connectionId}>
        <th scope="row"><${Text} of=${each.login ?? "nobody"} /></th><td>${each.kind}</td><td><${Text} of=${each.address} mono /></td><td><${When} time=${each.since} /></td>
        <td>${count(each.subscriptions)}</td><td>${count(each.behind)}</td><td>${size(each.unreadBytes)}</td><td><${Text} of=${each.gateway ?? "–"} /></td>
        <td><${Button} kind="small danger" onClick=${() => setOpen(each)}>Close…<//></td>
      </tr>`)}
    <//>`}
    ${open && html`<${Sure} title="Close this connection?" word="Close it" close=${() => setOpen()}
      run=${async () => (await hw.call("connection/close", {connectionId: open.connectionId}), again(), tell("Closed."))}>
      <p>That of <${Text} of=${open.login ?? "nobody"} /> from <${Text} of=${open.address} mono />. Its program may connect again.</p><//>`}
  </section>`;
}
