/** The layers by rank: their devices, and their configurations (fleet.md, 3). */

import {html, useState} from "../vendor/preact.js";
import {networks, types} from "../lib/fleet.js";
import {hw} from "../lib/gateway.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {described, labelled, lines, typeable, UNTYPEABLE, written} from "../lib/targets.js";
import {count, plain, Text} from "../lib/text.js";
import {Button, Copied, Dialog, Field, Problem, tell, useAction, usePolled, useShown} from "../lib/ui.js";
import {Sure, Table} from "./access.js";

/** Interval of asking for the number of devices, which changes with labels. */
export function useLayers() {
  return usePolled(async () => (await hw.call("layer/list")).layers.sort((a, b) => b.rank - a.rank), [], 3_000);
}

export default function Layers() {
  networks.use();
  types.use();
  const {value, error, again} = useLayers();
  const [adding, setAdding] = useState(false);
  return html`<article class="screen">
    <header class="title"><h1>Layers</h1>
      ${may("ManageConfiguration") && html`<${Button} kind="primary" onClick=${() => setAdding(true)}>New<//>`}
    </header>
    <p class="quiet">For each name a device gets the value from its highest layer that sets it. Above all of these is the layer of the device itself. Devices do not see plain configurations: those are for programs.</p>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${value && html`<${Table} label="All layers, the highest first" head=${["Layer", "Rank", "Which devices", "Devices", "Configurations"]}>
      ${value.map(({layer, rank, target, devices, configurations}) => html`<tr key=${layer}>
        <th scope="row"><a href=${to("layer", layer)}><${Text} of=${layer} mono /></a></th>
        <td>${rank}</td><td><${Text} of=${described(target)} words /></td><td>${count(devices)}</td><td>${count(configurations)}</td>
      </tr>`)}
    <//>`}
    ${value?.length === 1 && html`<${Copied} label="Terminal: another layer" text="hivewire layer put cold-chain 500 --label site=bonn" />`}
    ${adding && html`<${LayerForm} close=${() => setAdding(false)} done=${(name) => go(to("layer", name))} />`}
  </article>`;
}

/** A form for a new layer, or for the target and rank of one. */
export function LayerForm({of, close, done}) {
  const {target = {}} = of ?? {};
  const [name, setName] = useState("");
  const [rank, setRank] = useState(String(of?.rank ?? ""));
  const typed = typeable(target.labels);
  const [labels, setLabels] = useState(written(target.labels));
  const [ids, setIds] = useState((target.deviceIds ?? []).join("\n"));
  const [percent, setPercent] = useState(String(target.percent ?? ""));
  const [inNetworks, setNetworks] = useState(target.networkIds ?? []);
  const [ofTypes, setTypes] = useState(target.deviceTypeIds ?? []);
  const finish = useShown((layer) => (close(), done(layer)));
  const [save, busy, error] = useAction(async () => {
    const wanted = typed ? labelled(labels) : target.labels;
    const members = {
      networkIds: inNetworks.length ? inNetworks : undefined,
      deviceTypeIds: ofTypes.length ? ofTypes : undefined,
      deviceIds: lines(ids).length ? lines(ids) : undefined,
      labels: Object.keys(wanted).length ? wanted : undefined,
      percent: percent ? Number(percent) : undefined,
    };
    const expected = of ? {revision: of.revision} : {entityVersion: 0};
    const {layer, devices} = await hw.call("layer/put", {layer: of?.layer ?? name, rank: Number(rank), target: members, ...expected});
    finish(layer);
    tell(`Saved the layer ${layer}: ${count(devices, "device")}.`);
  });
  const ready = (of || name) && rank;
  const several = (label, followed, chosen, choose) => followed.sorted.length > 0 && html`<${Field} as="select" label=${label} multiple size="4" hint="Any when none is chosen."
    onInput=${() => {}} onChange=${(event) => choose([...event.currentTarget.selectedOptions].map((option) => Number(option.value)))}>
    ${followed.sorted.map((each) => html`<option value=${String(each.id)} selected=${chosen.includes(each.id)}>${plain(each.name)}</option>`)}<//>`;
  return html`<${Dialog} title=${of ? "Change this layer" : "New layer"} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" type="submit" form="layer" busy=${busy || !ready}>Save<//>`}>
    <form id="layer" class="stack" onSubmit=${(event) => (event.preventDefault(), ready && save())}>
      ${!of && html`<${Field} label="Name" value=${name} onInput=${setName} autofocus hint="Up to 32 small letters, digits, dots and hyphens." />`}
      <${Field} label="Rank" type="number" min="1" max="9999" value=${rank} onInput=${setRank} hint="1 to 9,999; higher ones win." />
      <p>A device has the layer when all of these hold; without any, every device has it.</p>
      <${Field} as="textarea" label="Labels" rows="2" class="mono" value=${labels} onInput=${setLabels} disabled=${!typed} wrong=${!typed && UNTYPEABLE} hint="One on each line, such as site=bonn. Several values of one label: any of them will do. A name alone, such as spare: devices that do not have this label." />
      ${several("Networks", networks, inNetworks, setNetworks)}
      ${several("Device types", types, ofTypes, setTypes)}
      <${Field} as="textarea" label="Device ids" rows="2" class="mono" value=${ids} onInput=${setIds} hint="One on each line." />
      <${Field} label="Percent" type="number" min="0" max="100" step="any" value=${percent} onInput=${setPercent} hint="Always the same devices; more of them keeps these." />
      ${error && html`<${Problem} error=${error} />`}
    </form>
  <//>`;
}

export function RemoveLayer({of: {layer, revision, configurations, devices}, close}) {
  const leave = useShown(go);
  const run = async () => {
    await hw.call("layer/delete", {layer, revision, force: configurations > 0 || undefined});
    leave(to("layers"));
    tell(`Deleted the layer ${layer}.`);
  };
  return html`<${Sure} title="Delete this layer?" word=${configurations ? `Delete it with ${count(configurations, "configuration")}` : "Delete"} close=${close} run=${run}>
    <p>${count(devices, "device")} ${devices === 1 ? "has" : "have"} <${Text} of=${layer} mono />, and get what lower layers say.</p><//>`;
}
