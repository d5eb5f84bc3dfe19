/** The fleet: how many devices have applied their configuration; which have not, and why (fleet.md, 9). */

import {html, useEffect, useLayoutEffect, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {refine, to} from "../lib/router.js";
import {labelled, narrowed, written} from "../lib/targets.js";
import {count, plain, Text} from "../lib/text.js";
import {Button, Copied, Empty, Figures, Problem, usePolled, useRenewed} from "../lib/ui.js";
import {Table} from "./access.js";
import {useLayers} from "./layers.js";
import {Following, open, RolloutState} from "./rollouts.js";

/** Devices of a page; only one page is in memory. */
const PAGE = 100;
/** Most layers whose devices are counted, each by a request; and the interval. */
const MOST = 20;
const COUNTED = 5_000;

const STATES = {applied: "new", refused: "refused", pending: "", local: "changed"};

export default function Fleet({query}) {
  const {layer, label = "", state, after} = Object.fromEntries(query);
  const layers = useLayers();
  const of = layers.value?.find((each) => each.layer === layer);
  const asked = {target: layer || label ? narrowed(of?.target, labelled(label.replaceAll(",", "\n"))) : undefined};
  const known = !layer || of || layers.error;
  const {counts, error} = useCounts(known && asked);
  const rollouts = usePolled(async () => (await hw.call("rollout/list", {take: 100})).rollouts.filter(open), [], 2_000);
  const link = (wanted) => to("fleet", {layer, label, state: wanted});
  const devices = html`<${Devices} asked=${asked} state=${state} after=${after} counts=${counts} />`;
  return html`<article class="screen wide">
    <header class="title"><h1>Fleet</h1><${Filter} layer=${layer} label=${label} layers=${layers.value ?? []} /></header>
    ${layers.value && layer && !of && html`<p class="wrong">There is no layer <${Text} of=${layer} mono />.</p>`}
    ${error && html`<${Problem} error=${error} />`}
    ${!counts && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${counts && html`<${Figures} label="Devices by state" chosen=${link(state)} of=${[
      ["Devices", counts.devices, "", link()], ["Following", counts.online], ["Applied", counts.applied, "good", link("applied")],
      ["Refused", counts.refused, "bad", link("refused")], ["Pending", counts.pending, "care", link("pending")],
      ["Local", counts.local, "care", link("local")],
      ...(layer || label ? [] : [["Silent in rollouts", rollouts.value?.reduce((sum, each) => sum + each.counts.silent, 0) ?? 0, "bad", to("rollouts")]]),
    ]} />
    ${counts.devices > 0 && html`<p class="quiet">Following: told of each change of its configuration. Applied: all that it should have, or nothing to apply. Local: has values of its own.</p>`}
    ${counts.devices === 0 ? html`<${Nobody} all=${!layer && !label} />` : html`
      ${state && devices}
      ${counts.errors.length > 0 && html`<h2>Most refused</h2><${Table} label="Most refused" head=${["Name", "Why", "Devices"]}>${counts.errors.map(({name, error: why, devices}) => html`<tr key=${`${name}\n${why}`}>
        <th scope="row"><${Text} of=${name} mono /></th><td><${Text} of=${why} /></td><td>${count(devices)}</td></tr>`)}<//>`}
      <${Rollouts} of=${rollouts.value ?? []} />
      ${!layer && !label && layers.value && html`<${Layers} of=${layers.value} />`}
      ${!state && devices}`}`}
  </article>`;
}

/** The counts as the gateway pushes them, at most once a second. */
function useCounts(asked) {
  const [found, setFound] = useState({});
  useEffect(() => {
    setFound({});
    if (!asked) return undefined;
    const take = ({frames}) => setFound({counts: frames.findLast(({action}) => action === "fleet/count")});
    return hw.follow("fleet/subscribe", asked, take, (error) => setFound({error}));
  }, [JSON.stringify(asked)]);
  return found;
}

function Filter({layer = "", label, layers}) {
  const [text, setText] = useState(label);
  useLayoutEffect(() => setText(label), [label]); // before the next key
  const choose = (change) => refine({state: undefined, after: undefined, ...change});
  return html`<form class="row-of" onSubmit=${(event) => event.preventDefault()}>
    <select aria-label="Layer" value=${layer} onChange=${(event) => choose({layer: event.currentTarget.value})}>
      <option value="">All devices</option>
      ${layers.map((each) => html`<option value=${each.layer}>${plain(each.layer)}</option>`)}
    </select>
    <input class="grow" type="search" aria-label="Labels" list="labels" placeholder="site=bonn, floor=2" value=${text} onInput=${(event) => setText(event.currentTarget.value)} onChange=${() => choose({label: text.trim()})} />
    <datalist id="labels">${[...new Set(layers.flatMap(({target}) => written(target.labels).split("\n")))].filter(Boolean).map((each) => html`<option value=${each}></option>`)}</datalist>
  </form>`;
}

function Nobody({all}) {
  if (!all) return html`<${Empty} title="No device has this"><p>Devices get labels on their page, or with <code>hivewire device label</code>.</p><//>`;
  return html`<${Empty} title="There are no devices yet">
    <p>A device follows what it should have with a token of its own, and reports what it has applied.</p>
    <${Copied} label="Terminal: a device with a label" text="hivewire device put pump-1 && hivewire device label pump-1 site=bonn" />
    <${Copied} label="Terminal: its token" text="hivewire token --device pump-1 --expires 365d > pump-1.token" />
    <${Copied} label="Terminal: what all devices should have" text="hivewire put baud 9600 --layer global" />
  <//>`;
}

function Rollouts({of}) {
  if (!of.length) return null;
  return html`<h2>Rollouts that are not over</h2><${Table} label="Rollouts that are not over" head=${["Rollout", "State", "Step", "Reached", "Applied", "Refused", "Silent", "Waiting"]}>${of.map(({rollout, layer, state, step, steps, changes, counts}) => html`<tr key=${rollout}>
    <th scope="row"><a href=${to("rollout", String(rollout))}>${rollout}: <${Text} of=${changes.map(({name}) => name).join(", ")} most=${80} mono /></a> <span class="quiet">of <${Text} of=${layer} mono /></span></th>
    <td><${RolloutState} of=${state} /></td><td>${step} of ${steps.length}</td>
    ${["reached", "applied", "refused", "silent", "waiting"].map((each) => html`<td>${count(counts[each])}</td>`)}</tr>`)}<//>`;
}

/** The layers with their devices by state. A layer with a percentage has no count: only the gateway knows its devices. */
function Layers({of}) {
  const shown = of.slice(0, MOST);
  const {value} = usePolled(async () => {
    const found = new Map();
    for (const {layer, target, rank} of shown) if (target.percent === undefined) found.set(layer, await hw.call("fleet/count", {target: rank ? target : undefined}));
    return found;
  }, [shown.map(({layer, revision}) => `${layer} ${revision}`).join("\n")], COUNTED);
  const cell = (layer, state) => {
    const number = value?.get(layer)?.[state];
    return html`<td>${number ? html`<a href=${to("fleet", {layer, state})} aria-label=${`${plain(layer)}, ${state}: ${count(number)}`}>${count(number)}</a>` : number ?? html`<span class="quiet">–</span>`}</td>`;
  };
  return html`<h2>By layer</h2><${Table} label="Layers, the highest first" head=${["Layer", "Devices", "Following", "Applied", "Refused", "Pending", "Local"]}>${shown.map(({layer, devices}) => html`<tr key=${layer}>
      <th scope="row"><a href=${to("fleet", {layer})}><${Text} of=${layer} mono /></a></th><td>${count(devices)}</td><td>${value?.get(layer)?.online ?? html`<span class="quiet">–</span>`}</td>
      ${Object.keys(STATES).map((state) => cell(layer, state))}</tr>`)}<//>
    ${of.length > MOST && html`<p class="quiet">The highest ${MOST} of ${count(of.length)}: choose another above.</p>`}`;
}

/** A page of devices by id, loaded again when the counts have changed. */
function Devices({asked, state, after, counts}) {
  const {value, error, again} = useRenewed(async () => (await hw.call("fleet/list", {...asked, state, after, take: PAGE})).devices, [JSON.stringify(asked), state, after], counts);
  return html`<h2>Devices ${state && html`<span class=${`tag ${STATES[state] ?? ""}`}>${plain(state)}</span>`}</h2>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value?.length === 0 && html`<p class="quiet">${after ? "There are no others." : "None is in this state."}</p>`}
    ${value?.length > 0 && html`<${Table} label="Devices" head=${["Device", "State", "Configuration", "Labels", "Refused"]}>${value.map((each) => html`<tr key=${each.deviceId}>
      <th scope="row"><a href=${to("device", each.deviceId, {tab: "configuration"})}><${Text} of=${each.deviceId} mono /></a></th>
      <td><span class=${`tag ${STATES[each.state] ?? ""}`}>${each.state}</span></td>
      <td><${Following} online=${each.online} /></td>
      <td><${Text} of=${Object.entries(each.labels).map(([name, text]) => `${name}=${text}`).join(" ")} mono /></td>
      <td>${Object.entries(each.errors).map(([name, why]) => html`<div><${Text} of=${name} mono />: <${Text} of=${why} /></div>`)}</td></tr>`)}<//>`}
    <div class="row-of">
      ${after && html`<${Button} onClick=${() => refine({after: undefined})}>From the beginning<//>`}
      ${value?.length === PAGE && html`<${Button} onClick=${() => refine({after: value.at(-1).deviceId})}>The next ${PAGE}<//>`}
    </div>`;
}
