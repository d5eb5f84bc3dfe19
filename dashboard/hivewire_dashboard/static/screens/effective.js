/** What a device should have: which layer each value is from, what it hides, and what the device says (fleet.md, 3 and 5). */

import {html, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {toOne} from "../lib/layer.js";
import {to} from "../lib/router.js";
import {count, Text} from "../lib/text.js";
import {Copied, Empty, Problem, usePolled} from "../lib/ui.js";
import {Table} from "./access.js";

/** Nothing tells of reports and labels of one device, so it is asked for. */
const LOOK = 2_000;
const MOST = 200;
const KINDS = {applied: "new", refused: "refused", local: "changed", pending: ""};

export function Effective({id}) {
  const [text, setText] = useState("");
  const {value, error, again} = usePolled(() => hw.call("device/effective", {deviceId: id}), [id], LOOK);
  const low = text.toLowerCase();
  const found = value?.configurations.filter((each) => `${each.name}\n${each.state}`.toLowerCase().includes(low)) ?? [];
  return html`<section class="stack" aria-label="Configuration">
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${value && html`<p class="facts">Its layers, the highest first: ${value.layers.map((layer, index) => html`${index > 0 && ", "}<a href=${to("layer", layer)}><${Text} of=${layer} mono /></a>`)}</p>`}
    ${value?.configurations.length === 0 && html`<${Empty} title="This device should have nothing yet">
      <p>It has what its layers hold.</p><${Copied} label="Terminal" text="hivewire put baud 9600 --layer global" /><//>`}
    ${value?.configurations.length > 0 && html`
      <div class="row-of"><input type="search" aria-label="Only these configurations" placeholder="Name or state" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></div>
      <${Table} label="What it should have" head=${["Name", "Value", "From", "Hides", "State"]}>${found.slice(0, MOST).map((each) => html`<${Row} key=${each.name} ...${each} />`)}<//>
      ${found.length > MOST && html`<p class="quiet">${count(MOST)} of ${count(found.length)} are shown: search for the others.</p>`}`}
  </section>`;
}

function Row({name, value, tag, secret, layer, rollout, hidden = [], state, reported}) {
  const shown = tag === null ? "nothing" : secret ? "secret" : value === null ? "not shown" : undefined;
  return html`<tr>
    <th scope="row">${layer ? html`<a href=${toOne(name, layer)}><${Text} of=${name} mono /></a>` : html`<${Text} of=${name} mono />`}</th>
    <td>${shown ? html`<span class="quiet">${shown}</span>` : html`<${Text} of=${value} most=${200} mono />`}</td>
    <td>${layer ? html`<a href=${to("layer", layer)}><${Text} of=${layer} mono /></a>` : html`<span class="quiet">only the device</span>`}${rollout && html` by <a href=${to("rollout", String(rollout))}>rollout ${rollout}</a>`}</td>
    <td>${hidden.map((each, index) => html`${index > 0 && ", "}<a href=${toOne(name, each)}><${Text} of=${each} mono /></a>`)}</td>
    <td><span class=${`tag ${KINDS[state] ?? ""}`}>${state}</span>
      ${reported?.error && html`<div class="wrong"><${Text} of=${reported.error} /></div>`}
      ${reported?.value !== undefined && html`<div class="quiet">has <${Text} of=${reported.value} most=${200} mono /></div>`}</td>
  </tr>`;
}
