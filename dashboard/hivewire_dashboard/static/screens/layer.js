/** One layer: its devices, and its configurations as they are now. */

import {html, useState} from "../vendor/preact.js";
import {networks, types} from "../lib/fleet.js";
import {toOne, useLayer} from "../lib/layer.js";
import {to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {described} from "../lib/targets.js";
import {count, kind, quoted, Text} from "../lib/text.js";
import {Button, Copied, Empty, Problem} from "../lib/ui.js";
import {Table} from "./access.js";
import {LayerForm, RemoveLayer, useLayers} from "./layers.js";

const MOST = 200;
const OF_DEVICE = "device/";

export default function Layer({rest: [layer = ""]}) {
  networks.use();
  types.use();
  const {value: layers, again} = useLayers();
  const {entries, ready, error} = useLayer(layer);
  const [open, setOpen] = useState({}); // a dialog, with the layer as it was then
  const [text, setText] = useState("");
  const of = layers?.find((each) => each.layer === layer);
  const device = layer.startsWith(OF_DEVICE) ? layer.slice(OF_DEVICE.length) : undefined;
  const change = may("ManageConfiguration");
  const low = text.toLowerCase();
  const found = [...entries.values()].filter(({name, value}) => !low || `${name}\n${value ?? ""}`.toLowerCase().includes(low)).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (error) return html`<${Problem} error=${error} /><p><a href=${to("layers")}>All layers</a></p>`;
  return html`<article class="screen">
    <nav class="path" aria-label="Above"><a href=${to("layers")}>Layers</a></nav>
    <header class="title"><h1><${Text} of=${layer} mono /></h1>
      ${change && html`<div class="row-of">
        <a class="button primary" href=${toOne("", layer, {new: 1})}>New configuration</a>
        <a class="button" href=${to("rollout", "new", {layer})}>Roll out…</a>
        ${of?.rank > 0 && html`<${Button} onClick=${() => setOpen({change: of})}>Change<//><${Button} kind="danger" onClick=${() => setOpen({remove: of})}>Delete…<//>`}
      </div>`}
    </header>
    ${device !== undefined && html`<p class="facts">Only the device <a href=${to("device", device, {tab: "configuration"})}><${Text} of=${device} mono /></a>; above all other layers.</p>`}
    ${of && html`<p class="facts">Rank <strong>${of.rank}</strong> · <${Text} of=${described(of.target)} words /> · ${count(of.devices, "device")}</p>`}
    ${!ready && html`<p class="quiet" role="status">Reading…</p>`}
    ${ready && !entries.size && html`<${Empty} title="This layer holds nothing yet">
      <p>Its devices have what lower layers say.</p><${Copied} label="Terminal" text=${`hivewire put baud 9600 --layer ${quoted(layer)}`} /><//>`}
    ${entries.size > 0 && html`<div class="row-of"><input type="search" aria-label="Search in this layer" placeholder="Name or value" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></div>
      <${Table} label="Configurations of this layer" head=${["Name", "Value", "Type", "Version"]}>${found.slice(0, MOST).map((each) => html`<tr key=${each.name}>
        <th scope="row"><a href=${toOne(each.name, layer)}><${Text} of=${each.name} mono /></a></th>
        <td>${each.value === null ? html`<span class="quiet">not shown</span>` : html`<${Text} of=${each.value} most=${120} mono />`}</td>
        <td>${kind(each.contentType)}</td><td>${each.version}</td>
      </tr>`)}<//>
      ${found.length > MOST && html`<p class="quiet">${count(MOST)} of ${count(found.length)} are shown: search for the others.</p>`}`}
    ${open.change && html`<${LayerForm} of=${open.change} close=${() => setOpen({})} done=${again} />`}
    ${open.remove && html`<${RemoveLayer} of=${open.remove} close=${() => setOpen({})} />`}
  </article>`;
}
