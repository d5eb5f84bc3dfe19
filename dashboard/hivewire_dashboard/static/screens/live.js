/** What the gateway is doing: its metrics as charts, and who is connected. */

import {html, useEffect, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import Plot from "../vendor/uplot.js";
import {hw} from "../lib/gateway.js";
import {CHARTS, problem, useReadings} from "../lib/metrics.js";
import {to} from "../lib/router.js";
import {settings} from "../lib/settings.js";
import {count, size, Text, When} from "../lib/text.js";
import {Button, Empty, Problem, Tabs, tell, useLoaded} from "../lib/ui.js";
import {Sure, Table} from "./access.js";

export default function Live({query}) {
  const tab = query.get("of") ?? "metrics";
  return html`<article class="screen wide">
    <h1>Live</h1>
    <${Tabs} label="What to show" chosen=${tab} tabs=${[["metrics", "Metrics", to("live")], ["connections", "Connections", to("live", {of: "connections"})]]} />
    ${tab === "connections" ? html`<${Connections} />` : html`<${Metrics} />`}
  </article>`;
}

function Metrics() {
  const {times, charts} = useReadings();
  return html`<section aria-label="Metrics">
    <p class="quiet">The last ten minutes at most, since you opened this page; of the gateway that answers here.</p>
    ${problem.value && html`<${Problem} error=${problem.value} />`}
    <div class="charts">${CHARTS.map((chart, index) => html`<${Chart} key=${chart.title} ...${chart} times=${times} values=${charts[index]} />`)}</div>
  </section>`;
}

/** The colours of the lines, which a canvas cannot take from variables. */
const COLOURS = ["accent", "good", "quiet"];

function Chart({title, unit, lines, times, values}) {
  const host = useRef();
  const plot = useRef();
  const names = Object.keys(lines);
  const figures = (number) => (number === null || number === undefined ? "–" : count(Math.round(number * 10) / 10));

  useLayoutEffect(() => {
    const element = host.current;
    const colour = (name) => getComputedStyle(element.querySelector(`.${name}`)).color;
    const axis = {stroke: colour("quiet"), grid: {stroke: colour("line"), width: 1}, ticks: {show: false}, font: "12px system-ui"};
    const options = {
      width: element.clientWidth, height: 192, legend: {show: false}, cursor: {show: false},
      scales: {x: {range: (_, low, high) => [Math.min(low, high - 60), high]}, y: {range: (_, low, high) => [0, Math.max(1, high * 1.1)]}},
      axes: [axis, {...axis, size: 48}],
      series: [{}, ...names.map((_, index) => ({stroke: colour(COLOURS[index]), width: 2, spanGaps: true, dash: index === 1 ? [6, 4] : index === 2 ? [2, 3] : undefined}))],
    };
    plot.current = new Plot(options, [times, ...values], element);
    const observer = new ResizeObserver(() => plot.current.setSize({width: element.clientWidth, height: 192}));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current.destroy();
    };
  }, [settings.value.theme]);
  useEffect(() => plot.current.setData([times, ...values]), [times]);

  return html`<figure class="panel chart">
    <figcaption><h2>${title} <span class="quiet">${unit}</span></h2></figcaption>
    <div ref=${host} class="plot" role="img" aria-label=${`${title}: ${names.map((name, index) => `${name} ${figures(values[index].at(-1))}`).join(", ")}`}>
      ${[...COLOURS, "line"].map((name) => html`<span class=${`probe ${name}`}></span>`)}
    </div>
    <table class="small"><tbody>${names.map((name, index) => {
      const known = values[index].filter((each) => each !== null);
      return html`<tr><th scope="row"><span class=${`swatch ${COLOURS[index]}`}></span>${name}</th>
        <td>now ${figures(values[index].at(-1))}</td><td>most ${known.length ? figures(Math.max(...known)) : "–"}</td></tr>`;
    })}</tbody></table>
  </figure>`;
}

function Connections() {
  const [open, setOpen] = useState();
  const {value, error, again} = useLoaded(async () => {
    const found = [];
    for (;;) {
      const {connections} = await hw.call("connection/list", {after: found.at(-1)?.connectionId, take: 500});
      found.push(...connections);
      if (connections.length < 500 || found.length >= 2_000) return found;
    }
  }, []);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && again(), 5_000);
    return () => clearInterval(timer);
  }, [again]);
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  if (value?.length === 0) return html`<${Empty} title="Nobody is connected" />`;
  return html`<section class="stack" aria-label="Connections">
    ${value && html`<p class="quiet">${count(value.length, "connection")} of all gateways, looked at every five seconds.</p>
    <${Table} label="Connections" head=${["Login", "Kind", "Address", "Since", "Subscriptions", "Behind", "Unread", "Gateway", html`<span class="unseen">Actions</span>`]}>
      ${value.map((each) => html`<tr key=${each.connectionId}>
        <th scope="row"><${Text} of=${each.login ?? "nobody"} /></th><td>${each.kind}</td><td><${Text} of=${each.address} mono /></td><td><${When} time=${each.since} /></td>
        <td>${count(each.subscriptions)}</td><td>${count(each.behind)}</td><td>${size(each.unreadBytes)}</td><td><${Text} of=${each.gateway ?? "–"} /></td>
        <td><${Button} kind="small danger" onClick=${() => setOpen(each)}>Close…<//></td>
      </tr>`)}
    <//>`}
    ${open && html`<${Sure} title="Close this connection?" word="Close it" close=${() => (setOpen(), again())}
      run=${async () => (await hw.call("connection/close", {connectionId: open.connectionId}), tell("Closed."))}>
      <p>That of <${Text} of=${open.login ?? "nobody"} /> from <${Text} of=${open.address} mono />. Its program may connect again.</p><//>`}
  </section>`;
}
