/** All actions with their members, rights and errors, and a console on the socket of this page. */

import {html, useEffect, useMemo, useState} from "../vendor/preact.js";
import {Reader} from "../lib/editor.js";
import {http, hw} from "../lib/gateway.js";
import {parse} from "../lib/json.js";
import {refine, to} from "../lib/router.js";
import {count, plain} from "../lib/text.js";
import {Button, Copied, Empty, Field, Problem, useAction, useLoaded} from "../lib/ui.js";
import {Table} from "./access.js";
import {problem} from "./devices.js";

let asked;

/** The AsyncAPI document of this gateway. */
function description() {
  asked ??= http("asyncapi.json").then((response) => response.json());
  asked.catch(() => (asked = undefined));
  return asked;
}

export default function Api({rest: [noun, verb], query}) {
  const {value, error, again} = useLoaded(description, []);
  const chosen = noun && (verb ? `${noun}/${verb}` : noun);
  const text = query.get("q") ?? "";
  const actions = useMemo(() => Object.values(value?.operations ?? {}).filter(({action}) => action === "receive"), [value]);
  if (error) return html`<${Problem} error=${error} retry=${again} />`;
  if (!value) return html`<p class="quiet" role="status">Reading…</p>`;
  const low = text.toLowerCase();
  const shown = actions.filter(({title, summary}) => `${title} ${summary}`.toLowerCase().includes(low));
  const found = actions.find(({title}) => title === chosen);
  return html`<article class="screen wide">
    <header class="title"><h1>API</h1>
      <p class="quiet"><a href="../openapi.json">OpenAPI</a> · <a href="../asyncapi.json">AsyncAPI</a> · version ${value.info.version}</p></header>
    <div class="history">
      <nav aria-label="Actions" class="stack">
        <input type="search" aria-label="Search actions" placeholder="Search" value=${text} onInput=${(event) => refine({q: event.currentTarget.value || undefined})} />
        <ul class="actions">${shown.map(({title}) => html`<li key=${title}><a href=${to("api", ...title.split("/"), {q: text})} aria-current=${title === chosen ? "page" : undefined}><code>${title}</code></a></li>`)}</ul>
        <p class="hint">${count(shown.length, "action")}</p>
      </nav>
      ${found
        ? html`<${Action} key=${found.title} operation=${found} schemas=${value.components.schemas} />`
        : html`<${Empty} title="Everything the gateway can do"><p>Each action has its members, its right and its errors, and can be tried here: on the connection of this page, with your rights.</p><//>`}
    </div>
  </article>`;
}

/** A sentence of the document, with the words in backticks as code. */
function Prose({text = ""}) {
  return text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

/** The schema that a message or a reference points to. */
function resolved(schemas, name) {
  return schemas[name.split("/").at(-1)];
}

function Action({operation, schemas}) {
  const {title, summary, description: right, messages, reply} = operation;
  const request = resolved(schemas, messages[0].$ref);
  const answer = reply && resolved(schemas, reply.messages[0].$ref);
  return html`<section class="stack" aria-labelledby="action">
    <h2 id="action"><code>${title}</code></h2>
    <p><${Prose} text=${summary} /></p>
    <p class="quiet"><${Prose} text=${right} /></p>
    <${Members} label="Members" schema=${request} />
    ${answer && html`<${Members} label="Answer" schema=${answer} />`}
    ${operation["x-errors"] && html`<details><summary>Errors</summary><ul>${operation["x-errors"].map((each) => html`<li><code>${each}</code></li>`)}</ul></details>`}
    <${Console} action=${title} schema=${request} />
  </section>`;
}

function typeOf({type, $ref, anyOf, enum: values, items}) {
  if (values) return values.map((each) => JSON.stringify(each)).join(" or ");
  if ($ref) return $ref.split("/").at(-1);
  if (anyOf) return anyOf.map(typeOf).filter((each) => each !== "null").join(" or ");
  return type === "array" ? `list of ${typeOf(items ?? {})}` : (type ?? "any JSON");
}

const ENVELOPE = ["action", "requestId", "trace", "status"];

function Members({label, schema}) {
  const members = Object.entries(schema.properties ?? {}).filter(([name]) => !ENVELOPE.includes(name));
  if (!members.length) return html`<p class="quiet">${label}: none.</p>`;
  return html`<${Table} label=${label} head=${[label, "Type", "What it is"]}>
    ${members.map(([name, member]) => html`<tr><th scope="row"><code>${name}</code>${schema.required?.includes(name) && " *"}</th><td>${typeOf(member)}</td><td><${Prose} text=${member.description} /></td></tr>`)}<//>`;
}

/** Send the action, as a program would. */
function Console({action, schema}) {
  const begin = () => {
    const needed = (schema.required ?? []).filter((name) => !ENVELOPE.includes(name));
    return JSON.stringify(Object.fromEntries(needed.map((name) => [name, null])), null, 2);
  };
  const [text, setText] = useState(begin);
  const [answer, setAnswer] = useState();
  const [pushes, setPushes] = useState([]);
  const wrong = problem(text) ?? (/^\s*(\{|$)/.test(text) ? undefined : "Members are an object: {…}.");
  const [send, busy, error] = useAction(async () => {
    setAnswer(undefined);
    setAnswer(await hw.call(action, parse(text || "{}")).catch((caught) => caught.reply ?? Promise.reject(caught)));
  });
  const following = answer?.subscriptionId;
  useEffect(() => following && hw.on("push", (frame) => frame.subscriptionId === following && setPushes((all) => [frame, ...all].slice(0, 50))), [following]);
  const frame = () => JSON.stringify({action, requestId: 1, ...parse(text || "{}")});
  return html`<form class="panel stack" aria-label="Console" onSubmit=${(event) => (event.preventDefault(), !wrong && send())}>
    <h2>Try it</h2>
    <${Field} as="textarea" label="Members, as JSON" rows="5" class="mono" value=${text} onInput=${setText} wrong=${wrong} hint="With your rights, on the gateway itself: a write is a write." />
    <div class="row-of"><${Button} kind="primary" type="submit" busy=${busy || wrong}>${busy ? "Sending…" : "Send"}<//></div>
    ${error && html`<${Problem} error=${error} />`}
    ${answer && html`<${Reader} value=${JSON.stringify(answer, null, 2)} label="Answer" json />`}
    ${following && html`<div class="stack"><h3>Pushes</h3>${pushes.length ? pushes.map((each) => html`<pre>${plain(JSON.stringify(each)).slice(0, 2_000)}</pre>`) : html`<p class="quiet">None yet.</p>`}</div>`}
    ${!wrong && html`<${Copied} label="As a frame" text=${frame()} />`}
  </form>`;
}
