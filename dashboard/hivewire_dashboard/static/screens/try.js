/** Trying values: the gateway checks them as if they were written, and writes nothing (fleet.md, 7). */

import {html, useEffect, useState} from "../vendor/preact.js";
import {hw} from "../lib/gateway.js";
import {parse} from "../lib/json.js";
import {to} from "../lib/router.js";
import {Text} from "../lib/text.js";
import {Field, Problem} from "../lib/ui.js";

/** Milliseconds without typing after which a value is checked. */
const PAUSE = 200;
/** Milliseconds after which the answer about an earlier value is not shown any more. */
const OLD = 1_000;

/** A value that is checked with the text `schema`, or without one with the schema of its name. */
export function Try({schema}) {
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const rule = schema === undefined ? undefined : parse(schema);
  const ready = value && (rule !== undefined || (schema === undefined && name));
  const {reply, error} = useJudged(ready && (schema === undefined ? {name, value} : {schema: rule, value}), [schema, name, value]);
  const text = rule?.type === "string";
  return html`<section class="stack panel" aria-labelledby="try">
    <h2 id="try">Try a value</h2>
    ${schema === undefined && html`<${Field} label="Its name" value=${name} onInput=${setName} class="mono" />`}
    <${Field} as="textarea" label="A value" rows="4" class="mono" value=${value} onInput=${setValue}
      hint=${schema === undefined ? "Nothing is written." : `Nothing is written. ${text ? "The text itself is judged." : "It is read as JSON: a text has quotes."}`} />
    <div role="status" class="stack">
      ${value && schema && rule === undefined && html`<p class="quiet">The schema is not JSON yet.</p>`}
      ${ready && error && html`<${Problem} error=${error} />`}
      ${ready && reply && html`<${Judgement} reply=${reply} named=${schema === undefined} />`}
    </div>
  </section>`;
}

/** The gateway's answer about a value, once the typing pauses; undefined while there is nothing to ask. */
function useJudged(asked, on) {
  const [found, setFound] = useState({});
  useEffect(() => {
    let current = true;
    const show = (what) => current && setFound(what);
    const old = setTimeout(() => show({}), OLD);
    const answer = (what) => (clearTimeout(old), show(what));
    const ask = () => hw.call("schema/check", asked).then((reply) => answer({reply}), (error) => answer({error}));
    const timer = setTimeout(() => asked && ask(), PAUSE);
    return () => {
      current = false;
      clearTimeout(timer);
      clearTimeout(old);
    };
  }, on);
  return found;
}

/** The check of an unsaved value by the schema of its name; nothing when the name has no schema. */
export function Judged({name, value}) {
  const {reply} = useJudged(value && {name, value}, [name, value]);
  return value && reply && reply.names !== null && html`<div class="judged" aria-live="polite"><${Judgement} reply=${reply} named /></div>`;
}

function Judgement({reply: {fits, names, problems}, named}) {
  if (named && names === null) return html`<p><span class="tag">free</span> No schema is for this name: it may have any value.</p>`;
  return html`<p><span class=${`tag ${fits ? "new" : "refused"}`}>${fits ? "fits" : "refused"}</span>
      ${named && html` by the schema of <a href=${to("schema", names)}><${Text} of=${names} mono /></a>`}</p>
    ${!fits && html`<ul class="cards" aria-label="Problems">${problems.map((each) => html`<li class="card"><${Fault} of=${each} /></li>`)}</ul>`}`;
}

/** The errors: what is wrong, where in the value, and by which rule. */
export function Fault({of: {pointer, rule, message}}) {
  return html`<span class="grow">${pointer && html`<strong><${Text} of=${pointer} mono /></strong>: `}<${Text} of=${message} />
    ${rule && html` <span class="quiet"><${Text} of=${rule} mono /></span>`}</span>`;
}
