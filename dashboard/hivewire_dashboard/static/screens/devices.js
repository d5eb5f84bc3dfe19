/** Devices: which are online, their networks and types; and the lists of networks and types. */

import {html, useMemo, useState} from "../vendor/preact.js";
import {called, devices, networks, types} from "../lib/fleet.js";
import {hw} from "../lib/gateway.js";
import {Grid} from "../lib/grid.js";
import {parse} from "../lib/json.js";
import {toTable} from "../lib/keys.js";
import {go, refine, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, Text, When} from "../lib/text.js";
import {Button, Copied, Dialog, Empty, Field, Problem, Tabs, tell, useAction, useShown} from "../lib/ui.js";
import {Table} from "./access.js";

const COLUMNS = [
  {label: "Device", class: "name"},
  {label: "Presence", class: "presence"},
  {label: "Last seen", class: "when"},
  {label: "Network", class: "network"},
  {label: "Type", class: "kind"},
];
const table = {};

export default function Devices({query}) {
  const tab = query.get("of") ?? "devices";
  networks.use();
  types.use();
  return html`<section class="fill" aria-labelledby="devices">
    <div class="heading">
      <h1 id="devices">Devices</h1>
      <${Tabs} label="What to show" chosen=${tab} tabs=${[
        ["devices", "Devices", to("devices")],
        ["networks", "Networks", to("devices", {of: "networks"})],
        ["types", "Types", to("devices", {of: "types"})],
      ]} />
    </div>
    ${tab === "networks"
      ? html`<${Groupings} what="network" noun="network" followed=${networks} member="networkId" />`
      : tab === "types"
        ? html`<${Groupings} what="device type" noun="devicetype" followed=${types} member="deviceTypeId" />`
        : html`<${All} query=${query} />`}
  </section>`;
}

