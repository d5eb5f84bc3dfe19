/** Who may do what: users with their memberships, tokens, clients, tenants. */

import {html, useLayoutEffect, useRef, useState} from "../vendor/preact.js";
import {hw, me} from "../lib/gateway.js";
import {to} from "../lib/router.js";
import {may} from "../lib/session.js";
import {count, Text, When} from "../lib/text.js";
import {Barred, Button, Copied, Dialog, Empty, Field, Problem, Tabs, tell, useAction, useLoaded, useShown} from "../lib/ui.js";
import {Tokens} from "./tokens.js";
import {User} from "./user.js";

export const ROLES = ["administrator", "client"];
export const STATUSES = ["active", "locked", "disabled"];
export const PRIVILEGES = ["READ", "CREATE", "UPDATE", "DELETE"];

const PARTS = [
  {of: "users", label: "Users", needs: "ManageUser", shown: Users},
  {of: "tokens", label: "Tokens", needs: "ManageToken", shown: Tokens},
  {of: "clients", label: "Clients", needs: "ManageUser", shown: Clients},
  {of: "tenants", label: "Tenants", needs: "ManageUser", shown: Tenants},
];

export default function Access({query}) {
  const possible = PARTS.filter(({needs}) => may(needs));
  const part = PARTS.find(({of}) => of === query.get("of")) ?? possible[0] ?? PARTS[0];
  return html`<article class="screen">
    <h1>Access</h1>
    <${Tabs} label="What to show" chosen=${part.of} tabs=${possible.map(({of, label}) => [of, label, to("access", {of})])} />
    ${possible.includes(part) ? html`<${part.shown} />` : html`<${Barred} right=${part.needs} />`}
  </article>`;
}

/** A dialog that asks before something is deleted or revoked. */
export function Sure({title, children, word, run, close}) {
  const shut = useShown(close);
  const [act, busy, error] = useAction(async () => {
    await run();
    shut();
  });
  return html`<${Dialog} title=${title} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="danger" busy=${busy} onClick=${act}>${word}<//>`}>
    <div class="stack">${children}${error && html`<${Problem} error=${error} />`}</div>
  <//>`;
}

