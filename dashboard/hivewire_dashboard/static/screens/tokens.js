/** Tokens for programs: create one with rights, names and a lifetime, show it once, and revoke tokens. */

import {html, useState} from "../vendor/preact.js";
import {hw, me} from "../lib/gateway.js";
import {may, user as own} from "../lib/session.js";
import {moment, plain} from "../lib/text.js";
import {Button, Copied, Dialog, Field, Problem, tell, useAction, useLoaded, useShown} from "../lib/ui.js";

/** The rights that programs usually need, and all rights. */
const RIGHTS = {
  Configurations: ["GetConfiguration", "ManageConfiguration"],
  Devices: ["GetDevice", "RegisterDevice", "GetDeviceCommand", "CreateDeviceCommand", "UpdateDeviceCommand", "GetDeviceNotification", "CreateDeviceNotification"],
  Fleet: ["GetNetwork", "ManageNetwork", "GetDeviceType", "ManageDeviceType"],
  People: ["GetCurrentUser", "UpdateCurrentUser", "ManageUser", "ManageToken"],
};
const SPANS = [["3600", "an hour"], ["86400", "a day"], ["2592000", "30 days"], ["31536000", "a year"]];

export function Tokens() {
  const [made, setMade] = useState();
  return html`<section class="stack" aria-label="Tokens">
    <p class="quiet">A token is for one program: give it as little as it needs. It cannot do more than you, and is not stored anywhere.</p>
    <${Mint} made=${setMade} />
    <hr />
    <${Revoke} />
    ${made && html`<${Dialog} title="Copy the token now" close=${() => setMade()} actions=${html`<${Button} kind="primary" onClick=${() => setMade()}>Done<//>`}>
      <div class="stack"><p>It is shown only here, and good until ${moment(made.until)}. Its id ends it: keep that.</p>
        <${Copied} label="Access token" text=${made.accessToken} />
        <${Copied} label="Id, to end it" text=${made.id} /></div>
    <//>`}
  </section>`;
}

function Mint({made}) {
  const users = useLoaded(async () => may("ManageUser") && (await hw.call("user/list", {take: 500, sortField: "login"})).users, []);
  const [user, setUser] = useState("");
  const [rights, setRights] = useState(new Set(["GetConfiguration"].filter(may)));
  const [names, setNames] = useState("");
  const [span, setSpan] = useState(SPANS[2][0]);
  const show = useShown((found) => (made(found), true));
  const [mint, busy, error] = useAction(async () => {
    const {info} = await hw.call("server/info"); // the clock of this machine may be wrong
    const until = Date.parse(`${info.serverTimestamp}Z`) + Number(span) * 1_000;
    const patterns = names.split("\n").map((line) => line.trim()).filter(Boolean);
    const payload = {
      userId: Number(user || own()), actions: [...rights], networkIds: ["*"], deviceTypeIds: ["*"],
      expiration: until, refreshExpiration: until, ...(patterns.length && {configurations: patterns}),
    };
    const {accessToken} = await hw.call("token/create", {payload});
    const id = idOf(accessToken);
    if (!show({accessToken, until, id})) tell(`A token that was not shown is good until ${moment(until)}. Its id, to end it: ${id}`, undefined, {wrong: true});
  });
  const flip = (right) => {
    const next = new Set(rights);
    if (!next.delete(right)) next.add(right);
    setRights(next);
  };
  return html`<form class="stack" aria-labelledby="mint" onSubmit=${(event) => (event.preventDefault(), mint())}>
    <h2 id="mint">New token</h2>
    <div class="filters">
      <${Field} as="select" label="Of the user" value=${user} onInput=${setUser}>
        <option value="">you</option>
        ${(users.value || []).filter(({id}) => id !== me.value?.id).map(({id, login}) => html`<option value=${String(id)}>${plain(login)}</option>`)}
      <//>
      <${Field} as="select" label="Good for" value=${span} onInput=${setSpan}>${SPANS.map(([seconds, words]) => html`<option value=${seconds}>${words}</option>`)}<//>
    </div>
    <div class="filters">
      ${Object.entries(RIGHTS).map(([group, list]) => html`<fieldset><legend>${group}</legend>
        ${list.filter(may).map((right) => html`<label class="check"><input type="checkbox" checked=${rights.has(right)} onChange=${() => flip(right)} />${right}</label>`)}
      </fieldset>`)}
    </div>
    <${Field} as="textarea" label="Only these configurations" rows="3" value=${names} onInput=${setNames} hint="One on each line: exact names, or prefixes that end in *. All when empty." />
    ${error && html`<${Problem} error=${error} />`}
    <${Button} kind="primary" type="submit" busy=${busy || !rights.size}>Make it<//>
  </form>`;
}

/** The id in a token, which is not secret. */
function idOf(token) {
  return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).payload.j;
}

function Revoke() {
  const [given, setGiven] = useState("");
  const [end, busy, error] = useAction(async () => {
    await hw.call("token/revoke", given.includes(".") ? {token: given} : {tokenId: given});
    setGiven((typed) => (typed === given ? "" : typed));
    tell("Ended, on open connections too.");
  });
  return html`<form class="stack" aria-labelledby="revoke" onSubmit=${(event) => (event.preventDefault(), given && end())}>
    <h2 id="revoke">End a token</h2>
    <${Field} label="The token, or its id" value=${given} onInput=${(text) => setGiven(text.trim())} autocomplete="off" hint="All tokens of a user end at the user." />
    ${error && html`<${Problem} error=${error} />`}
    <${Button} type="submit" busy=${busy || !given}>End it<//>
  </form>`;
}