function All({query}) {
  const version = devices.use();
  const [text, network, type, presence] = ["q", "network", "type", "presence"].map((key) => query.get(key) ?? "");
  const [adding, setAdding] = useState(false);
  const found = useMemo(() => {
    const low = text.toLowerCase();
    return devices.sorted.filter((each) =>
      (!low || each.name.toLowerCase().includes(low) || each.id.toLowerCase().includes(low)) &&
      (!network || String(each.networkId) === network) && (!type || String(each.deviceTypeId) === type) &&
      (!presence || each.online === (presence === "online")));
  }, [version, text, network, type, presence]);
  const online = useMemo(() => devices.sorted.filter((each) => each.online).length, [version]);
  const choice = (label, key, value, options) => html`<select aria-label=${label} value=${value} onChange=${(event) => refine({[key]: event.currentTarget.value || undefined})}>
    ${options.map(([id, name]) => html`<option value=${id}>${plain(name)}</option>`)}</select>`;
  if (devices.error.value) return html`<${Problem} error=${devices.error.value} />`;
  return html`
    <form class="search" role="search" onSubmit=${toTable}>
      <input type="search" aria-label="Search devices" placeholder="Name or id   ( / )" value=${text} onInput=${(event) => refine({q: event.currentTarget.value || undefined})} />
      ${choice("Network", "network", network, [["", "All networks"], ...networks.sorted.map(({id, name}) => [id, name])])}
      ${choice("Device type", "type", type, [["", "All types"], ...types.sorted.map(({id, name}) => [id, name])])}
      ${choice("Presence", "presence", presence, [["", "Online or not"], ["online", "Online"], ["offline", "Offline"]])}
      ${may("RegisterDevice") && html`<${Button} kind="primary" onClick=${() => setAdding(true)}>New<//>`}
    </form>
    <p class="summary">${devices.ready.value ? `${count(found.length, "device")}, ${count(online)} of ${count(devices.items.size)} online.` : "Reading."}</p>
    ${devices.ready.value && !found.length
      ? html`<${Empty} title=${devices.items.size ? "No device matches" : "There are no devices yet"}>
          ${!devices.items.size && html`<p>A device registers itself, or is made${may("RegisterDevice") && html` here with <strong>New</strong>, or`} from a terminal:</p>
          <${Copied} label="Terminal" text="hivewire device put door-1 --name 'Front door'" />`}
        <//>`
      : html`<${Grid} label="Devices" columns=${COLUMNS} count=${found.length} at=${(index) => found[index].id} state=${table} narrow="devices"
          find=${(id) => found.findIndex((each) => each.id === id)} row=${cells} to=${(id) => to("device", id)} />`}
    ${adding && html`<${DeviceForm} close=${() => setAdding(false)} />`}`;
}

function cells(id) {
  const {name, online, lastSeen, networkId, deviceTypeId, isBlocked} = devices.items.get(id) ?? {};
  return {
    cells: [
      html`<${Text} of=${name} /> <span class="quiet"><${Text} of=${id} mono /></span>`,
      html`<${Presence} online=${online} blocked=${isBlocked} />`,
      html`<${When} time=${lastSeen} />`,
      html`<${Text} of=${called(networks, networkId)} />`,
      html`<${Text} of=${called(types, deviceTypeId)} />`,
    ],
  };
}

/** Whether a device is online, in words and in colour. */
export function Presence({online, blocked}) {
  const text = blocked ? "blocked" : online ? "online" : "offline";
  return html`<span class=${`tag ${blocked ? "refused" : text}`}>${text}</span>`;
}

/** A form for a new device, or for the name, network, type and data of one. */
export function DeviceForm({device, close}) {
  const [id, setId] = useState(device?.id ?? "");
  const [name, setName] = useState(device?.name ?? "");
  const [network, setNetwork] = useState(String(device?.networkId ?? networks.sorted[0]?.id ?? ""));
  const [type, setType] = useState(String(device?.deviceTypeId ?? types.sorted[0]?.id ?? ""));
  const [data, setData] = useState(device ? JSON.stringify(device.data, null, 2) : "{}");
  const [blocked, setBlocked] = useState(device?.isBlocked ?? false);
  const wrong = problem(data);
  const finish = useShown(() => (close(), device || go(to("device", id))));
  const [save, busy, error] = useAction(async () => {
    const fields = {name, data: parse(data || "null"), isBlocked: blocked};
    if (network) fields.networkId = Number(network);
    if (type) fields.deviceTypeId = Number(type);
    await hw.call("device/save", {deviceId: id, device: fields});
    finish();
    tell(`Saved ${name}.`);
  });
  const taken = !device && !busy && devices.items.has(id);
  const ready = id && name && !wrong && !taken;
  return html`<${Dialog} title=${device ? "Change this device" : "New device"} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" type="submit" form="device" busy=${busy || !ready}>Save<//>`}>
    <form id="device" class="stack" onSubmit=${(event) => (event.preventDefault(), ready && save())}>
      ${!device && html`<${Field} label="Id" value=${id} onInput=${setId} wrong=${taken && "There is a device with this id already."} hint="Letters, digits and hyphens. It cannot be changed later." autofocus />`}
      <${Field} label="Name" value=${name} onInput=${setName} />
      <${Field} as="select" label="Network" value=${network} onInput=${setNetwork}>${networks.sorted.map((each) => html`<option value=${each.id}>${plain(each.name)}</option>`)}<//>
      <${Field} as="select" label="Type" value=${type} onInput=${setType}>${types.sorted.map((each) => html`<option value=${each.id}>${plain(each.name)}</option>`)}<//>
      <${Field} as="textarea" label="Data, as JSON" value=${data} onInput=${setData} wrong=${wrong} rows="4" class="mono" />
      <label class="check"><input type="checkbox" checked=${blocked} onChange=${() => setBlocked(!blocked)} /> Blocked</label>
      ${error && html`<${Problem} error=${error} />`}
    </form>
  <//>`;
}

