/** Start a rollout: new values of a layer, for some devices first. */

import {html, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {go, to} from "../lib/router.js";
import {described, labelled, lines, narrowed} from "../lib/targets.js";
import {count, plain, Text} from "../lib/text.js";
import {Button, Field, Problem, tell, useAction, useLoaded, useShown} from "../lib/ui.js";

/** The changes with which the next form begins, to undo a rollout. */
let prepared;

export function prepare(changes, undo) {
  prepared = {changes, undo};
}

const EMPTY = {operation: "put", name: "", value: ""};

/** The numbers of a gate: label, default and meaning. */
const GATE = {
  success: ["Success, in percent", 95, "Of the reached devices that must have applied."],
  failures: ["Failures", 2, "Failed devices that are tolerated in any case."],
  minimum: ["Minimum", 5, "Devices to be reached, or all of the step."],
  wait: ["Wait, in seconds", 60, "The shortest time of a step."],
  limit: ["Limit, in seconds", 86_400, "The longest time of a step."],
  silent: ["Silent, in seconds", 120, "Without an answer for so long a device has failed."],
};

const USUAL = {...Object.fromEntries(Object.entries(GATE).map(([name, [, usual]]) => [name, usual])), onFailure: "hold"};

/** The members of a gate that are filled in; undefined if there are none. */
function filled(gate) {
  const found = Object.entries(gate ?? {}).filter(([, text]) => text !== "").map(([name, text]) => [name, name === "onFailure" ? text : Number(text)]);
  return found.length ? Object.fromEntries(found) : undefined;
}

/** The fields of a gate. An empty one shows its value in `usual`. */
function GateFields({gate = {}, usual, set}) {
  const change = (name) => (text) => set({...gate, [name]: text});
  return html`<div class="filters">
    ${Object.entries(GATE).map(([name, [label, , hint]]) => html`<${Field} type="number" min="0" step="any" label=${label} placeholder=${String(usual[name])} value=${gate[name] ?? ""} onInput=${change(name)} hint=${hint} />`)}
    <${Field} as="select" label="When it fails" value=${gate.onFailure ?? usual.onFailure} onInput=${change("onFailure")}><option value="hold">Hold</option><option value="rollback">Roll back</option><//>
  </div>`;
}

/** The steps in the form: first some devices, then those with labels, then percentages; undefined when the percentages are invalid. */
function stepped(first, labels, percents) {
  const numbers = percents.split(",").map(Number);
  if (numbers.some((each, index) => !(each > (numbers[index - 1] ?? 0) && each <= 100)) || numbers.at(-1) !== 100) return undefined;
  return [...(lines(first).length ? [{deviceIds: lines(first)}] : []), ...lines(labels).map(byLabels), ...numbers.map((percent) => ({percent}))];
}

/** Parse a step by labels: `site=bonn, floor=2`, and perhaps `10 %` of these devices. */
function byLabels(line) {
  const [, text, percent] = /^(.*?)(?:\s+([\d.]+)\s*%)?$/.exec(line);
  return {labels: labelled(text.replaceAll(",", "\n")), percent: percent && Number(percent)};
}

/** The number of devices of a step, from that of the layer. It is approximate for percentages, and not known for a part of all devices. */
async function counted({target, devices}, {percent = 100, labels, deviceIds}) {
  let found = devices;
  if (labels || deviceIds) {
    if (target.percent !== undefined) return undefined;
    const ids = deviceIds && target.deviceIds ? deviceIds.filter((each) => target.deviceIds.includes(each)) : deviceIds ?? target.deviceIds;
    const wanted = {...narrowed(target, labels), deviceIds: ids};
    const nobody = [ids, ...Object.values(wanted.labels ?? {})].some((each) => each?.length === 0);
    found = nobody ? 0 : (await hw.call("fleet/count", {target: wanted})).devices;
  }
  return Math.round((found * percent) / 100);
}

/** The types that the configurations have now, by name: a new value keeps them. */
async function typesOf(layer, changes) {
  const {entries} = await hw.list(changes.map(({name}) => name), {layer, take: changes.length, inline: 0});
  return new Map(entries.map(({name, contentType}) => [name, contentType]));
}

export function NewRollout({layer: chosen}) {
  const [layer, setLayer] = useState(chosen || "global");
  const [begun] = useState(() => {
    const found = prepared ?? {changes: [EMPTY]};
    prepared = undefined;
    return found;
  });
  const [changes, setChanges] = useState(begun.changes);
  const undo = changes === begun.changes && layer === chosen ? begun.undo : undefined; // the values may be secret
  const [first, setFirst] = useState("");
  const [labels, setLabels] = useState("");
  const [percents, setPercents] = useState("1, 10, 100");
  const [gate, setGate] = useState({});
  const [gates, setGates] = useState({}); // those of later steps, by their index
  const [at, setAt] = useState("");
  const layers = useLoaded(async () => (await hw.call("layer/list")).layers, []);
  const present = useLoaded(async () => (await hw.list(undefined, {layer, take: 1_000, inline: 256})).entries, [layer]);
  const known = new Map((present.value ?? []).map((each) => [each.name, each]));
  const steps = stepped(first, labels, percents)?.map((each, index) => ({...each, gate: filled(gates[index])}));
  const ready = steps && (undo || changes.every(({operation, name, value}) => name && (operation === "delete" || value)));

  const ask = async (more) => {
    const types = undo ? new Map() : await typesOf(layer, changes);
    const asked = changes.map(({operation, name, value, contentType}) => operation === "delete" ? {operation, name} : {operation, name, value, contentType: contentType ?? types.get(name)});
    const members = {layer, ...(undo ? {undo} : {changes: asked}), steps, gate: filled(gate), at: at ? Date.parse(at) : undefined};
    return hw.call("rollout/start", {...members, ...more});
  };
  const lead = useShown(go);
  const [start, busy, error] = useAction(async () => {
    const {rollout} = await ask();
    lead(to("rollout", String(rollout)));
    tell(`Rollout ${rollout} is ${at ? "scheduled" : "started"}.`);
  });
  const form = JSON.stringify([layer, changes, steps, gate, at]);
  const [checked, setChecked] = useState({});
  const affects = checked.form === form && checked.affects;
  const [check, checking, wrong] = useAction(async () => setChecked({form, ...(await ask({dryRun: true}))}));
  const set = (index, part) => setChanges(changes.map((each, at) => (at === index ? {...each, ...part} : each)));
  const of = layers.value?.find((each) => each.layer === layer);
  return html`<article class="screen">
    <nav class="path" aria-label="Above"><a href=${to("rollouts")}>Rollouts</a></nav>
    <h1>New rollout</h1>
    <form class="stack narrow-form" onSubmit=${(event) => (event.preventDefault(), ready && start())}>
      ${layers.error && html`<${Problem} error=${layers.error} retry=${layers.again} />`}
      <${Field} as="select" label="Layer" value=${layer} onInput=${setLayer} hint=${of && `${count(of.devices, "device")} ${of.devices === 1 ? "has" : "have"} it.`}>
        ${[...new Set([layer, ...(layers.value ?? []).map((each) => each.layer)])].map((each) => html`<option value=${each}>${plain(each)}</option>`)}
      <//>
      <datalist id="of-layer">${[...known.keys()].map((name) => html`<option value=${name}></option>`)}</datalist>
      ${changes.map((each, index) => html`<fieldset class="panel" key=${index}><legend class="unseen">Change ${index + 1}</legend>
        <${Field} label="Name" list="of-layer" value=${each.name} onInput=${(name) => set(index, {name, contentType: undefined})} />
        <${Field} as="select" label="Change" value=${each.operation} onInput=${(operation) => set(index, {operation})}><option value="put">New value</option><option value="delete">Delete</option><//>
        ${each.operation === "put" && html`<${Field} as="textarea" label="Value" rows="2" class="mono" value=${each.value ?? ""} onInput=${(value) => set(index, {value})} hint=${each.value === undefined ? "As it was before; it is not shown." : undefined} />`}
        ${known.has(each.name) && html`<p class="hint">Now: ${known.get(each.name).value === null ? "not shown" : html`<${Text} of=${known.get(each.name).value} most=${100} mono />`}</p>`}
        ${changes.length > 1 && html`<${Button} kind="small" onClick=${() => setChanges(changes.filter((_, at) => at !== index))}>Leave this one out<//>`}
      </fieldset>`)}
      ${changes.length < 100 && html`<${Button} onClick=${() => setChanges([...changes, EMPTY])}>Another change<//>`}
      <${Field} as="textarea" label="First these devices" rows="2" class="mono" value=${first} onInput=${setFirst} hint="Ids, one on each line: a step of their own." />
      <${Field} as="textarea" label="Then devices with these labels" rows="2" class="mono" value=${labels} onInput=${setLabels} hint="A step on each line: site=bonn, or site=bonn, floor=2, or site=bonn 10 % for a part of them." />
      <${Field} label="Then these percentages" value=${percents} onInput=${setPercents} wrong=${steps ? undefined : "Ascending percentages with commas between them, the last one 100."} hint="Of the layer's devices, a step each." />
      ${steps && of && html`<${Preview} layer=${of} steps=${steps} gates=${[gate, ...steps.slice(1).map((_, index) => gates[index + 1])]} set=${(index, each) => setGates({...gates, [index]: each})} />`}
      <details><summary>Gate and time</summary><div class="stack">
        <${GateFields} gate=${gate} usual=${USUAL} set=${setGate} />
        <${Field} type="datetime-local" label="Start at" value=${at} onInput=${setAt} hint="At once when empty; the time is that of this browser." />
      </div></details>
      ${(error ?? wrong) && html`<${Problem} error=${error ?? wrong} />`}
      <div class="row-of">
        <${Button} kind="primary" type="submit" busy=${busy || !ready}>${busy ? "Starting…" : "Start"}<//>
        <${Button} busy=${checking || !ready} onClick=${() => ready && check()}>Check<//>
        <span role="status">${affects && !wrong && `The gateway would take it: for ${count(affects.devices, "device")}, of which ${count(affects.online)} ${affects.online === 1 ? "follows" : "follow"} ${affects.online === 1 ? "its" : "their"} configuration${affects.hidden ? `; for ${count(affects.hidden)} a higher layer hides all of it` : ""}.`}</span>
      </div>
    </form>
  </article>`;
}

/** Each step with the number of its devices. From the second step on it can change the gate. */
function Preview({layer, steps, gates, set}) {
  const of = JSON.stringify([layer.layer, layer.devices, steps]);
  const found = useLoaded(async () => ({of, numbers: await Promise.all(steps.map((each) => counted(layer, each)))}), [of]).value;
  const numbers = found?.of === of ? found.numbers : []; // not those of other steps
  let usual = USUAL;
  return html`<ol class="cards" aria-label="What these steps are">${steps.map((each, index) => {
    usual = {...usual, ...filled(gates[index - 1])};
    return html`<li class="card" key=${index}>
      <span class="tag">${index + 1}</span><span class="grow"><${Text} of=${described(each)} words /></span>
      <span class="quiet">${numbers[index] !== undefined && `${each.percent === undefined || each.percent === 100 ? "" : "about "}${count(numbers[index], "device")}`}</span>
      ${index > 0 && html`<details class="whole"><summary>${each.gate ? `From here on: ${gated(each.gate)}` : "Another gate from here on"}</summary><${GateFields} gate=${gates[index]} usual=${usual} set=${(gate) => set(index, gate)} /></details>`}</li>`;
  })}</ol>`;
}

/** A gate in one line. */
export function gated(gate) {
  return Object.entries(gate).map(([name, number]) => `${name} ${number}`).join(", ");
}