/** A table with a caption for screen readers. On a narrow screen each cell shows its heading. */
export function Table({label, head, children}) {
  const table = useRef();
  useLayoutEffect(() => {
    for (const cell of table.current.querySelectorAll("td")) {
      const heading = head[cell.cellIndex];
      if (typeof heading === "string") cell.dataset.of = heading;
    }
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table ref=${table}>
    <thead><tr>${head.map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
    <tbody>${children}</tbody>
  </table></div>`;
}

function Users() {
  const [open, setOpen] = useState();
  const [text, setText] = useState("");
  const {value, error, again} = useLoaded(async () => {
    const pattern = text ? `%${text.replace(/[%_\\]/g, "_")}%` : undefined;
    return (await hw.call("user/list", {loginPattern: pattern, take: 500, sortField: "login"})).users;
  }, [text]);
  const close = () => setOpen();
  return html`<section class="stack" aria-label="Users">
    <div class="row-of">
      <input type="search" class="grow" aria-label="Search users" placeholder="Login" value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
      <${Button} kind="primary" onClick=${() => setOpen({})}>New user<//>
    </div>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value?.length === 0 && html`<${Empty} title="No user matches" />`}
    ${value?.length > 0 && html`<${Table} label="Users" head=${["Login", "Role", "Status", "Last login or renewal", html`<span class="unseen">Actions</span>`]}>
      ${value.map((user) => html`<tr key=${user.id}>
        <th scope="row"><${Text} of=${user.login} />${user.id === me.value?.id && html` <span class="quiet">(you)</span>`}</th>
        <td>${ROLES[user.role] ?? user.role}</td>
        <td><span class=${`tag ${user.status === 0 ? "new" : "refused"}`}>${STATUSES[user.status] ?? user.status}</span></td>
        <td><${When} time=${user.lastLogin} /></td>
        <td><${Button} kind="small" onClick=${() => setOpen({user})}>Open<//></td>
      </tr>`)}
    <//>`}
    ${value?.length === 500 && html`<p class="quiet">The first ${count(500)} are shown: search for others.</p>`}
    ${open && html`<${User} id=${open.user?.id} close=${close} done=${again} />`}
  </section>`;
}

function Clients() {
  const [open, setOpen] = useState();
  const {value, error, again} = useLoaded(async () => (await hw.call("client/list")).clients, []);
  const close = () => setOpen();
  return html`<section class="stack" aria-label="Clients">
    <div class="row-of"><p class="grow quiet">Programs with privileges in tenants, which log in by OAuth.</p><${Button} kind="primary" onClick=${() => setOpen({})}>New client<//></div>
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value?.length === 0 && html`<${Empty} title="There are no clients"><p>A client gets an id and a secret, and with them tokens from <code>/oauth/token</code>.</p>
      <${Copied} label="Terminal" text="hivewire client add shop" /><//>`}
    ${value?.length > 0 && html`<${Table} label="Clients" head=${["Id", "Privileges", html`<span class="unseen">Actions</span>`]}>
      ${value.map((client) => html`<tr key=${client.clientId}>
        <th scope="row"><${Text} of=${client.clientId} mono /></th>
        <td>${Object.entries(client.tenants).map(([tenant, given]) => html`<div><${Text} of=${tenant} mono />: ${given.join(", ")}</div>`)}</td>
        <td><${Button} kind="small" onClick=${() => setOpen({client})}>Change<//> <${Button} kind="small danger" onClick=${() => setOpen({client, removing: true})}>Delete…<//></td>
      </tr>`)}
    <//>`}
    ${open?.removing && html`<${Sure} title="Delete this client?" word="Delete" close=${close}
      run=${async () => (await hw.call("client/delete", {clientId: open.client.clientId}), again(), tell("Deleted. Its tokens have ended."))}>
      <p><${Text} of=${open.client.clientId} mono />: its tokens end at once.</p><//>`}
    ${open && !open.removing && html`<${ClientForm} client=${open.client} close=${close} done=${again} />`}
  </section>`;
}

function ClientForm({client, close, done}) {
  const tenants = useLoaded(async () => (await hw.call("tenant/list")).tenants.map(({tenantId}) => tenantId), []);
  const [id, setId] = useState(client?.clientId ?? "");
  const [given, setGiven] = useState(client?.tenants ?? {});
  const [fresh, setFresh] = useState(false);
  const [secret, setSecret] = useState();
  const shut = useShown(close);
  const show = useShown((found) => (setSecret(found), true));
  const [save, busy, error] = useAction(async () => {
    const kept = Object.fromEntries(Object.entries(given).filter(([, list]) => list.length));
    const write = client
      ? hw.call("client/update", {clientId: id, tenants: kept, newSecret: fresh, revision: client.revision})
      : hw.call("client/insert", {clientId: id || undefined, tenants: kept});
    const reply = await write.finally(done); // refused, too: another one may have changed it
    if (!reply.clientSecret) shut();
    else if (!show({id: reply.clientId, secret: reply.clientSecret})) tell(`${reply.clientId} has a secret that was not shown: change the client to make another.`, undefined, {wrong: true});
  });
  const flip = (tenant, privilege) => setGiven({...given, [tenant]: PRIVILEGES.filter((each) => (each === privilege) !== (given[tenant] ?? []).includes(each))});
  if (secret) return html`<${Dialog} title="Copy the secret now" close=${close} actions=${html`<${Button} kind="primary" onClick=${close}>Done<//>`}>
    <div class="stack"><p>It is shown only here; the gateway keeps a hash of it.</p>
      <${Copied} label="Client id" text=${secret.id} /><${Copied} label="Client secret" text=${secret.secret} /></div>
  <//>`;
  return html`<${Dialog} title=${client ? "Change this client" : "New client"} close=${close}
    actions=${html`<${Button} onClick=${close}>Cancel<//><${Button} kind="primary" busy=${busy} onClick=${save}>Save<//>`}>
    <div class="stack">
      ${!client && html`<${Field} label="Id" value=${id} onInput=${setId} hint="Made for you when empty." />`}
      ${tenants.value?.length === 0 && html`<p>There are no tenants yet: make one first.</p>`}
      ${(tenants.value ?? []).map((tenant) => html`<fieldset><legend><${Text} of=${tenant} mono /></legend><div class="row-of">
        ${PRIVILEGES.map((privilege) => html`<label class="check"><input type="checkbox" checked=${given[tenant]?.includes(privilege)} onChange=${() => flip(tenant, privilege)} />${privilege}</label>`)}
      </div></fieldset>`)}
      ${client && html`<label class="check"><input type="checkbox" checked=${fresh} onChange=${() => setFresh(!fresh)} />A new secret; the old one ends</label>`}
      ${(error ?? tenants.error) && html`<${Problem} error=${error ?? tenants.error} />`}
    </div>
  <//>`;
}

function Tenants() {
  const [open, setOpen] = useState();
  const [id, setId] = useState("");
  const {value, error, again} = useLoaded(async () => (await hw.call("tenant/list")).tenants, []);
  const [make, busy, refused] = useAction(async () => {
    await hw.call("tenant/insert", {tenantId: id});
    tell(`Made ${id}.`);
    setId((typed) => (typed === id ? "" : typed));
    again();
  });
  return html`<section class="stack" aria-label="Tenants">
    <form class="row-of" onSubmit=${(event) => (event.preventDefault(), id && make())}>
      <input class="grow" aria-label="Id of a new tenant" placeholder="Id of a new tenant" value=${id} onInput=${(event) => setId(event.currentTarget.value)} />
      <${Button} kind="primary" type="submit" busy=${busy || !id}>Make it<//>
    </form>
    ${refused && html`<${Problem} error=${refused} />`}
    ${error && html`<${Problem} error=${error} retry=${again} />`}
    ${value?.length === 0 && html`<${Empty} title="There are no tenants"><p>A tenant has a configuration document, which its clients read and write.</p>
      <${Copied} label="Terminal" text="hivewire tenant add shop" /><//>`}
    ${value?.length > 0 && html`<${Table} label="Tenants" head=${["Id", html`<span class="unseen">Actions</span>`]}>
      ${value.map(({tenantId}) => html`<tr key=${tenantId}>
        <th scope="row"><a href=${to("tenant", tenantId)}><${Text} of=${tenantId} mono /></a></th>
        <td><${Button} kind="small danger" onClick=${() => setOpen(tenantId)}>Delete…<//></td>
      </tr>`)}
    <//>`}
    ${open && html`<${Sure} title="Delete this tenant?" word="Delete it with its document" close=${() => setOpen()}
      run=${async () => (await hw.call("tenant/delete", {tenantId: open}), again(), tell(`Deleted ${open}.`))}>
      <p><${Text} of=${open} mono /> and its document are deleted, and what clients may do in it.</p><//>`}
  </section>`;
}
