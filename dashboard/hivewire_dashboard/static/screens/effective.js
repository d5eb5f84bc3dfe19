/** The effective configuration of a device: the layer of each value, the values that it hides, and the reports of the device (fleet.md, 3 and 5). */

import {html, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {toOne} from "../lib/layer.js";
import {to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {lines, typeable, UNTYPEABLE} from "../lib/targets.js";
import {count, plain, Text} from "../lib/text.js";
import {Button, Copied, Dialog, Empty, Field, Problem, tell, undoing, useAction, useLoaded, usePolled, useShown} from "../lib/ui.js";
import {Table} from "./access.js";

/** Interval of asking: the reports and labels of a single device are not pushed. */
const LOOK = 2_000;
const MOST = 200;
/** The states and their classes, the worst first. */
const KINDS = {refused: "refused", pending: "", local: "changed", applied: "new"};

export function Effective({id}) {
  const [text, setText] = useState("");
  const {value, error, again} = usePolled(() => hw.call("device/effective", {deviceId: id}), [id], LOOK);
  const low = text.toLowerCase();
  const found = value?.configurations.filter((each) => `${each.name}\n${each.state}`.toLowerCase().includes(low)) ?? [];
  const states = Object.fromEntries(Object.keys(KINDS).map((state) => [state, value?.configurations.filter((each) => each.state === state).length]).filter(([, number]) => number));
  const adopt = may("ManageConfiguration") && ((row) => adopted(id, row).then(again));
  return html`<section class="stack" aria-label="Configuration">
    <${Labels} id=${id} done=${again} />
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${!value && !error && html`<p class="quiet" role="status">Reading…</p>`}
    ${value?.configurations.length > 0 && html`<p>${Object.entries(states).map(([state, number]) => html`<span class=${`tag ${KINDS[state]}`}>${count(number)} ${state}</span> `)}</p>`}
    ${value && html`<p class="facts">Its layers, the highest first: ${value.layers.map((layer, index) => html`${index > 0 && ", "}<a href=${to("layer", layer)}><${Text} of=${layer} mono /></a>`)}</p>`}
    ${value?.configurations.length === 0 && html`<${Empty} title="Nothing to apply">
      <p>Its layers hold no configuration, so this device counts as <em>applied</em>.</p><${Copied} label="Terminal" text="hivewire put baud 9600 --layer global" /><//>`}
    ${value?.configurations.length > 0 && html`
      <div class="row-of"><input type="search" aria-label="Only these configurations" placeholder="Name or state" value=${text} onInput=${(event) => setText(event.currentTarget.value)} /></div>
      <${Table} label="What it should have" head=${["Name", "Value", "From", "Hides", "State"]}>${found.slice(0, MOST).map((each) => html`<${Row} key=${each.name} ...${each} adopt=${adopt} />`)}<//>
      ${found.length > MOST && html`<p class="quiet">${count(MOST)} of ${count(found.length)} are shown: search for the others.</p>`}`}
  </section>`;
}

/** The labels of a device, with which layers and rollouts select it. */
function Labels({id, done}) {
  const {value, error, again} = useLoaded(() => hw.call("device/label", {deviceId: id}), [id]);
  const [open, setOpen] = useState(false);
  const labels = Object.entries(value?.labels ?? {});
  const typed = typeable(Object.fromEntries(labels.map(([name, text]) => [name, [text]])));
  const pairs = labels.map(([name, text]) => `${name}=${text}`);
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  return html`<div class="row-of facts"><span>Labels: ${pairs.map((each, index) => html`${index > 0 && ", "}<a href=${to("fleet", {label: each})}><${Text} of=${each} mono /></a>`)}${value && !pairs.length && "none"}</span>
    ${value && may("ManageConfiguration") && html`<${Button} kind="small" onClick=${() => setOpen(true)}>Change…<//>`}
    ${open && html`<${LabelForm} id=${id} before=${pairs} typed=${typed} revision=${value.revision} close=${() => setOpen(false)} done=${() => (again(), done())} />`}
  </div>`;
}

function LabelForm({id, before, typed, revision, close, done}) {
  const [text, setText] = useState(before.join("\n"));
  const pairs = lines(text).map((each) => [each.split("=", 1)[0], each.slice(each.indexOf("=") + 1)]);
  const whole = lines(text).every((each) => each.indexOf("=") > 0);
  const wrong = !typed ? UNTYPEABLE : whole ? undefined : "A name, = and a text on each line.";
  const shut = useShown(close);
  const [save, busy, error] = useAction(async () => {
    await hw.call("device/label", {deviceId: id, labels: Object.fromEntries(pairs), revision});
    shut();
    done();
    tell(`Saved the labels of ${id}.`);
  });
  return html`<${Dialog} title="Labels of this device" close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" busy=${busy || wrong} onClick=${() => !wrong && save()}>Save<//>`}>
    <div class="stack"><${Field} as="textarea" label="Labels" rows="4" class="mono" autofocus value=${text} onInput=${setText} disabled=${!typed} wrong=${wrong} hint="One on each line: site=bonn. Layers and rollouts choose devices by them." />
      ${error && html`<${Problem} error=${error} />`}</div>
  <//>`;
}

/** Write the value that a device has into its own layer, so that it is also the one that it should have. */
async function adopted(id, {name, layer, entityVersion, reported}) {
  const own = `device/${id}`;
  const expect = layer === own ? entityVersion : 0;
  const saved = await hw.put(name, reported.value, {layer: own, expect, description: "adopted from the device"});
  const undo = async () => {
    const options = {layer: own, expect: saved.version, description: "undo"};
    await (expect ? hw.rollback(name, {to: expect, ...options}) : hw.delete(name, options));
    return "It is as it was.";
  };
  tell(`${name} of ${id} should be what it is.`, undoing(undo, toOne(name, own, {tab: "history"})));
}

function Row({adopt, ...row}) {
  const {name, value, tag, secret, layer, rollout, hidden = [], state, reported} = row;
  const [take, busy, error] = useAction(() => adopt(row));
  const shown = tag === null ? "nothing" : secret ? "secret" : value === null ? "not shown" : undefined;
  return html`<tr>
    <th scope="row">${layer ? html`<a href=${toOne(name, layer)}><${Text} of=${name} mono /></a>` : html`<${Text} of=${name} mono />`}</th>
    <td>${shown ? html`<span class="quiet">${shown}</span>` : html`<${Text} of=${value} most=${200} mono />`}</td>
    <td>${layer ? html`<a href=${to("layer", layer)}><${Text} of=${layer} mono /></a>` : html`<span class="quiet">only the device</span>`}${rollout && html` by <a href=${to("rollout", String(rollout))}>rollout ${rollout}</a>`}</td>
    <td>${hidden.map((each, index) => html`${index > 0 && ", "}<a href=${toOne(name, each)}><${Text} of=${each} mono /></a>`)}</td>
    <td><span class=${`tag ${KINDS[state] ?? ""}`}>${state}</span>
      ${reported?.error && html`<div class="wrong"><${Text} of=${reported.error} /></div>`}
      ${reported?.value !== undefined && html`<div class="quiet">has <${Text} of=${reported.value} most=${200} mono /></div>
        ${adopt && state === "local" && html`<${Button} kind="small" busy=${busy} onClick=${take} aria-label=${`Adopt ${plain(name)}`} title="Make it what the device should have">Adopt<//>`}`}
      ${error && html`<${Problem} error=${error} />`}</td>
  </tr>`;
}
