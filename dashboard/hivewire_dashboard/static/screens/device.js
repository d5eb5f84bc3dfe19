/** One device: its data, its effective configuration, its commands and notifications, and a form to send a command. */

import {html, useEffect, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {Reader} from "../lib/editor.js";
import {called, networks, types, useDevice} from "../lib/fleet.js";
import {http, hw} from "../lib/gateway.js";
import {parse} from "../lib/json.js";
import {useKeys} from "../lib/keys.js";
import {go, to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, plain, quoted, Text, When} from "../lib/text.js";
import {announce, Button, Copied, Dialog, Empty, Field, Problem, Tabs, tell, useAction, useLoaded, useShown} from "../lib/ui.js";
import {Effective} from "./effective.js";
import {DeviceForm, Presence, problem} from "./devices.js";

/** Most messages that are shown. */
const MOST = 200;
/** Interval of asking for commands: a subscription to them would make the device look online. */
const LOOK = 5_000;

/** What the gateway has at a path below that of a device. Its numbers keep their form, which those of a frame may have lost. */
async function exact(id, path = "") {
  return parse(await (await http(`api/rest/device/${encodeURIComponent(id)}${path}`)).text());
}

export default function Device({rest: [id], query}) {
  const followed = useDevice(id);
  networks.use();
  types.use();
  const [open, setOpen] = useState();
  const [change, reading, unread] = useAction(async () => setOpen({change: {...device, data: (await exact(id)).data}}));
  const device = followed.items.get(id);
  const tab = query.get("tab") ?? "commands";
  if (followed.error.value) return html`<${Problem} error=${followed.error.value} />`;
  if (!followed.ready.value) return html`<p class="quiet" role="status">Reading…</p>`;
  if (!device) return html`<${Empty} title="There is no such device"><p>It was deleted, or you do not reach it. <a href=${to("devices")}>All devices</a></p><//>`;
  return html`<article class="screen">
    <nav class="path" aria-label="Above"><a href=${to("devices")}>Devices</a><span aria-hidden="true">›</span>
      <a href=${to("devices", {network: String(device.networkId)})}><${Text} of=${called(networks, device.networkId)} /></a></nav>
    <header class="title">
      <h1><${Text} of=${device.name} /> <${Presence} online=${device.online} blocked=${device.isBlocked} /></h1>
      ${may("RegisterDevice") && html`<div class="row-of">
        <${Button} busy=${reading} onClick=${change}>Change<//>
        <${Button} kind="danger" onClick=${() => setOpen("remove")}>Delete…<//>
      </div>`}
    </header>
    ${unread && html`<${Problem} error=${unread} />`}
    <p class="facts"><${Text} of=${device.id} mono /> · type <${Text} of=${called(types, device.deviceTypeId)} /> · last seen <${When} time=${device.lastSeen} /></p>
    <${Tabs} label="About this device" chosen=${tab} tabs=${[
      ["commands", "Commands", to("device", id)],
      ["notifications", "Notifications", to("device", id, {tab: "notifications"})],
      ...(may("GetConfiguration") ? [["configuration", "Configuration", to("device", id, {tab: "configuration"})]] : []),
      ["data", "Data", to("device", id, {tab: "data"})],
      ["lines", "For programs", to("device", id, {tab: "lines"})],
    ]} />
    ${tab === "notifications"
      ? html`<${Notifications} id=${id} />`
      : tab === "configuration" && may("GetConfiguration")
        ? html`<${Effective} id=${id} />`
      : tab === "data"
        ? html`<${Data} device=${device} />`
        : tab === "lines"
          ? html`<${Lines} id=${id} />`
          : html`<${Commands} id=${id} />`}
    ${open?.change && html`<${DeviceForm} device=${open.change} close=${() => setOpen()} />`}
    ${open === "remove" && html`<${Remove} device=${device} close=${() => setOpen()} />`}
  </article>`;
}

function Data({device}) {
  const {value, error, again} = useLoaded(() => exact(device.id), [device.id, device.data]);
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  return value && html`<${Reader} value=${JSON.stringify(value.data, null, 2)} label="Data" json />`;
}

/** Messages by id, newest first; `take` adds some. */
function useMessages(load, on) {
  const [found, setFound] = useState(new Map());
  const take = (list) => setFound((before) => {
    const all = new Map(before);
    for (const each of list) all.set(each.id, {...all.get(each.id), ...each});
    return new Map([...all].sort(([, a], [, b]) => (a.timestamp < b.timestamp ? 1 : -1)).slice(0, MOST));
  });
  const {error, again, loading} = useLoaded(async () => take(await load()), on);
  return {messages: [...found.values()], take, error, again, waiting: loading && !found.size};
}

function Commands({id}) {
  const {messages, take, error, again, waiting} = useMessages(async () => (await hw.call("command/list", {deviceId: id, take: MOST})).commands, [id]);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && again(), LOOK);
    return () => clearInterval(timer);
  }, [again]);
  useEffect(() => hw.follow("command/subscribe", {deviceId: id, returnUpdatedCommands: true, resumable: true}, ({frames}) => {
    const updated = frames.map(({command}) => command).filter(Boolean);
    take(updated);
    for (const {command, status} of updated) announce(`${plain(command)}: ${plain(status ?? "updated")}`);
  }, () => {}), [id]);
  const sent = [...new Set(messages.map(({command}) => command))].filter(Boolean);
  const send = may("CreateDeviceCommand");
  return html`<div class=${send ? "aside" : ""}>
    ${send && html`<${Send} id=${id} names=${sent} messages=${messages} take=${take} />`}
    <section aria-label="Commands that were sent" class="stack">
      ${error && html`<${Problem} error=${error} retry=${again} />`}
      ${!waiting && !error && !messages.length && html`<${Empty} title="No commands"><p>${send && "Send the first one."} Those that were sent stay here until they expire.</p>
        ${send && html`<${Copied} label="Terminal: send one, and wait for the answer" text=${sending(id)} />`}<//>`}
      ${messages.length > 0 && html`<ol class="cards" aria-label="Commands">${messages.map((each) => html`<${Command} key=${each.id} command=${each} />`)}</ol>`}
    </section>
  </div>`;
}

function Command({command: {command, parameters, status, result, timestamp}}) {
  return html`<li class="card message">
    <span class="grow"><strong><${Text} of=${command} mono /></strong> <${Json} value=${parameters} /></span>
    <span class=${`tag ${status ? "new" : ""}`}>${status ? html`<${Text} of=${status} />` : "no answer yet"}</span>
    <span class="quiet"><${When} time=${timestamp} /></span>
    ${result !== null && result !== undefined && html`<div class="result">answered <${Json} value=${result} /></div>`}
  </li>`;
}

/** A value in one line; long ones are cut. */
function Json({value}) {
  if (value === null || value === undefined) return null;
  return html`<${Text} of=${JSON.stringify(value)} most=${500} mono />`;
}

/** Send a command, perhaps a copy of an earlier one. */
function Send({id, names, messages, take}) {
  const [command, setCommand] = useState("");
  const [parameters, setParameters] = useState("");
  const [expires, setExpires] = useState("");
  const [last, setLast] = useState();
  const sent = messages.find((each) => each.id === last);
  const wrong = problem(parameters);
  const key = useRef();
  useLayoutEffect(() => {
    key.current = crypto.getRandomValues(new Uint32Array(4)).join("-"); // for the same command again when the answer was lost
  }, [command, parameters, expires, last]);
  const [send, busy, error] = useAction(async () => {
    const fields = {command, parameters: parameters ? parse(parameters) : undefined};
    const members = {deviceId: id, command: fields, expiresIn: expires ? Number(expires) : undefined, idempotencyKey: key.current};
    const made = (await hw.call("command/insert", members, {repeat: true})).command;
    take([{...fields, status: null, result: null, ...made}]);
    setLast(made.id);
    tell(`Sent ${command}.`);
  });
  const ready = command && !wrong;
  const form = useRef();
  useKeys({c: () => form.current.elements.command.focus()});
  const [repeat, , unread] = useAction(async (number) => {
    const found = await exact(id, `/command/${number}`);
    setCommand(found.command);
    setParameters(found.parameters === null || found.parameters === undefined ? "" : JSON.stringify(found.parameters, null, 2));
  });
  return html`<form ref=${form} class="stack panel" aria-label="Send a command" onSubmit=${(event) => (event.preventDefault(), ready && send())}>
    <h2>Send a command</h2>
    ${messages.length > 0 && html`<${Field} as="select" label="Like an earlier one" value="" onChange=${(event) => event.currentTarget.value && repeat(event.currentTarget.value)}>
      <option value="">–</option>
      ${messages.slice(0, 20).map((each) => html`<option value=${String(each.id)}>${plain(each.command)} ${plain(JSON.stringify(each.parameters ?? null)).slice(0, 60)}</option>`)}
    <//>`}
    <${Field} label="Command" name="command" value=${command} onInput=${setCommand} list="sent" />
    <datalist id="sent">${names.map((name) => html`<option value=${name}></option>`)}</datalist>
    <${Field} as="textarea" label="Parameters, as JSON" value=${parameters} onInput=${setParameters} wrong=${wrong} rows="3" class="mono" />
    <${Field} label="Expires after" type="number" min="1" value=${expires} onInput=${setExpires} hint="Seconds. When empty, commands_retention: a day unless set." />
    ${(error ?? unread) && html`<${Problem} error=${error ?? unread} />`}
    <${Button} kind="primary" type="submit" busy=${busy || !ready}>${busy ? "Sending…" : "Send"}<//>
    ${sent && html`<ul class="cards" aria-label="What was sent, and the answer"><${Command} command=${sent} /></ul>`}
  </form>`;
}

function Notifications({id}) {
  const [name, setName] = useState("");
  const {messages, take, error, again, waiting} = useMessages(async () => (await hw.call("notification/list", {deviceId: id, take: MOST})).notifications, [id]);
  useEffect(() => hw.follow("notification/subscribe", {deviceId: id, resumable: true}, ({frames}) => {
    take(frames.map(({notification}) => notification).filter(Boolean));
  }, () => {}), [id]);
  const shown = messages.filter(({notification}) => !name || notification.includes(name));
  return html`<section class="stack" aria-label="Notifications">
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${messages.length > 0 && html`<div class="row-of"><input type="search" aria-label="Only these notifications" placeholder="Name" value=${name} onInput=${(event) => setName(event.currentTarget.value)} /></div>`}
    ${!waiting && !error && !messages.length && html`<${Empty} title="No notifications"><p>What the device says appears here as it comes. It is kept for a while (<code>notifications_retention</code>).</p>
      ${may("CreateDeviceNotification") && html`<${Copied} label="Terminal: say something for it" text=${`hivewire notification send ${quoted(id)} temperature '{"celsius": 21.5}'`} />`}<//>`}
    ${shown.length > 0 && html`<ol class="cards" aria-label="Notifications">${shown.map((each) => html`<li class="card" key=${each.id}>
      <span class="grow"><strong><${Text} of=${each.notification} mono /></strong> <${Json} value=${each.parameters} /></span>
      <span class="quiet"><${When} time=${each.timestamp} /></span>
    </li>`)}</ol>`}
    ${messages.length === MOST && html`<p class="quiet">The newest ${count(MOST)} are shown.</p>`}
  </section>`;
}

const sending = (id) => `hivewire command send ${quoted(id)} on '{"level": 3}' --wait`;

function Lines({id}) {
  return html`<div class="stack lines">
    <${Copied} label="Terminal: send a command, and wait for the answer" text=${sending(id)} />
    <${Copied} label="Terminal: follow what it says" text=${`hivewire notification watch ${quoted(id)}`} />
    <${Copied} label="A frame on the WebSocket" text=${JSON.stringify({action: "command/insert", requestId: 1, deviceId: id, command: {command: "on"}})} />
  </div>`;
}

function Remove({device, close}) {
  const leave = useShown(() => (close(), go(to("devices"))));
  const [remove, busy, error] = useAction(async () => {
    await hw.call("device/delete", {deviceId: device.id});
    leave();
    tell(`Deleted ${device.name}.`);
  });
  return html`<${Dialog} title="Delete this device?" close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="danger" busy=${busy} onClick=${remove}>Delete<//>`}>
    <div class="stack"><p><strong><${Text} of=${device.name} /></strong>: its commands and notifications are deleted with it.</p>${error && html`<${Problem} error=${error} />`}</div>
  <//>`;
}

