/** One user: login, role, status, password; its networks and device types; its tokens. */

import {html, useState} from "../vendor/preact.js";
import {hw, me} from "../lib/gateway.js";
import {plain, Text, When} from "../lib/text.js";
import {Button, Dialog, Field, Problem, tell, useAction, useLoaded, useShown} from "../lib/ui.js";
import {ROLES, STATUSES, Sure} from "./access.js";

/** `done` is called when it was changed. */
export function User({id, close, done}) {
  const {value, error, again} = useLoaded(async () => (id === undefined ? {} : (await hw.call("user/get", {userId: id})).user), [id]);
  return html`<${Dialog} wide title=${id === undefined ? "New user" : value ? plain(value.login) : "User"} close=${close}>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value && html`<${Form} user=${value} close=${close} done=${done} />`}
    ${value?.id !== undefined && html`<div class="stack"><hr />
      <${Memberships} user=${value} again=${again} /><hr /><${Ends} user=${value} close=${close} done=${done} /></div>`}
  <//>`;
}

function Form({user, close, done}) {
  const fresh = user.id === undefined;
  const [before] = useState(user); // as the fields began: what others change meanwhile stays
  const [login, setLogin] = useState(user.login ?? "");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState(String(user.role ?? 1));
  const [status, setStatus] = useState(String(user.status ?? 0));
  const shut = useShown(close);
  const [save, busy, error] = useAction(async () => {
    const fields = {login, role: Number(role), status: Number(status), ...(password && {password})};
    const changed = Object.fromEntries(Object.entries(fields).filter(([key, value]) => before[key] !== value));
    if (fresh) await hw.call("user/insert", {user: fields});
    else if (Object.keys(changed).length) await hw.call("user/update", {userId: user.id, user: changed});
    shut();
    done();
    tell(`Saved ${login}.`);
  });
  const ready = login && (!fresh || password);
  return html`<form class="stack" onSubmit=${(event) => (event.preventDefault(), ready && save())}>
    <div class="filters">
      <${Field} label="Login" value=${login} onInput=${setLogin} autofocus=${fresh} autocomplete="off" />
      <${Field} label=${fresh ? "Password" : "New password"} type="password" value=${password} onInput=${setPassword} autocomplete="new-password" hint=${`6 to 128 characters.${fresh ? "" : " A new password ends all logins and tokens of this user."}`} />
      <${Field} as="select" label="Role" value=${role} onInput=${setRole} hint="An administrator reaches everything; a client its own networks and device types.">${ROLES.map((each, index) => html`<option value=${String(index)}>${each}</option>`)}<//>
      <${Field} as="select" label="Status" value=${status} onInput=${setStatus}>${STATUSES.map((each, index) => html`<option value=${String(index)}>${each}</option>`)}<//>
    </div>
    ${!fresh && html`<p class="quiet">Number ${user.id}, last login or renewal of a token <${When} time=${user.lastLogin} /></p>`}
    ${error && html`<${Problem} error=${error} />`}
    <div class="row-of"><${Button} kind="primary" type="submit" busy=${busy || !ready}>Save<//></div>
  </form>`;
}

/** The networks and device types that a client reaches. Administrators reach all. */
function Memberships({user, again}) {
  const {value, error} = useLoaded(async () => {
    const [{networks}, {deviceTypes}, {deviceTypes: own}] = await Promise.all([
      hw.call("network/list", {take: 500, sortField: "name"}),
      hw.call("devicetype/list", {take: 500, sortField: "name"}),
      hw.call("user/getDeviceTypes", {userId: user.id}),
    ]);
    return {networks, deviceTypes, own: new Set(own.map((each) => each.id))};
  }, [user]);
  const [change, busy, refused] = useAction(async (action, members) => {
    await hw.call(`user/${action}`, {userId: user.id, ...members});
    again();
  });
  if (user.role === 0) return html`<p class="quiet">Administrators reach all networks and device types.</p>`;
  if (error) return html`<${Problem} error=${error} />`;
  if (!value) return null;
  const member = new Set(user.networks.map((each) => each.id));
  const box = (label, checked, toggle, disabled) => html`<label class="check"><input type="checkbox" checked=${checked} disabled=${disabled} aria-disabled=${busy ? "true" : undefined} onChange=${toggle} /><${Text} of=${label} /></label>`;
  return html`<div class="two">
    <fieldset><legend>Networks</legend>
      ${value.networks.map(({id, name}) => box(name, member.has(id), () => change(member.has(id) ? "unassignNetwork" : "assignNetwork", {networkId: id})))}
    </fieldset>
    <fieldset><legend>Device types</legend>
      ${box("All, later ones too", user.allDeviceTypesAvailable, () => change(user.allDeviceTypesAvailable ? "disallowAllDeviceTypes" : "allowAllDeviceTypes", {}))}
      ${value.deviceTypes.map(({id, name}) => box(name, value.own.has(id), () => change(value.own.has(id) ? "unassignDeviceType" : "assignDeviceType", {deviceTypeId: id}), user.allDeviceTypesAvailable))}
    </fieldset>
    ${refused && html`<${Problem} error=${refused} />`}
  </div>`;
}

/** The actions that delete or revoke something of the user. */
function Ends({user, close, done}) {
  const [open, setOpen] = useState();
  const shut = useShown(close);
  const own = user.id === me.value?.id;
  return html`<div class="row-of">
    <${Button} onClick=${() => setOpen("tokens")}>End all logins and tokens…<//>
    ${!own && html`<${Button} kind="danger" onClick=${() => setOpen("user")}>Delete this user…<//>`}
    ${open === "tokens" && html`<${Sure} title="End all logins and tokens?" word="End them" close=${() => setOpen()}
      run=${async () => (await hw.call("token/revoke", {userId: user.id}), tell("Ended."))}>
      <p>All that <${Text} of=${user.login} /> has, on open connections too.${own && " You will have to log in again."}</p><//>`}
    ${open === "user" && html`<${Sure} title="Delete this user?" word="Delete" close=${() => setOpen()}
      run=${async () => (await hw.call("user/delete", {userId: user.id}), shut(), done(), tell(`Deleted ${user.login}.`))}>
      <p><${Text} of=${user.login} /> cannot log in any more, and all tokens end.</p><//>`}
  </div>`;
}