/** The error in a text that should be JSON; undefined if it is valid or empty. */
export function problem(text) {
  try {
    if (text) JSON.parse(text);
    return undefined;
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}

/** Networks, or device types, which are managed in the same way. */
function Groupings({what, noun, followed, member}) {
  devices.use();
  const [open, setOpen] = useState();
  const change = may(member === "networkId" ? "ManageNetwork" : "ManageDeviceType");
  const numbers = new Map();
  for (const each of devices.sorted) numbers.set(each[member], (numbers.get(each[member]) ?? 0) + 1);
  const number = (id) => numbers.get(id) ?? 0;
  const query = member === "networkId" ? "network" : "type";
  if (followed.error.value) return html`<${Problem} error=${followed.error.value} />`;
  return html`<div class="padded stack">
    ${change && html`<div class="row-of"><${Button} kind="primary" onClick=${() => setOpen({})}>New ${what}<//></div>`}
    ${followed.ready.value && !followed.sorted.length && html`<${Empty} title=${`There are no ${what}s`}><p>Each device belongs to one.</p>
      <${Copied} label="Terminal" text=${`hivewire ${query} add first`} /><//>`}
    ${followed.sorted.length > 0 && html`<${Table} label=${`All ${what}s`} head=${["Name", "Description", "Devices", html`<span class="unseen">Actions</span>`]}>
      ${followed.sorted.map((each) => html`<tr key=${each.id}>
        <th scope="row"><${Text} of=${each.name} /></th>
        <td><${Text} of=${each.description ?? ""} /></td>
        <td><a href=${to("devices", {[query]: String(each.id)})}>${count(number(each.id), "device")}</a></td>
        <td>${change && html`<${Button} kind="small" onClick=${() => setOpen(each)}>Change<//> <${Button} kind="small danger" onClick=${() => setOpen({...each, removing: true})}>Delete…<//>`}</td>
      </tr>`)}<//>`}
    ${open && (open.removing
      ? html`<${RemoveGrouping} what=${what} noun=${noun} member=${member} grouping=${open} devices=${number(open.id)} close=${() => setOpen()} />`
      : html`<${GroupingForm} what=${what} noun=${noun} member=${member} grouping=${open} close=${() => setOpen()} />`)}
  </div>`;
}

function GroupingForm({what, noun, member, grouping, close}) {
  const [name, setName] = useState(grouping.name ?? "");
  const [description, setDescription] = useState(grouping.description ?? "");
  const body = noun === "network" ? "network" : "deviceType";
  const shut = useShown(close);
  const [save, busy, error] = useAction(async () => {
    const fields = {[body]: {name, description}};
    if (grouping.id) await hw.call(`${noun}/update`, {[member]: grouping.id, ...fields});
    else await hw.call(`${noun}/insert`, fields);
    shut();
    tell(`Saved ${name}.`);
  });
  return html`<${Dialog} title=${grouping.id ? `Change this ${what}` : `New ${what}`} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" type="submit" form="grouping" busy=${busy || !name}>Save<//>`}>
    <form id="grouping" class="stack" onSubmit=${(event) => (event.preventDefault(), name && save())}>
      <${Field} label="Name" value=${name} onInput=${setName} autofocus />
      <${Field} label="Description" value=${description} onInput=${setDescription} />
      ${error && html`<${Problem} error=${error} />`}
    </form>
  <//>`;
}

function RemoveGrouping({what, noun, member, grouping, devices: number, close}) {
  const shut = useShown(close);
  const [remove, busy, error] = useAction(async () => {
    await hw.call(`${noun}/delete`, {[member]: grouping.id, force: number > 0});
    shut();
    tell(`Deleted ${grouping.name}.`);
  });
  return html`<${Dialog} title=${`Delete this ${what}?`} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="danger" busy=${busy} onClick=${remove}>${number ? `Delete it with ${count(number, "device")}` : "Delete"}<//>`}>
    <div class="stack">
      <p><strong><${Text} of=${grouping.name} /></strong>${number ? html` has ${count(number, "device")}. They are deleted with it, and their commands and notifications.` : " has no devices."}</p>
      ${error && html`<${Problem} error=${error} />`}
    </div>
  <//>`;
}
